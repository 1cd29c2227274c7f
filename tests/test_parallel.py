"""What users of `Parallel` and `delayed` see: results, the meaning of parameters, errors at construction."""

import multiprocessing
import os
import re
import subprocess
import sys
from collections import ChainMap
from contextlib import ExitStack

import joblib
import numpy as np
import pytest

import parallelcfg
from parallelcfg import (
    UNSET,
    ConfigError,
    ConfigWarning,
    Parallel,
    SubstitutionWarning,
    delayed,
    effective_n_jobs,
    get_config,
    parallel_config,
)
from parallelcfg.backends.select import Surroundings, select


def double(x):
    return 2 * x


def where_and_what(_):
    config = parallelcfg.get_config()
    return os.getpid(), config.temp_folder, config.verbose, config.n_jobs, config.backend


def nested_choice(level):
    inner = Parallel(n_jobs=2)
    if level == 0:
        return inner.backend_name
    return inner(delayed(nested_choice)(level - 1) for _ in range(2))[0]


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing", "sequential"])
def test_results_keep_the_order_of_the_tasks(backend):
    assert Parallel(n_jobs=2, backend=backend)(delayed(double)(x) for x in range(50)) == [
        2 * x for x in range(50)
    ]


@pytest.mark.parametrize(
    ("keys", "place_and_remedy"),
    [
        ({"n_jobs": 0}, r"n_jobs=0: expected an integer other than 0"),
        ({"n_jobs": True}, r"n_jobs=True: expected an integer"),
        ({"n_jobs": "two"}, r"n_jobs='two': expected an integer"),
        ({"n_jobs": 2.7}, r"n_jobs=2\.7: expected an integer"),
        ({"n_jobs": 10**30}, r"n_jobs=10+: expected at most 1000000"),
        ({"n_jobs": 10**5000}, r"n_jobs=.+: expected at most 1000000"),
        ({"batch_size": -(10**5000)}, r"batch_size=.+: expected 'auto' or an integer >= 1"),
        ({"inner_max_num_threads": 10**30}, r"inner_max_num_threads=10+: expected at most 1000000"),
        ({"max_nbytes": "1X"}, r"max_nbytes='1X': expected bytes, a size such as '1M'"),
        ({"max_nbytes": -5}, r"max_nbytes=-5: expected"),
        ({"mmap_mode": "z"}, r"mmap_mode='z': expected 'r', 'r\+', 'w\+', 'c' or None"),
        ({"timeout": -1}, r"timeout=-1: expected seconds > 0"),
        ({"batch_size": 0}, r"batch_size=0: expected 'auto' or an integer >= 1"),
        ({"pre_dispatch": 0}, r"pre_dispatch=0: expected 'all', an integer >= 1 or arithmetic over n_jobs"),
        ({"pre_dispatch": "__import__('os')"}, r"no arithmetic over n_jobs"),
        ({"pre_dispatch": "9**9**9"}, r"pre_dispatch="),
        ({"prefer": "processes", "require": "sharedmem"}, r"contradicts require='sharedmem'"),
        ({"backend": "lokky"}, r"unknown backend.*did you mean 'loky'\?.*known are loky, threading"),
    ],
)
def test_a_wrong_value_is_refused_at_construction_with_its_place(keys, place_and_remedy):
    with pytest.raises(ConfigError, match=place_and_remedy) as caught:
        Parallel(**keys)
    assert re.search(r"test_parallel\.py:\d+", str(caught.value))


