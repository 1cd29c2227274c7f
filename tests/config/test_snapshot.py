from __future__ import annotations

import pickle
import subprocess
import sys
import threading

import pytest

from parallelcfg.config.context import current_scope, entered, get_config, parallel_config, resolve_call
from parallelcfg.config.keys import KEYS
from parallelcfg.config.snapshot import UNSET, Config, Scope


def call(**overrides):
    return resolve_call(overrides, {})


def test_fields_are_the_declared_keys_in_their_order():
    assert [*Config._fields] == [*KEYS, "backend_params", "sources"]


def test_a_config_can_not_be_changed(world):
    config = get_config(backends={"dask": {"address": "x"}})
    with pytest.raises(AttributeError, match=r"n_jobs = 3: a Config is frozen; .*parallel_config\(\)"):
        config.n_jobs = 3
    for mapping in (config.backends, config.backends["dask"], config.sources, config.backend_params):
        with pytest.raises(TypeError):
            mapping["x"] = 1


def test_a_config_survives_pickling_with_its_origins(world):
    world.write("project", "[backends.dask]\naddress = 'x'\nlist = [1, 2]")
    with parallel_config(n_jobs=3, temp_folder="/x"):
        config = resolve_call({"verbose": 2}, {"idle_worker_timeout": 3})
    assert pickle.loads(pickle.dumps(config)) == config


def test_n_jobs_backend_and_its_parameters_stay_with_the_call(world):
    config = resolve_call({"n_jobs": 4, "backend": "threading", "verbose": 7}, {"env": {}})
    inherited = config.for_tasks()
    assert (inherited.n_jobs, inherited.backend, dict(inherited.backend_params)) == (None, None, {})
    assert inherited.verbose == 7
    assert set(inherited.sources) == {"verbose"}


def test_locked_values_travel_even_so(world):
    world.write("system", "[locked]\nn_jobs = 2\nbackend = 'threading'")
    inherited = call(verbose=1).for_tasks()
    assert (inherited.n_jobs, inherited.backend) == (2, "threading")


def test_what_a_call_says_about_its_own_result_is_taken_back(world):
    with parallel_config(on_error="return"):
        config = call(return_as="generator", on_error="raise")
    inherited = config.for_tasks()
    assert (inherited.return_as, inherited.on_error) == ("list", "return")


def test_what_a_context_says_about_results_travels(world):
    with parallel_config(return_as="generator"):
        assert call(verbose=1).for_tasks().return_as == "generator"


def test_objects_of_this_process_stay_behind(world):
    lock = threading.Lock()
    with parallel_config(progress=lambda event: lock, verbose=3):
        config = resolve_call(
            {
                "backend": lambda: lock,
                "backends": {"dask": {"client": lock, "address": "x"}},
                "progress": print,
            },
            {"client": lock},
        )
    inherited = pickle.loads(pickle.dumps(config.for_tasks()))
    assert inherited.progress is False
    assert {name: dict(table) for name, table in inherited.backends.items()} == {"dask": {"address": "x"}}
    assert inherited.verbose == 3


def test_a_progress_setting_below_a_callable_shows_again_in_tasks(world):
    world.write("project", "progress = 'log'")
    assert call(progress=print).for_tasks().progress == "log"


def test_an_inherited_config_is_compact(world):
    inherited = call(n_jobs=4, verbose=5, return_as="generator").for_tasks()
    assert len(pickle.dumps(inherited)) < 600


def test_tasks_resolve_from_what_they_inherit_and_not_from_outer_contexts(world):
    inherited = call(verbose=3).for_tasks()
    with parallel_config(verbose=9, n_jobs=5), entered(Scope(inherited, depth=1, cpus=2)):
        assert current_scope().cpus == 2
        assert (get_config().verbose, get_config().n_jobs) == (3, None)
        with parallel_config(n_jobs=2):
            assert (get_config().verbose, get_config().n_jobs) == (3, 2)
        assert call(n_jobs=-1).n_jobs == -1
    assert current_scope() is None


def test_a_context_left_open_in_a_task_ends_with_it(world):
    with entered(Scope(get_config(), depth=1, cpus=1)):
        parallel_config(verbose=8)
        assert get_config().verbose == 8
    assert get_config().verbose == 0


def test_a_ceiling_reaches_nested_calls(world):
    world.write("system", "max_jobs = 2")
    with entered(Scope(call(verbose=1).for_tasks(), depth=1, cpus=8)):
        assert call(n_jobs=8, max_jobs=4).max_jobs == 2


def test_a_task_without_overrides_needs_no_pydantic(world):
    scope = Scope(call(verbose=3).for_tasks(), depth=1, cpus=2)
    program = (
        "import pickle, sys\n"
        "from parallelcfg.config.context import entered, get_config, resolve_call\n"
        f"scope = pickle.loads({pickle.dumps(scope)!r})\n"
        "with entered(scope):\n"
        "    assert get_config().verbose == resolve_call({'n_jobs': None}, {}).verbose == 3\n"
        "bad = {'pydantic', 'pydantic_settings', 'numpy', 'tomli'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_unset_says_its_name():
    assert repr(UNSET) == "UNSET"
