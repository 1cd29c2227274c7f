"""Progress as events: what a function given as ``progress`` is told."""

import gc
import os
import threading
import weakref

import pytest

from parallelcfg import Parallel, ProgressEvent, delayed


def fail_at(bad, x):
    if x == bad:
        raise ValueError(x)
    return x


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky", "multiprocessing"])
@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
def test_events_count_tasks_up_to_the_last(backend, return_as):
    events = []
    parallel = Parallel(n_jobs=2, backend=backend, return_as=return_as, progress=events.append)
    assert sorted(parallel(delayed(abs)(-x) for x in range(50))) == list(range(50))
    done = [event.done for event in events]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 50)
    assert {event.total for event in events} == {50}
    assert {event.workers for event in events} == {1 if backend == "sequential" else 2}
    elapsed = [event.elapsed for event in events]
    assert elapsed == sorted(elapsed)


def test_a_total_that_nobody_knows_is_known_in_the_end():
    events = []

    def tasks():
        for x in range(7):
            yield delayed(abs)(x)

    Parallel(n_jobs=2, backend="threading", progress=events.append)(tasks())
    assert events[0].total is None
    assert events[-1].total == events[-1].done == 7


def test_a_function_is_forgotten_after_its_call():
    class Window:
        def show(self, event):
            self.last = event

    window = Window()
    Parallel(n_jobs=2, backend="threading", progress=window.show)(delayed(abs)(-x) for x in range(4))
    assert window.last.done == 4
    alive = weakref.ref(window)
    del window
    gc.collect()
    assert alive() is None


def test_failures_and_retries_are_counted_apart():
    events = []
    parallel = Parallel(n_jobs=2, backend="threading", on_error="return", retries=2, progress=events.append)
    parallel(delayed(fail_at)(3, x) for x in range(6))
    last = events[-1]
    assert (last.done, last.failed, last.retried) == (6, 1, 2)


def test_events_come_in_the_thread_that_calls():
    threads = set()

    def note(event):
        threads.add(threading.current_thread())

    Parallel(n_jobs=2, backend="threading", progress=note)(delayed(abs)(x) for x in range(20))
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("return_as", ["list", "generator"])
@pytest.mark.parametrize("backend", ["sequential", "threading"])
def test_what_the_function_raises_ends_the_call(backend, return_as):
    def stop(event):
        if event.done:
            raise KeyboardInterrupt

    parallel = Parallel(n_jobs=2, backend=backend, return_as=return_as, batch_size=1, progress=stop)
    with pytest.raises(KeyboardInterrupt):
        list(parallel(delayed(abs)(x) for x in range(100)))


def test_a_function_may_call_parallel_itself():
    def nested(event):
        assert Parallel(n_jobs=2, backend="threading")(delayed(abs)(x) for x in (-1, 2)) == [1, 2]

    Parallel(n_jobs=2, backend="threading", progress=nested)(delayed(abs)(x) for x in range(3))


def test_events_are_few_however_many_the_tasks():
    events = []
    Parallel(n_jobs=2, backend="threading", progress=events.append)(delayed(abs)(x) for x in range(100_000))
    assert len(events) < 1000


def test_a_lost_worker_counts_as_a_failure():
    events = []
    parallel = Parallel(n_jobs=2, on_error="return", batch_size=1, progress=events.append)
    parallel([delayed(os._exit)(3), delayed(abs)(-1)])
    assert (events[-1].done, events[-1].failed) == (2, 1)


def test_events_are_values():
    assert ProgressEvent(1, 0, 0, 2, 0.5, 1) == ProgressEvent(1, 0, 0, 2, 0.5, 1)