@pytest.mark.parametrize("return_as", ["list", "generator"])
@pytest.mark.parametrize("backend", ["threading", "sequential"])
@pytest.mark.parametrize(
    "key", ["batch_size", "pre_dispatch", "max_pending_results", "retries", "max_nbytes", "seed", "max_jobs"]
)
def test_a_number_beyond_all_lists_means_all(key, backend, return_as):
    parallel = Parallel(n_jobs=2, backend=backend, return_as=return_as, **{key: 10**30})
    assert list(parallel(delayed(abs)(-number) for number in range(5))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("make", [Parallel, parallel_config])
def test_a_misspelt_keyword_is_refused_with_a_suggestion(make):
    with pytest.raises(TypeError, match=r"'njobs' .*did you mean 'n_jobs'\?"):
        make(njobs=2)


@pytest.mark.parametrize("make", [Parallel, parallel_config, parallelcfg.set_config])
def test_parameters_for_an_unknown_backend_are_a_warning(make):
    said = r"test_parallel\.py:\d+: backends\.lokey\.x is for an unknown backend, .*did you mean 'loky'\?"
    parallelcfg.reload()  # says it again
    with pytest.warns(ConfigWarning, match=said), ExitStack() as leaving:
        leaving.enter_context(make(backends={"lokey": {"x": 1}}))


def test_the_jobs_that_were_asked_for_are_a_number_where_nobody_asked():
    assert (Parallel().n_jobs, Parallel(n_jobs=-1).n_jobs, Parallel(n_jobs=None).n_jobs) == (1, -1, 1)
    assert Parallel().config.n_jobs is None
    with parallel_config(n_jobs=3):
        assert Parallel().n_jobs == 3


def test_settings_can_not_be_changed_afterwards():
    parallel = Parallel(n_jobs=2)
    with pytest.raises(AttributeError):
        parallel.n_jobs = 3
    with pytest.raises(AttributeError):
        parallel.verbose = 3
    assert parallel.n_jobs == 2


def test_unset_means_as_configured():
    with parallel_config(n_jobs=2, seed=7):
        config = Parallel(n_jobs=UNSET, seed=UNSET).config
    assert (config.n_jobs, config.seed) == (2, 7)


def test_an_unknown_backend_parameter_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(TypeError, match=r"'loky' has the parameters .*idle_worker_timeout"):
        Parallel(n_jobs=2, backend="loky", chunks=3)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("tasks", [[1], [abs], [lambda: 1], [(abs, 1)], [(abs, [1], {})]])
def test_what_is_no_task_is_named_with_its_position_and_type(n_jobs, tasks):
    good = [delayed(abs)(1)]
    with pytest.raises(TypeError, match=r"task 1 is .* of type .*delayed\(function\)\(arguments\)"):
        Parallel(n_jobs=n_jobs, backend="threading", batch_size=4)(good + tasks)


@pytest.mark.parametrize(("given", "jobs"), [(2.0, 2), (np.int64(3), 3), (None, 1), (-1, None), (-2, None)])
def test_n_jobs_takes_what_joblib_takes(given, jobs):
    expected = effective_n_jobs(given) if jobs is None else jobs
    assert Parallel(n_jobs=given, backend="threading").effective_n_jobs == expected


@pytest.mark.parametrize(
    "backend", [multiprocessing, multiprocessing.get_context("spawn")], ids=["module", "context"]
)
def test_a_multiprocessing_context_is_a_backend(backend):
    parallel = Parallel(n_jobs=2, backend=backend)
    assert parallel.backend_name == "multiprocessing"


def test_one_job_runs_in_the_calling_thread():
    parallel = Parallel(n_jobs=1, backend="loky")
    assert parallel.backend_name == "sequential"
    assert parallel([delayed(os.getpid)()]) == [os.getpid()]


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_the_callers_settings_reach_a_worker_without_its_jobs_and_backend(backend, tmp_path):
    with parallel_config(temp_folder=str(tmp_path), verbose=0, backend=backend, n_jobs=2):
        ((pid, folder, verbose, n_jobs, inner),) = Parallel()([delayed(where_and_what)(0)])
    assert pid != os.getpid()
    assert (folder, verbose, n_jobs, inner) == (str(tmp_path), 0, None, None)


def test_nested_calls_use_threads_first_and_nothing_below():
    assert Parallel(n_jobs=2, backend="loky")(delayed(nested_choice)(level) for level in (0, 1)) == [
        "threading",
        "sequential",
    ]


def test_shared_memory_takes_threads_in_place_of_processes_and_says_so():
    with pytest.warns(SubstitutionWarning, match="require='sharedmem'"):
        parallel = Parallel(n_jobs=2, backend="multiprocessing", require="sharedmem")
    assert parallel.backend_name == "threading"
    (substitution,) = parallel.report.substitutions
    assert (substitution.asked, substitution.got) == ("multiprocessing", "threading")
    with pytest.raises(ConfigError, match="strict"):
        Parallel(n_jobs=2, backend="multiprocessing", require="sharedmem", strict=True)


def test_max_jobs_bounds_every_request():
    with parallel_config(max_jobs=1):
        assert effective_n_jobs(1) == 1
        with pytest.warns(SubstitutionWarning, match=r"n_jobs is 1 in place of 64: max_jobs is the ceiling"):
            assert Parallel(n_jobs=64).effective_n_jobs == 1


def test_lambdas_closures_and_local_functions_run_in_processes():
    offset = 10

    def add(x):
        return x + offset

    assert Parallel(n_jobs=2)(delayed(add)(x) for x in range(3)) == [10, 11, 12]
    assert Parallel(n_jobs=2)(delayed(lambda x: x * offset)(x) for x in range(3)) == [0, 10, 20]


def test_verbose_prints_lines_like_joblibs(capsys):
    Parallel(n_jobs=2, backend="threading", verbose=50)(delayed(double)(x) for x in range(4))
    out, err = capsys.readouterr()
    assert err == ""
    assert "[Parallel(n_jobs=2)]: Using backend threading with 2 concurrent workers." in out
    assert re.search(r"Done +4 out of +4 \| elapsed: .*finished", out)


@pytest.mark.parametrize("package", [joblib, parallelcfg], ids=["joblib", "parallelcfg"])
def test_joblibs_documented_examples_give_the_same(package):
    """The calls of joblib's reference pages, with either import."""
    from math import modf, sqrt

    parallel, call = package.Parallel, package.delayed
    assert parallel(n_jobs=1)(call(sqrt)(i**2) for i in range(10)) == [float(i) for i in range(10)]
    fractions, wholes = zip(*parallel(n_jobs=1)(call(modf)(i / 2.0) for i in range(10)), strict=True)
    assert fractions == (0.0, 0.5) * 5
    assert wholes == (0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0)
    squares = parallel(n_jobs=2, prefer="threads", return_as="generator")(call(pow)(i, 2) for i in range(4))
    assert list(squares) == [0, 1, 4, 9]
    unordered = parallel(n_jobs=2, prefer="threads", return_as="generator_unordered")
    assert sorted(unordered(call(pow)(i, 2) for i in range(4))) == [0, 1, 4, 9]
    with package.parallel_config(backend="threading", n_jobs=2):
        assert package.Parallel()(call(sqrt)(i) for i in (1, 4, 9)) == [1.0, 2.0, 3.0]
        assert package.effective_n_jobs(None) == 2
    with package.parallel_backend("threading", n_jobs=2):
        assert package.effective_n_jobs(None) == 2
    with package.Parallel(n_jobs=2, backend="threading") as reused:
        total, rounds = 0.0, 0
        while total < 1000:
            total += sum(reused(call(sqrt)(total + i**2) for i in range(5)))
            rounds += 1
    assert rounds > 1


def test_typed_results():
    as_list: list[int] = Parallel(n_jobs=1)([delayed(double)(1)])
    assert as_list == [2]


def test_a_module_without_a_guard_does_not_multiply_its_workers(tmp_path):
    """Workers import the module of a function, and with it the loop at the module's top."""
    (tmp_path / "unguarded.py").write_text(
        "from parallelcfg import Parallel, delayed\n"
        "loop = Parallel(n_jobs=2)\n"
        "def inner():\n"
        "    return loop.backend_name\n"
        "if loop.backend_name != 'loky':\n"
        "    loop([delayed(abs)(1)])\n"
    )
    script = tmp_path / "script.py"
    script.write_text("import unguarded\nprint(unguarded.loop([unguarded.delayed(unguarded.inner)()] * 2))\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "['threading', 'threading']\n"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("'loky'", "loky"),
        ("'multiprocessing'", "multiprocessing"),
        ("multiprocessing.get_context('spawn')", "multiprocessing"),
    ],
)
def test_nor_does_one_that_asks_for_processes(said, name, tmp_path):
    (tmp_path / "asking.py").write_text(
        "import multiprocessing\n"
        "from parallelcfg import Parallel, delayed\n"
        f"loop = Parallel(n_jobs=2, backend={said})\n"
        "planned = loop.backend_name\n"
        "def inner():\n"
        "    loop([])\n"
        "    return planned, loop.backend_name\n"
    )
    code = "import asking; print(asking.loop([asking.delayed(asking.inner)()] * 2))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path)
    assert done.stdout == f"{[('threading', name)] * 2}\n"


