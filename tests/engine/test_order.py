"""Results keep their order however the threads that report them are interleaved."""

import sys

import pytest

from parallelcfg import Parallel, delayed


@pytest.fixture(autouse=True)
def _threads_change_all_the_time():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("return_as", ["list", "generator"])
def test_results_of_threads_come_in_order_and_all_of_them(return_as):
    parallel = Parallel(n_jobs=4, backend="threading", batch_size=1, return_as=return_as)
    for _ in range(40):
        assert list(parallel(delayed(abs)(i) for i in range(100))) == list(range(100))
