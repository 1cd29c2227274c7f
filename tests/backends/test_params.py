"""Wrong values of backends' parameters are told at their place, before any worker starts."""

import inspect
import os
import threading
import warnings

import pytest

from parallelcfg import ConfigError, ConfigWarning, Parallel, delayed, get_config, parallel_config, set_config
from parallelcfg.backends.params import WrongParam
from parallelcfg.backends.pool import Pool
from parallelcfg.backends.registry import BUILT_IN, check_params
from parallelcfg.backends.threads import ThreadsBackend
from parallelcfg.config.context import using_machine
from parallelcfg.config.machine import Machine
from parallelcfg.core.outcome import Lost


@pytest.mark.parametrize(
    ("backend", "name", "value", "expected"),
    [
        ("loky", "idle_worker_timeout", -3, "seconds > 0 or none"),
        ("loky", "idle_worker_timeout", 0, "seconds > 0 or none"),
        ("loky", "idle_worker_timeout", "x", "seconds > 0 or none"),
        ("loky", "idle_worker_timeout", float("nan"), "seconds > 0 or none"),
        ("loky", "idle_worker_timeout", True, "seconds > 0 or none"),
        ("loky", "initializer", 3, "a callable or none"),
        ("loky", "initargs", "ab", "a list or none"),
        ("loky", "env", ["A=1"], "a table or none"),
        ("loky", "max_worker_growth", 0, "an integer >= 1 or none"),
        ("loky", "max_worker_growth", 1.5, "an integer >= 1 or none"),
        ("multiprocessing", "maxtasksperchild", "many", "an integer >= 1 or none"),
        ("multiprocessing", "context", "spawn", "a context of multiprocessing"),
        ("multiprocessing", "start_method", "spwn", "one of those that this system has: "),
    ],
)
def test_a_wrong_value_is_an_error_with_name_place_and_remedy(backend, name, value, expected):
    with pytest.raises(ConfigError) as told:
        Parallel(n_jobs=2, backend=backend, **{name: value})
    assert f"{name}={value!r}: expected {expected}" in str(told.value)
    assert f"{__name__.rpartition('.')[2]}.py:" in str(told.value)
    with pytest.raises(ConfigError, match=f"{name}=.*expected"):
        parallel_config(backend, **{name: value})
    with pytest.raises(ConfigError, match="expected"):
        parallel_config(backends={backend: {name: value}})


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("idle_worker_timout = 3", "parallel.toml:2:1", "did you mean 'idle_worker_timeout'?"),
        ("idle_worker_timeout = -3", "parallel.toml:2:23", "expected seconds > 0 or none"),
        ("env = 7", "parallel.toml:2:7", "expected a table or none"),
        (
            "env = { A = 'x', B = 2, C = false }",
            "parallel.toml:2:",
            "env.C=False: expected text in quotes, or a number",
        ),
        (
            "[backends.loky.env]\nA = 'x'\nB = [1]",
            "parallel.toml:4:5",
            "env.B=[1]: expected text in quotes, or a number",
        ),
    ],
)
def test_a_call_names_the_place_in_the_file(tmp_path, monkeypatch, text, place, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "parallel.toml").write_text(f"[backends.loky]\n{text}\n")
    with using_machine(Machine(environ={})), pytest.raises(ConfigError) as told:
        Parallel(n_jobs=2)
    assert place in str(told.value)
    assert message in str(told.value)


def system(tmp_path, text, **environ):
    """A machine whose system's file says this, and nothing else."""
    folder = tmp_path / "system"
    folder.mkdir()
    (folder / "parallel.toml").write_text(text)
    empty = tmp_path / "empty"
    empty.mkdir()
    uid = folder.stat().st_uid
    return Machine(environ=environ, cwd=empty, home=empty, system_dir=folder, user_dir=empty, uid=uid)


def test_locked_parameters_hold_against_code(tmp_path):
    text = "[locked.backends.loky]\nidle_worker_timeout = 5\nenv = {WHO = 'ops'}\n"
    asked = {"idle_worker_timeout": 99, "env": {"WHO": "me", "MORE": "1"}}
    with using_machine(system(tmp_path, text)):
        with pytest.warns(ConfigWarning) as told:
            parallel = Parallel(n_jobs=2, backend="loky", **asked)
        said = " ".join(str(one.message) for one in told)
        assert "backends.loky.idle_worker_timeout = 5 is locked by" in said
        assert "backends.loky.env.WHO = 'ops' is locked by" in said
        assert "test_params.py" in said
        answers = parallel(delayed(os.getenv)(name) for name in ("WHO", "MORE"))
        assert answers == ["ops", "1"]
        with pytest.raises(ConfigError, match="is locked by"):
            Parallel(n_jobs=2, backend="loky", strict=True, **asked)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Parallel(n_jobs=2, backend="loky", idle_worker_timeout=5)


def test_a_lock_names_who_asked_and_strict_tells_all_at_once(tmp_path):
    text = "[locked]\nbackend = 'threading'\nverbose = 0\n"
    with using_machine(system(tmp_path, text)):
        handle = set_config(backend="loky", verbose=3)
        with pytest.warns(ConfigWarning) as told:
            get_config()
        handle.reset()
        assert [str(one.message).count("test_params.py:") for one in told] == [1, 1]
        with pytest.raises(ConfigError) as refused:
            Parallel(backend="loky", verbose=3, strict=True)
    assert len(refused.value.problems) == 2


@pytest.mark.parametrize("value", [1e300, float("inf"), None, 3])
def test_a_worker_may_idle_for_as_long_as_anybody_likes(value):
    assert Parallel(n_jobs=2, idle_worker_timeout=value)(delayed(abs)(-x) for x in range(3)) == [0, 1, 2]


@pytest.mark.parametrize(("backend", "value"), [("dask", 3), ("ray", "abc")])
def test_clusters_take_a_list_of_what_to_scatter(backend, value):
    pytest.importorskip("distributed" if backend == "dask" else backend)
    with pytest.raises(WrongParam, match=rf"scatter={value!r}: expected a list or none"):
        check_params(backend, {"scatter": value})


@pytest.mark.parametrize("backend", sorted(BUILT_IN))
def test_the_defaults_of_every_parameter_are_right(backend):
    from parallelcfg.backends.registry import _built_in

    accepted = inspect.signature(_built_in(backend)).parameters
    check_params(backend, {name: one.default for name, one in accepted.items()})


def test_a_thread_that_breaks_ends_in_an_error_and_not_in_a_wait():
    def broken(_ordinal):
        raise OSError("no seat")

    pool = Pool(1, broken, dict)
    told = threading.Event()
    outcomes = []
    pool.submit(0, None, lambda batch_id, outcome: (outcomes.append((batch_id, outcome)), told.set()))
    assert told.wait(30)
    [(batch_id, outcome)] = outcomes
    assert (batch_id, type(outcome), str(outcome.cause)) == (0, Lost, "no seat")
    assert not pool.usable()


def test_the_threading_backend_has_no_parameters():
    with pytest.raises(TypeError, match="'threading' has no parameters of its own"):
        Parallel(n_jobs=2, backend="threading", x=1)
    assert ThreadsBackend().name == "threading"
