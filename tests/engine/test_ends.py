"""Both ends of a call: what goes wrong on the way in or out is raised, and harms no other call."""

from __future__ import annotations

import gc
import itertools
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from parallelcfg import (
    Parallel,
    ParallelBackendBase,
    cpu_count,
    delayed,
    effective_n_jobs,
    parallel_config,
    register_parallel_backend,
)
from parallelcfg.backends import registry
from parallelcfg.engine.observe import Recorder

SHAPES = ["list", "generator"]


class Cluster(ParallelBackendBase):
    """Threads, as an author of a backend for joblib would have them."""

    supports_retrieve_callback = supports_sharedmem = uses_threads = True

    def effective_n_jobs(self, n_jobs):
        return n_jobs

    def configure(self, n_jobs=1, parallel=None, **_):
        self.pool = ThreadPoolExecutor(n_jobs)
        self.events.append("configure")
        return n_jobs

    def start_call(self):
        self.tell("start")

    def stop_call(self):
        self.tell("stop")

    def tell(self, event):
        self.events.append(event)
        if event == self.failing:
            raise ConnectionError(event)

    def submit(self, function, callback=None):
        future = self.pool.submit(function)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future):
        return future.result()

    def terminate(self):
        self.pool.shutdown(wait=False)
        self.events.append("terminate")


@pytest.fixture
def cluster(monkeypatch):
    """Calls on a backend some hook of which raises; what it was told."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    def prepare(failing):
        kind = type("Failing", (Cluster,), {"events": [], "failing": failing})
        register_parallel_backend("failing", kind)
        return kind.events

    return prepare


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("hook", ["start", "stop"])
def test_what_a_hook_raises_is_raised(cluster, hook, shape):
    events = cluster(hook)
    parallel = Parallel(n_jobs=2, backend="failing", return_as=shape)
    with pytest.raises(ConnectionError, match=hook):
        list(parallel(delayed(abs)(x) for x in range(4)))
    assert events == (["configure", "start", "stop", "terminate"] if hook == "stop" else events)
    assert events[-1] == "terminate"


@pytest.mark.parametrize("shape", SHAPES)
def test_workers_are_given_back_where_the_tasks_are_no_tasks(cluster, shape):
    events = cluster(None)
    with pytest.raises(TypeError, match="not iterable"):
        Parallel(n_jobs=2, backend="failing", return_as=shape)(5)
    assert events == ["configure", "terminate"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_source_sees_the_settings_and_the_cpus_of_its_caller(shape):
    def source():
        yield delayed(tuple)((Parallel().config.backend, Parallel().config.retries, cpu_count()))

    def nested():
        return list(Parallel(n_jobs=2, backend="threading", return_as=shape)(source()))

    with parallel_config(backend="threading", n_jobs=2, retries=3):
        assert list(Parallel(return_as=shape)(source())) == [("threading", 3, cpu_count())]
        (results,) = Parallel(n_jobs=effective_n_jobs(-1))([delayed(nested)()])
    assert results[0][2] == 1


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_block_goes_on_after_a_generator_that_was_left_early(backend):
    with Parallel(n_jobs=2, backend=backend, return_as="generator", batch_size=1) as parallel:
        for _ in range(5):
            results = parallel(delayed(abs)(-x) for x in itertools.count())
            assert list(itertools.islice(results, 3)) == [0, 1, 2]
            results.close()


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_generators_of_one_block_do_not_share_their_fate(backend):
    with Parallel(n_jobs=2, backend=backend, return_as="generator", batch_size=1) as parallel:
        good = parallel(delayed(abs)(-x) for x in range(20))
        assert next(good) == 0
        with pytest.raises(ValueError, match="invalid literal"):
            list(parallel(delayed(int)(x) for x in "12x4"))
        assert list(good) == list(range(1, 20))


def test_a_block_has_the_same_workers_for_one_call_after_another():
    with Parallel(n_jobs=2, backend="loky", return_as="generator") as parallel:
        names = [set(), set()]
        for seen in names:
            list(parallel(delayed(time.sleep)(0.01) for _ in range(20)))
            seen.update(parallel.report.workers)
    assert names[0] == names[1]


def test_a_parallel_object_goes_with_its_last_reference():
    with Parallel(n_jobs=2, backend="threading") as parallel:
        parallel([delayed(abs)(-1)])
    seen = weakref.ref(parallel)
    gc.disable()
    try:
        del parallel
        assert seen() is None
    finally:
        gc.enable()


class Thing:
    """Something that can be watched."""


def replaced(thing, at):
    if at == 3:
        raise LookupError(at)
    return Thing()


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_an_error_that_is_kept_keeps_nothing_else_of_its_batch(backend):
    things = [Thing() for _ in range(8)]
    parallel = Parallel(n_jobs=2, backend=backend, on_error="return", batch_size=8)
    found = parallel(delayed(replaced)(thing, at) for at, thing in enumerate(things))
    error = found.pop(3)
    assert isinstance(error.exception, LookupError)
    del things[3]  # its own argument is in the frame that raised
    alive = weakref.WeakSet([*things, *found])
    assert len(alive) == 14
    del found, things
    gc.collect()
    assert len(alive) == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", ["sequential", "threading", "loky"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, LookupError])
def test_what_a_progress_function_raises_at_the_last_event_is_raised(backend, shape, error):
    def tell(event):
        if event.done == event.total:
            raise error

    parallel = Parallel(n_jobs=2, backend=backend, progress=tell, return_as=shape)
    with pytest.raises(error):
        list(parallel(delayed(abs)(x) for x in range(4)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", ["sequential", "threading", "loky"])
def test_a_fault_in_the_books_ends_the_call(backend, shape, monkeypatch):
    def ended(self, *_, **__):
        raise ArithmeticError("a fault of the package")

    monkeypatch.setattr(Recorder, "ended", ended)
    with pytest.raises(ArithmeticError, match="a fault of the package"):
        list(Parallel(n_jobs=2, backend=backend, return_as=shape)(delayed(abs)(x) for x in range(4)))


class Stubborn(int):
    def __repr__(self):
        raise LookupError("no text")


class Secretive:
    def __getattr__(self, name):
        raise LookupError(name) if name == "__qualname__" else AttributeError(name)

    def __call__(self, *_):
        raise KeyError("the task's own")


class Notes(KeyError):
    __notes__ = None


def fail(*_):
    raise Notes("the task's own")


@pytest.mark.parametrize("on_error", ["raise", "return"])
@pytest.mark.parametrize("backend", ["sequential", "threading", "loky"])
@pytest.mark.parametrize("task", [delayed(fail)(10**5000), delayed(fail)(Stubborn(3)), (Secretive(), (), {})])
def test_a_task_that_no_text_can_be_made_of_fails_with_its_own_error(backend, on_error, task):
    parallel = Parallel(n_jobs=2, backend=backend, on_error=on_error, batch_size=1)
    if on_error == "raise":
        with pytest.raises(KeyError, match="the task's own"):
            parallel([task] * 3)
    else:
        assert all(isinstance(result.exception, KeyError) for result in parallel([task] * 3))
