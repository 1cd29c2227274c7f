"""Whatever differs from what was asked for is reported, said once, and refused under ``strict``."""

from __future__ import annotations

import multiprocessing
import warnings

import pytest

from parallelcfg import (
    ConfigError,
    Parallel,
    SubstitutionWarning,
    delayed,
    effective_n_jobs,
    get_config,
    parallel_config,
)
from parallelcfg.config import context, process
from parallelcfg.config.context import entered
from parallelcfg.config.machine import Machine
from parallelcfg.config.snapshot import Scope
from parallelcfg.engine import plan


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch):
    monkeypatch.setattr(process.current(), "_told", set())


def inside(depth, cpus=4):
    """A task of that many calls in each other."""
    return entered(Scope(get_config().for_tasks(), depth, cpus))


def get_depth_and_backend():
    return context.current_scope().depth, Parallel(n_jobs=2, backend="loky").backend_name


def found(parallel):
    """What will happen, and what the report says about it before anything has run."""
    said = [(one.key, one.asked, one.got) for one in parallel.report.substitutions]
    return parallel.backend_name, parallel.effective_n_jobs, said


def test_nothing_is_said_where_all_is_as_asked():
    for keys in ({}, {"n_jobs": 2}, {"n_jobs": 2, "backend": "threading"}, {"n_jobs": 1, "backend": "loky"}):
        assert Parallel(strict=True, **keys).report.substitutions == ()


def test_the_default_inside_of_tasks_is_no_surprise_but_reported():
    with inside(1):
        parallel = Parallel(n_jobs=2, strict=True)
    assert found(parallel) == ("threading", 2, [("backend", "loky", "threading")])
    (substitution,) = parallel.report.substitutions
    assert str(substitution) == "backend is threading in place of loky: the default inside a task is threads"


def test_a_loop_of_a_module_that_a_worker_imports_gets_threads_until_its_task_begins():
    with entered(Scope(get_config().for_tasks(), 1, 4, unpacking=True)):
        parallel = Parallel(n_jobs=2, backend="loky", strict=True)
        assert found(parallel) == ("threading", 2, [("backend", "loky", "threading")])
        assert parallel(delayed(get_depth_and_backend)() for _ in range(2)) == [(2, "threading")] * 2
    with inside(1):
        parallel([])
        assert parallel.backend_name == "loky"


def test_a_number_that_deep_nesting_ignores_is_reported_and_refused_under_strict():
    with inside(2):
        assert found(Parallel(n_jobs=2)) == (
            "sequential",
            1,
            [("backend", "loky", "sequential"), ("n_jobs", "2", "1")],
        )
        with pytest.raises(ConfigError, match=r"n_jobs is 1 in place of 2.*strict = true"):
            Parallel(n_jobs=2, strict=True)
        assert found(Parallel(n_jobs=-1, strict=True))[2][1] == ("n_jobs", "4", "1")
        assert found(Parallel(n_jobs=2, backend="threading", strict=True)) == ("threading", 2, [])


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_a_daemon_of_multiprocessing_runs_threads(monkeypatch, backend):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with pytest.warns(SubstitutionWarning, match="daemon"):
        parallel = Parallel(n_jobs=2, backend=backend)
    assert found(parallel) == ("threading", 2, [("backend", backend, "threading")])
    assert parallel(delayed(abs)(x) for x in (-1, -2)) == [1, 2]
    with pytest.raises(ConfigError, match="daemon"):
        Parallel(n_jobs=2, backend=backend, strict=True)


def test_shared_memory_takes_threads_without_a_word_where_nobody_names_a_backend():
    assert found(Parallel(n_jobs=2, require="sharedmem", strict=True)) == ("threading", 2, [])


def test_a_call_that_needs_shared_memory_gets_it_without_a_word_whatever_a_lower_layer_names():
    with parallel_config(backend="multiprocessing", strict=True):
        substituted = [("backend", "multiprocessing", "threading")]
        assert found(Parallel(n_jobs=2, require="sharedmem")) == ("threading", 2, substituted)
        with pytest.raises(ConfigError, match="require='sharedmem'"):
            Parallel(n_jobs=2, backend="loky", require="sharedmem")
    with (
        parallel_config(require="sharedmem", strict=True),
        pytest.raises(ConfigError, match="require='sharedmem'"),
    ):
        Parallel(n_jobs=2, backend="loky")


def test_whoever_names_the_sequential_backend_asks_for_one_job():
    parallel = Parallel(n_jobs=4, backend="sequential", strict=True)
    assert found(parallel) == ("sequential", 1, [("n_jobs", "4", "1")])


@pytest.mark.parametrize("asked", [64, -1])
def test_a_ceiling_is_said_once_with_both_origins(tmp_path, monkeypatch, asked):
    monkeypatch.setattr(plan, "cpu_count", lambda: 8)
    system, empty = tmp_path / "system", tmp_path / "empty"
    system.mkdir()
    empty.mkdir()
    (system / "parallel.toml").write_text("max_jobs = 2")
    machine = Machine(
        environ={"PARALLEL_N_JOBS": str(asked)},
        cwd=empty,
        home=empty,
        system_dir=system,
        user_dir=empty,
        uid=system.stat().st_uid,
    )
    with context.using_machine(machine), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            assert Parallel().effective_n_jobs == effective_n_jobs(None) == effective_n_jobs(-1) == 2
            assert found(Parallel())[2] == [("n_jobs", str(8 if asked < 0 else asked), "2")]
        with pytest.raises(ConfigError, match="max_jobs is the ceiling"):
            Parallel(strict=True)
    first = str(caught[0].message)
    assert (
        f"max_jobs is the ceiling ({system / 'parallel.toml'}:1:1); PARALLEL_N_JOBS asked for more" in first
    )
    assert len({str(one.message) for one in caught}) == len(caught)


def test_an_invalid_ceiling_in_the_environment_is_a_configuration_error_of_every_call(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "many")
    for call in (Parallel, effective_n_jobs):
        with pytest.raises(ConfigError, match="LOKY_MAX_CPU_COUNT='many'"):
            call()
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "")
    with parallel_config(backend="threading"):
        assert Parallel(n_jobs=-1).effective_n_jobs >= 1
