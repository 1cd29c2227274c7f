"""Limits of time, where nothing can be stopped: they are kept as well as they can."""

import itertools
import time

import pytest

from parallelcfg import DeadlineExceeded, Parallel, TaskError, TaskTimeout, delayed


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
    with pytest.raises(DeadlineExceeded):
        Parallel(n_jobs=2, backend=backend, deadline=0.2)(delayed(abs)(x) for x in itertools.count())