def test_processes_nest_five_levels_deep_and_no_more():
    config = parallelcfg.get_config(backend="loky", n_jobs=2)
    assert select(config, Surroundings(depth=4)).backend == "loky"
    choice = select(config, Surroundings(depth=5))
    assert choice.backend == "sequential"
    assert "5 levels" in choice.substitution.rule


def test_what_stands_in_the_way_of_processes_and_of_threads_is_said_once():
    config = parallelcfg.get_config(backend="loky", n_jobs=2)
    choice = select(config, Surroundings(processes="it ends", threads="it ends"))
    assert (choice.backend, choice.substitution.rule) == ("sequential", "it ends")
    choice = select(config, Surroundings(processes="it ends", threads="no threads"))
    assert choice.substitution.rule == "it ends, and no threads"


def test_a_call_may_say_the_tables_of_backends():
    backends = {"multiprocessing": {"maxtasksperchild": 3}, "loky": {"idle_worker_timeout": 7}}
    with parallel_config(backends={"loky": {"idle_worker_timeout": 5}}):
        config = Parallel(backend="multiprocessing", backends=backends).config
    assert config.backends["multiprocessing"] == {"maxtasksperchild": 3}
    assert config.backends["loky"] == {"idle_worker_timeout": 7}
    with pytest.raises(ConfigError, match="backends"):
        Parallel(backends=3)
    with pytest.raises(ConfigError, match="idle_worker_timeout"):
        Parallel(backend="loky", backends={"loky": {"idle_worker_timout": 7}})


def test_the_tables_of_backends_may_be_any_mappings():
    config = get_config(backends={"loky": {"idle_worker_timeout": 5, "env": {"A": "1"}}})
    for tables in (config.backends, ChainMap({}, {"loky": config.backends["loky"]})):
        assert Parallel(backends=tables).config.backends == config.backends
        with parallel_config(backends=tables):
            assert get_config().backends == config.backends


def test_a_setting_that_is_asked_for_as_of_joblibs_objects_is_told_where_it_is():
    loop = Parallel(verbose=0)
    with pytest.raises(
        AttributeError, match=r"^'Parallel' object has no attribute 'verbose'; .* \.config\.verbose$"
    ):
        loop.verbose  # noqa: B018 - the access is the point
    with pytest.raises(AttributeError, match=r"^'Parallel' object has no attribute 'foo'$"):
        loop.foo  # noqa: B018 - as above
    assert not hasattr(loop, "print_progress")
