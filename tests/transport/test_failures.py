"""What is told of a task's exception."""

import pytest

from parallelcfg import Parallel, delayed


def fail(x):
    return 1 / x


@pytest.mark.parametrize("timeout", [None, 60])
@pytest.mark.parametrize("backend", ["loky", "threading", "sequential"])
def test_a_tasks_traceback_begins_in_the_task(backend, timeout):
    parallel = Parallel(n_jobs=2, backend=backend, timeout=timeout, on_error="return")
    _, error = parallel(delayed(fail)(x) for x in (1, 0))
    head, first, *_ = error.traceback.splitlines()
    assert head == "Traceback (most recent call last):"
    assert first.endswith(", in fail")
