"""Long streams of results: bounded in memory, whoever is slow."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Generator

import pytest

from parallelcfg import Parallel, WorkerLost, delayed
from parallelcfg.config.keys import KEYS
from parallelcfg.engine.launch import _Driver
from parallelcfg.engine.routing import Routes


class Source:
    """Endless tasks, and how many of them were taken."""

    def __init__(self, function):
        self.taken = 0
        self._function = function

    def __iter__(self):
        for number in itertools.count():
            self.taken += 1
            yield delayed(self._function)(number)


@pytest.mark.parametrize("batch_size", [1, 10, "auto"])
def test_results_behind_a_slow_task_stay_within_max_pending_results(batch_size):
    opened, bound = threading.Event(), 50

    def first_is_slow(number):
        if number == 0:
            opened.wait()
        return number

    source = Source(first_is_slow)
    parallel = Parallel(
        n_jobs=2,
        backend="threading",
        return_as="generator",
        max_pending_results=bound,
        batch_size=batch_size,
        pre_dispatch=4,
    )
    stream = parallel(source)
    while parallel.report.counts.done < bound:  # the other thread goes on until it may not
        threading.Event().wait(0.01)
    largest = 50 if batch_size == "auto" else batch_size
    opened.set()
    assert [next(stream) for _ in range(200)] == list(range(200))
    assert source.taken <= 200 + 2 * bound + 5 * largest
    stream.close()


@pytest.mark.parametrize("backend", ["loky", "threading", "sequential"])
def test_an_endless_source_can_be_read_for_a_while_and_dropped(backend):
    source = Source(abs)
    stream = Parallel(n_jobs=2, backend=backend, return_as="generator", max_pending_results=1000)(source)
    assert list(itertools.islice(stream, 20_000)) == list(range(20_000))
    del stream
    taken = source.taken
    assert taken <= 20_000 + 6 * 1000


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("begun", [True, False])
def test_dropping_a_stream_ends_its_call_without_the_garbage_collector(backend, begun):
    before = set(threading.enumerate())
    gc.collect()
    gc.disable()
    try:
        parallel = Parallel(n_jobs=2, backend=backend, return_as="generator")
        stream = parallel(delayed(abs)(x) for x in itertools.count())
        if begun:
            next(stream)
        (driver,) = [one for one in set(threading.enumerate()) - before if one.name == "parallelcfg-driver"]
        del stream
        driver.join(30)
        assert not driver.is_alive()
    finally:
        gc.enable()
        gc.collect()


def test_a_generator_that_is_read_after_its_block_says_so():
    with Parallel(n_jobs=2, return_as="generator") as parallel:
        results = parallel(delayed(abs)(x) for x in range(10_000))
    with pytest.raises(WorkerLost, match="read a generator inside of the block that made it"):
        list(results)


@pytest.mark.parametrize("on_error", ["raise", "return"])
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_generator_that_outlives_its_block_goes_no_further(backend, on_error):
    source = Source(abs)
    keys = {"backend": backend, "on_error": on_error, "batch_size": 1}
    with Parallel(n_jobs=2, return_as="generator", **keys) as parallel:
        results = parallel(source)
        assert next(results) == 0
    with pytest.raises(WorkerLost, match="read a generator inside of the block that made it"):
        list(itertools.islice(results, 20_000))
    taken = source.taken
    results.close()
    assert source.taken == taken < 20_000


def test_a_stream_can_be_dropped_after_interrupts_one_after_the_other(monkeypatch):
    stream = Parallel(n_jobs=2, backend="threading", return_as="generator")(Source(abs))
    driver = next(thread for thread in threading.enumerate() if thread.name == "parallelcfg-driver")
    assert next(stream) == 0
    stop, wait = Routes._stop, Routes.await_item

    def interrupted(self, *args):
        if threading.current_thread() is threading.main_thread():
            monkeypatch.undo()
            raise KeyboardInterrupt
        return stop(self, *args)

    def struck(self, *args):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return wait(self, *args)

    monkeypatch.setattr(Routes, "_stop", interrupted)
    monkeypatch.setattr(Routes, "await_item", struck)
    with pytest.raises(KeyboardInterrupt):
        for _ in stream:
            pass
    del stream
    driver.join(20)
    assert not driver.is_alive()


def test_a_call_that_is_interrupted_while_its_thread_starts_ends(monkeypatch):
    drivers, start = [], _Driver.start

    def interrupted(self):
        start(self)
        drivers.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(_Driver, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Parallel(n_jobs=2, backend="threading", return_as="generator", on_error="return")(Source(abs))
    drivers[0].join(20)
    assert not drivers[0].is_alive()


def test_the_report_of_a_closed_generator_is_closed():
    opened = threading.Event()
    parallel = Parallel(n_jobs=2, backend="threading", return_as="generator", batch_size=1)
    results = parallel(delayed(opened.wait)() for _ in range(10))
    assert "running" in repr(parallel.report)
    results.close()
    assert "running" not in repr(parallel.report)
    opened.set()


def test_one_task_in_place_of_many_is_named():
    with pytest.raises(TypeError, match=r"got one task; put it into a list: \[delayed\(f\)\(x\)\]"):
        Parallel(n_jobs=2)(delayed(abs)(-1))
    assert Parallel(n_jobs=2)((delayed(abs)(-1), delayed(abs)(-2), delayed(abs)(-3))) == [1, 2, 3]


def test_a_stream_is_a_generator():
    stream = Parallel(n_jobs=2, backend="threading", return_as="generator")(
        delayed(abs)(-x) for x in range(1000)
    )
    assert isinstance(stream, Generator)
    assert (next(stream), stream.send(None)) == (0, 1)
    with pytest.raises(KeyError, match="enough"):
        stream.throw(KeyError("enough"))
    assert list(stream) == []


def test_pre_dispatch_counts_batches_as_its_help_says():
    enough = threading.Event()

    def source():
        for number in range(1, 21):
            if number == 2 * 5:
                enough.set()  # where tasks were counted, nobody would come here before the first two end
            yield delayed(enough.wait)(10)

    parallel = Parallel(n_jobs=2, backend="threading", batch_size=5, pre_dispatch=2)
    assert parallel(source()) == [True] * 20
    assert KEYS["pre_dispatch"].help.startswith("batches taken from the iterator")
