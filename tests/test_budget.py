"""Nested loops share the CPUs: together they never keep more workers busy than there are."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallelcfg import Parallel, cpu_count, delayed, effective_n_jobs, get_config
from parallelcfg.config.context import entered
from parallelcfg.config.cpus import available_cpus
from parallelcfg.config.snapshot import Scope

LEAVES = 3


def leaf():
    """Be busy for a moment; the clock is the same in all processes of a machine."""
    began = time.monotonic()
    while time.monotonic() < began + 0.001:
        pass
    return [(began, time.monotonic())]


def loop(levels):
    """A loop over loops: each level is a backend (None: the default) and a number of jobs."""
    if not levels:
        return leaf()
    (backend, n_jobs), *inner = levels
    results = Parallel(n_jobs=n_jobs, backend=backend)(delayed(loop)(inner) for _ in range(LEAVES))
    return [span for spans in results for span in spans]


def busiest(spans):
    """How many spans overlap at the most; one that ends as another begins does not."""
    events = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    busy = most = 0
    for _, change in events:
        busy += change
        most = max(most, busy)
    return most


def on(cpus):
    """A surrounding with so many CPUs, whatever this machine has."""
    return entered(Scope(get_config(), 0, cpus))


LEVEL = st.tuples(st.sampled_from(["threading", None]), st.sampled_from([-1, -2, None]))


@settings(max_examples=20, deadline=None)
@given(cpus=st.integers(1, 6), levels=st.lists(LEVEL, min_size=1, max_size=3))
def test_nested_loops_in_threads_keep_within_the_cpus(cpus, levels):
    levels = [("threading", levels[0][1]), *levels[1:]]
    with on(cpus):
        spans = loop(levels)
    assert len(spans) == LEAVES ** len(levels)
    assert busiest(spans) <= cpus


@pytest.mark.parametrize(
    "levels",
    [
        [("loky", -1), (None, -1)],
        [("loky", 2), ("threading", -1)],
        [("threading", -1), ("loky", -1)],
        [("loky", 2), ("loky", -1)],
        [("multiprocessing", 2), (None, -1), (None, -1)],
    ],
    ids=str,
)
def test_processes_and_threads_share_the_cpus(levels):
    with on(3):
        assert busiest(loop(levels)) <= 3


def budget():
    return cpu_count(), effective_n_jobs(-1), get_config().n_jobs


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_each_worker_has_its_share_and_the_remainder_is_spread(backend):
    with on(10), Parallel(n_jobs=4, backend=backend, batch_size=1) as parallel:
        seen = {parallel([delayed(budget)()] * 8)[i] for i in range(8)}
    assert seen <= {(3, 3, None), (2, 2, None)}


def test_threads_have_their_shares_too():
    together = threading.Barrier(4)

    def meet():
        together.wait()  # so that each of the four runs one
        return [*budget(), *Parallel()([delayed(cpu_count)()])]

    with on(10):
        for _ in range(2):  # cold, then warm
            seen = Parallel(n_jobs=4, backend="threading", batch_size=1)([delayed(meet)()] * 4)
            assert sorted(seen) == [[2, 2, None, 2], [2, 2, None, 2], [3, 3, None, 3], [3, 3, None, 3]]


def test_a_thread_of_ones_own_inherits_no_share():
    with on(10):
        with ThreadPoolExecutor(1) as own:
            outside = own.submit(cpu_count)
        assert (cpu_count(), outside.result()) == (10, available_cpus().count)


def test_an_explicit_number_is_obeyed():
    with on(2):
        assert Parallel(n_jobs=5, backend="threading").effective_n_jobs == 5
