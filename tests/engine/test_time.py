"""Limits of time, where nothing can be stopped: they are kept as well as they can."""

import itertools
import threading
import time

import pytest

from parallelcfg import DeadlineExceeded, Parallel, TaskError, TaskTimeout, delayed
from parallelcfg.config.context import using_machine
from parallelcfg.config.machine import Machine
from parallelcfg.core import gathering


def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds


def test_a_sequential_task_that_took_too_long_is_an_error_when_it_ends():
    with pytest.raises(TaskTimeout, match=r"timeout=0\.02 s \(.*test_time\.py:\d+\)") as caught:
        Parallel(n_jobs=1, timeout=0.02)(delayed(spin)(seconds) for seconds in (0, 0.03, 0))
    assert "task 1" in caught.value.__notes__[0]


def test_a_sequential_task_that_took_too_long_stands_as_an_error_among_the_others():
    results = Parallel(n_jobs=1, timeout=0.02, on_error="return")(
        delayed(spin)(seconds) for seconds in (0, 0.03, 0)
    )
    assert [type(result) for result in results] == [int, TaskError, int]


@pytest.mark.parametrize("backend", ["sequential", "threading"])
def test_a_deadline_ends_a_call_whose_source_never_ends(backend):
    with pytest.raises(DeadlineExceeded, match=r"within deadline=0\.2 s \(.*test_time\.py:\d+\); \d+ tasks"):
        Parallel(n_jobs=2, backend=backend, deadline=0.2)(delayed(abs)(x) for x in itertools.count())


@pytest.mark.parametrize(("key", "error"), [("timeout", TaskTimeout), ("deadline", DeadlineExceeded)])
def test_a_limit_that_is_exceeded_is_named_with_its_line_in_a_file(key, error, tmp_path):
    (tmp_path / "parallel.toml").write_text(f"[profiles.short]\n{key} = 0.02\n")
    machine = Machine(
        {"PARALLEL_PROFILE": "short"}, tmp_path, tmp_path, tmp_path / "system", tmp_path / "user"
    )
    with using_machine(machine), pytest.raises(error, match=rf"{key}=0\.02 s \(parallel\.toml:2:1\)"):
        Parallel()(delayed(spin)(0.03) for _ in itertools.count())


def test_a_limit_that_is_exceeded_is_named_with_its_variable(monkeypatch):
    monkeypatch.setenv("PARALLEL_DEADLINE", "0.02")
    with pytest.raises(DeadlineExceeded, match=r"deadline=0\.02 s \(PARALLEL_DEADLINE\)"):
        Parallel()(delayed(abs)(x) for x in itertools.count())


def test_tasks_that_become_long_are_told_of_one_by_one():
    """Planned by what the first ones took, the rest would be one batch."""
    told = []
    run = Parallel(n_jobs=2, backend="threading", progress=lambda event: told.append(event.done))
    run(delayed(time.sleep)(0 if number < 3000 else 0.03) for number in range(3040))
    assert len([done for done in told if 3000 < done < 3040]) >= 3


def test_a_source_that_becomes_slow_does_not_hold_back_what_it_gave():
    def source():
        for number in range(20_000):
            yield delayed(abs)(number)
        for number in range(20_000, 20_000 + 2 * gathering._GLANCE):
            came.wait(0.003)
            yield delayed(abs)(number)
        over.append(True)

    came, over, early = threading.Event(), [], 0
    for result in Parallel(n_jobs=2, backend="threading", return_as="generator")(source()):
        early += result >= 20_000 and not over
    assert early > 0
