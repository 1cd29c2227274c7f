"""Backends written for joblib's hooks, as authors write them; only the import is this package's."""

from __future__ import annotations

import operator
import re
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from multiprocessing import get_context
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest

from parallelcfg import (
    BackendUnavailable,
    ConfigError,
    Parallel,
    ParallelBackendBase,
    SubstitutionWarning,
    TaskNotPicklable,
    TaskTimeout,
    WorkerLost,
    delayed,
    effective_n_jobs,
    get_config,
    parallel_config,
    register_parallel_backend,
)
from parallelcfg.backends import registry
from parallelcfg.backends.base import Traits, Work
from parallelcfg.backends.custom import (
    AutoBatchingMixin,
    LokyBackend,
    SequentialBackend,
    ThreadingBackend,
    adapt,
)
from parallelcfg.config import context
from parallelcfg.config.machine import Machine
from parallelcfg.core.outcome import Lost


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_default", "loky")


class FuturesBackend(ParallelBackendBase):
    """The shape that joblib's guide teaches: one pool per call, futures with callbacks."""

    supports_retrieve_callback = True

    def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
        self.n_jobs = self.effective_n_jobs(n_jobs)
        self._executor = self.make_executor(self.n_jobs)
        return self.n_jobs

    def make_executor(self, n_jobs):
        return ThreadPoolExecutor(n_jobs, thread_name_prefix="custom")

    def terminate(self):
        self._executor.shutdown()
        self._executor = None

    def effective_n_jobs(self, n_jobs):
        return n_jobs

    def submit(self, func, callback):
        future = self._executor.submit(func)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future):
        return future.result()


class Recording(FuturesBackend):
    """Notes which hook was called, in order."""

    supports_sharedmem = True
    uses_threads = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.events: list[Any] = []

    def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
        self.events.append(f"configure {n_jobs}")
        self.parallel, self.options = parallel, backend_kwargs
        return super().configure(n_jobs, parallel, **backend_kwargs)

    def start_call(self):
        self.events.append("start_call")

    def stop_call(self):
        self.events.append("stop_call")

    def terminate(self):
        self.events.append("terminate")
        super().terminate()

    def abort_everything(self, ensure_ready=True):
        self.events.append(f"abort {ensure_ready}")


def thread_name():
    return threading.current_thread().name


def fail_at(x, bad):
    if x == bad:
        raise ValueError(x)
    return x


class TestTheGuidesBackend:
    def test_runs_by_its_registered_name(self):
        register_parallel_backend("custom", FuturesBackend)
        with parallel_config("custom"):
            parallel = Parallel(2)
            assert parallel(delayed(id)(i) for i in range(10)) == [id(i) for i in range(10)]
        assert (parallel.backend_name, parallel.effective_n_jobs) == ("custom", 2)

    def test_runs_tasks_in_its_own_workers(self):
        names = Parallel(2, backend=FuturesBackend())(delayed(thread_name)() for _ in range(4))
        assert all(name.startswith("custom") for name in names)

    def test_tasks_see_the_callers_objects_where_nothing_is_pickled(self):
        seen: list[int] = []
        Parallel(2, backend=FuturesBackend())(delayed(seen.append)(i) for i in range(5))
        assert sorted(seen) == [0, 1, 2, 3, 4]

    def test_one_job_runs_on_the_backend_too(self):
        assert Parallel(1, backend=FuturesBackend())([delayed(thread_name)()])[0].startswith("custom")

    def test_errors_name_their_task(self):
        with pytest.raises(ValueError, match="5") as caught:
            Parallel(2, backend=FuturesBackend())(delayed(fail_at)(i, 5) for i in range(9))
        assert getattr(caught.value, "__notes__", None) == ["raised by task 5: fail_at(5, 5)"]

    @pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
    def test_generators(self, return_as):
        results = Parallel(2, backend=FuturesBackend(), return_as=return_as)(
            delayed(abs)(-i) for i in range(20)
        )
        assert sorted(results) == list(range(20))

    def test_a_negative_number_of_jobs_that_it_leaves_alone_means_cpus(self):
        register_parallel_backend("custom", FuturesBackend)
        with parallel_config("custom"):
            assert effective_n_jobs(-1) == effective_n_jobs(-1) >= 1
            assert Parallel(-1)(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]

    def test_a_negative_number_of_jobs_that_it_answers_is_not_passed_on(self):
        class Eight(Recording):
            def effective_n_jobs(self, n_jobs):
                return 8 if n_jobs < 0 else n_jobs

        backend = Eight()
        assert Parallel(-1, backend=backend)(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]
        assert (backend.events[0], backend.parallel.n_jobs) == ("configure 8", 8)

    @pytest.mark.parametrize("answer", [None, "2"])
    def test_configure_that_does_not_say_how_many_workers_there_are_is_named(self, answer):
        class Silent(FuturesBackend):
            def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
                super().configure(n_jobs)
                return answer

        with pytest.raises(TypeError, match=rf"Silent\.configure\(\) returned {answer!r}"):
            Parallel(2, backend=Silent())([delayed(abs)(-1)])

    def test_max_jobs_is_a_ceiling(self):
        backend = Recording()
        with pytest.warns(SubstitutionWarning, match="max_jobs"):
            parallel = Parallel(8, backend=backend, max_jobs=2)
        parallel([delayed(abs)(-1)])
        assert parallel.effective_n_jobs == 2
        assert backend.events[0] == "configure 2"


class TestConstructorParameters:
    class Service(FuturesBackend):
        def __init__(self, endpoint, api_key, nesting_level=0):
            super().__init__(nesting_level=nesting_level)
            self.endpoint = endpoint
            self.api_key = api_key

        def make_executor(self, n_jobs):
            return ThreadPoolExecutor(n_jobs, thread_name_prefix=f"{self.endpoint}?{self.api_key}")

    @pytest.fixture(autouse=True)
    def _registered(self):
        register_parallel_backend("service", self.Service)

    def test_come_through_parallel_config(self):
        with parallel_config(backend="service", endpoint="http://compute", api_key="42"):
            (name,) = Parallel()([delayed(thread_name)()])
        assert name.startswith("http://compute?42")

    def test_come_through_parallel(self):
        parallel = Parallel(2, backend="service", endpoint="there", api_key="1")
        assert parallel([delayed(thread_name)()])[0].startswith("there?1")

    def test_missing_ones_are_named(self):
        with pytest.raises(TypeError, match="api_key"):
            Parallel(2, backend="service", endpoint="there")

    def test_unknown_ones_are_named_beside_the_known(self):
        with pytest.raises(TypeError, match=r"'endpiont'.*endpoint, api_key"):
            Parallel(2, backend="service", endpiont="there")


class PoolBackend(ParallelBackendBase):
    """Without callbacks: results are fetched by `retrieve_result`, as older backends do."""

    def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
        self.pool = ThreadPool(n_jobs)
        return n_jobs

    def effective_n_jobs(self, n_jobs):
        return 2 if n_jobs == -1 else n_jobs

    def submit(self, func, callback=None):
        return self.pool.apply_async(func, callback=callback)

    def abort_everything(self, ensure_ready=True):
        self.pool.terminate()

    def terminate(self):
        self.pool.terminate()


class TestWithoutCallbacks:
    def test_results_are_fetched(self):
        assert Parallel(2, backend=PoolBackend())(delayed(abs)(-i) for i in range(30)) == list(range(30))

    def test_generators_work_all_the_same(self):
        stream = Parallel(2, backend=PoolBackend(), return_as="generator")(delayed(abs)(i) for i in range(9))
        assert list(stream) == list(range(9))

    def test_an_error_ends_the_call_although_other_jobs_never_report(self):
        release = threading.Event()

        def task(i):
            if i:
                release.wait()
            raise KeyError(i)

        try:
            with pytest.raises(KeyError):
                Parallel(2, backend=NeverJoining())(delayed(task)(i) for i in range(2))
        finally:
            release.set()

    def test_a_timeout_that_it_can_not_keep_is_said(self):
        with pytest.warns(SubstitutionWarning, match=r"timeout.*none.*1\.5"):
            Parallel(2, backend=PoolBackend(), timeout=1.5)

    def test_under_strict_such_a_timeout_is_an_error(self):
        with pytest.raises(ConfigError, match="since when a task runs"):
            Parallel(2, backend=PoolBackend(), timeout=1, strict=True)


class NeverJoining(PoolBackend):
    """Drops what it has without waiting; jobs that it had never end."""

    def abort_everything(self, ensure_ready=True):
        pass

    def terminate(self):
        self.pool.close()


class TestNesting:
    @staticmethod
    def who_runs_inside():
        inner = Parallel()
        return inner.backend_name, inner.effective_n_jobs

    def inside(self, backend):
        return Parallel(2, backend=backend)(delayed(self.who_runs_inside)() for _ in range(2))[0]

    def test_the_default_is_the_packages_own_rule(self):
        backend = FuturesBackend()
        assert Parallel(2, backend=backend)([delayed(lambda: Parallel(2).backend_name)()]) == ["threading"]

    @pytest.mark.parametrize(
        ("nested", "expected"),
        [
            (lambda: (ThreadingBackend(nesting_level=1), 3), ("threading", 3)),
            (lambda: (LokyBackend(nesting_level=1), 2), ("loky", 2)),
            (lambda: (SequentialBackend(nesting_level=1), None), ("sequential", 1)),
            (SequentialBackend, ("sequential", 1)),
            (lambda: ("threading", 2), ("threading", 2)),
            (lambda: (FuturesBackend(), 2), ("FuturesBackend", 2)),
        ],
    )
    def test_get_nested_backend_decides(self, nested, expected):
        backend = FuturesBackend()
        backend.get_nested_backend = nested
        assert self.inside(backend) == expected

    def test_a_backend_that_nests_into_itself_does_not_disturb_the_outer_call(self):
        backend = FuturesBackend()
        backend.get_nested_backend = lambda: (backend, 2)

        def row(i):
            return Parallel()(delayed(operator.mul)(i, j) for j in range(3))

        rows = Parallel(2, backend=backend)(delayed(row)(i) for i in range(4))
        assert rows == [[i * j for j in range(3)] for i in range(4)]

    def test_the_nesting_level_is_found_out(self):
        levels = []

        class Level(FuturesBackend):
            def start_call(self):
                levels.append(self.nesting_level)

        def outer():
            return Parallel(2, backend=Level())([delayed(abs)(-1)])

        Parallel(2, backend=Level())([delayed(outer)()])
        assert levels == [0, 1]


class TestBatching:
    class Sized(AutoBatchingMixin, FuturesBackend):
        MIN_IDEAL_BATCH_DURATION = 0.005

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.sizes: list[int] = []

        def submit(self, func, callback):
            self.sizes.append(len(func))
            return super().submit(func, callback)

    def test_the_mixin_makes_batches_of_short_tasks_grow(self):
        backend = self.Sized()
        assert Parallel(2, backend=backend)(delayed(abs)(-i) for i in range(500)) == list(range(500))
        assert backend.sizes[0] == 1
        assert max(backend.sizes) >= 8

    def test_without_the_mixin_every_task_is_submitted_by_itself(self):
        class Single(self.Sized):
            def compute_batch_size(self):
                return ParallelBackendBase.compute_batch_size(self)

        backend = Single()
        Parallel(2, backend=backend)(delayed(abs)(-i) for i in range(50))
        assert backend.sizes == [1] * 50

    def test_an_own_compute_batch_size_is_obeyed(self):
        class Sevens(self.Sized):
            def compute_batch_size(self):
                return 7

        backend = Sevens()
        Parallel(2, backend=backend)(delayed(abs)(-i) for i in range(21))
        assert backend.sizes == [7, 7, 7]

    def test_a_configured_batch_size_beats_the_hook(self):
        backend = self.Sized()
        Parallel(2, backend=backend, batch_size=5)(delayed(abs)(-i) for i in range(20))
        assert backend.sizes == [5] * 4

    def test_the_mixin_shrinks_batches_that_take_too_long(self):
        mixin = AutoBatchingMixin()
        for _ in range(4):
            size = mixin.compute_batch_size()
            mixin.batch_completed(size, 0.01 * size)
        assert mixin.compute_batch_size() == 16
        mixin.batch_completed(16, 4.0)
        assert mixin.compute_batch_size() == 8
        mixin.batch_completed(8, 1.0)
        assert mixin.compute_batch_size() == 8
        mixin.reset_batch_stats()
        assert mixin.compute_batch_size() == 1

    def test_the_mixin_ignores_batches_of_another_size(self):
        mixin = AutoBatchingMixin()
        mixin.batch_completed(64, 1e-6)
        assert mixin.compute_batch_size() == 1


class TestLifecycle:
    def test_hooks_are_called_in_order(self):
        backend = Recording()
        Parallel(2, backend=backend)(delayed(abs)(-i) for i in range(3))
        assert backend.events == ["configure 2", "start_call", "stop_call", "terminate"]

    def test_one_instance_serves_call_after_call(self):
        backend = Recording()
        with parallel_config(backend=backend, n_jobs=2):
            for _ in range(2):
                assert Parallel()(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]
        assert backend.events.count("terminate") == 2

    def test_a_with_block_configures_once(self):
        backend = Recording()
        with Parallel(2, backend=backend) as parallel:
            for _ in range(3):
                parallel([delayed(abs)(-1)])
        assert backend.events == ["configure 2", *["start_call", "stop_call"] * 3, "terminate"]

    def test_an_error_aborts_and_a_with_block_goes_on_afterwards(self):
        backend = Recording()
        with Parallel(2, backend=backend) as parallel:
            with pytest.raises(ValueError, match="0"):
                parallel(delayed(fail_at)(i, 0) for i in range(4))
            assert parallel(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]
        once = ["configure 2", "start_call", "abort False", "stop_call", "terminate"]
        assert backend.events == [*once, *(event for event in once if event != "abort False")]

    def test_the_call_ends_after_its_abort(self):
        ended, early = threading.Event(), []

        class Slow(Recording):
            def abort_everything(self, ensure_ready=True):
                early.append(ended.wait(0.2))  # the caller may not get on meanwhile
                super().abort_everything(ensure_ready)

            def stop_call(self):
                ended.set()
                super().stop_call()

        with pytest.raises(ValueError, match="0"):
            Parallel(2, backend=Slow())(delayed(fail_at)(i, 0) for i in range(4))
        assert early == [False]

    def test_an_abort_that_joins_the_reporting_thread_does_not_deadlock(self):
        class Joining(FuturesBackend):
            def abort_everything(self, ensure_ready=True):
                self._executor.shutdown(wait=True)

        with pytest.raises(ValueError, match="1"):
            Parallel(2, backend=Joining())(delayed(fail_at)(i, 1) for i in range(5))

    def test_threads_that_share_an_instance_each_get_their_own_workers(self):
        backend = FuturesBackend()
        meet = threading.Barrier(2, timeout=30)

        def call(_):
            return Parallel(1, backend=backend)([delayed(meet.wait)(), delayed(threading.current_thread)()])[
                1
            ]

        with ThreadPoolExecutor(2) as threads:
            first, second = threads.map(call, range(2))
        assert first is not second

    def test_configure_learns_the_settings(self):
        backend = Recording()
        Parallel(2, backend=backend, verbose=0, max_nbytes="2K", mmap_mode="c", timeout=9)([delayed(abs)(1)])
        assert backend.options == {
            "prefer": None,
            "require": None,
            "verbose": 0,
            "temp_folder": None,
            "max_nbytes": 2048,
            "mmap_mode": "c",
        }
        assert (backend.parallel.n_jobs, backend.parallel.timeout) == (2, 9)
        assert backend.parallel._backend_kwargs == backend.options

    def test_default_n_jobs_is_what_unset_means(self):
        class Many(Recording):
            default_n_jobs = 3

        backend = Many()
        assert Parallel(backend=backend).effective_n_jobs == 3

    def test_a_failing_terminate_does_not_hide_the_tasks_error(self):
        class Messy(FuturesBackend):
            def terminate(self):
                super().terminate()
                try:
                    raise KeyError("inner")
                except KeyError:
                    raise ConnectionError("gone already")  # noqa: B904 - the context is the point

        with pytest.raises(ConnectionError) as caught:
            Parallel(2, backend=Messy())(delayed(fail_at)(i, 1) for i in range(3))
        assert isinstance(caught.value.__context__, KeyError)
        assert isinstance(caught.value.__context__.__context__, ValueError)
        with pytest.raises(ConnectionError) as caught:
            Parallel(2, backend=Messy())([delayed(abs)(-1)])
        assert caught.value.__context__.__context__ is None

    def test_a_failing_configure_leaves_the_instance_usable(self):
        class Moody(FuturesBackend):
            broken = True

            def make_executor(self, n_jobs):
                if self.broken:
                    raise ConnectionError("no cluster")
                return super().make_executor(n_jobs)

        backend = Moody()
        with pytest.raises(ConnectionError):
            Parallel(2, backend=backend)([delayed(abs)(1)])
        backend.broken = False
        assert Parallel(2, backend=backend)([delayed(abs)(1)]) == [1]
        assert backend.n_jobs == 2  # the instance itself, no copy

    def test_retrieval_context_surrounds_the_wait_in_the_calling_thread(self):
        seen = []

        class Waiting(FuturesBackend):
            @contextmanager
            def retrieval_context(self):
                seen.append(thread_name())
                yield
                seen.append("left")

        Parallel(2, backend=Waiting())([delayed(abs)(1)])
        assert seen == [thread_name(), "left"]

    def test_inner_max_num_threads_reaches_the_constructors_attribute_for_the_call(self):
        environments = []

        class Limited(FuturesBackend):
            def make_executor(self, n_jobs):
                environments.append(self._prepare_worker_env(n_jobs))
                return super().make_executor(n_jobs)

        backend = Limited()
        Parallel(2, backend=backend, inner_max_num_threads=3)([delayed(abs)(1)])
        assert {environments[0][name] for name in backend.MAX_NUM_THREADS_VARS} == {"3"}
        assert backend.inner_max_num_threads is None


class TestRegistration:
    def test_a_key_among_the_parameters_is_said_to_be_one(self):
        with pytest.raises(
            TypeError, match="'timeout' is a key of its own, not a parameter of backend 'loky'"
        ):
            registry.make_backend("loky", {"timeout": 2})

    def test_a_factory_under_a_built_in_name_counts_from_the_next_call(self):
        def backend_of_the_same_line():
            return type(Parallel(2, backend="threading")._plan.backend).__name__

        assert [backend_of_the_same_line() for _ in range(2)] == ["ThreadsBackend"] * 2
        register_parallel_backend("threading", FuturesBackend)
        assert backend_of_the_same_line() == "AdaptedBackend"

    def test_make_default(self):
        register_parallel_backend("mine", FuturesBackend, make_default=True)
        assert Parallel(2).backend_name == "mine"
        assert Parallel(2, backend="threading").backend_name == "threading"

    def test_a_factory_may_be_any_callable(self):
        register_parallel_backend("made", lambda prefix="x": FuturesBackend())
        assert Parallel(2, backend="made", prefix="y")([delayed(abs)(-1)]) == [1]

    def test_a_class_can_stand_for_its_instance(self):
        assert Parallel(2, backend=FuturesBackend)([delayed(abs)(-1)]) == [1]

    def test_tasks_still_inherit_the_configuration(self):
        backend = FuturesBackend()
        with parallel_config(backend=backend, n_jobs=2, verbose=0, max_nbytes="3K"):
            (inside,) = Parallel()([delayed(get_config)()])
        assert (inside.max_nbytes, inside.n_jobs, inside.backend) == (3072, None, None)


class TestConstraints:
    def test_shared_memory_that_it_does_not_declare_is_had_from_threads(self):
        with pytest.warns(SubstitutionWarning, match="require='sharedmem'"):
            assert Parallel(2, backend=FuturesBackend(), require="sharedmem").backend_name == "threading"

    def test_shared_memory_that_it_declares_is_taken(self):
        assert Parallel(2, backend=Recording(), require="sharedmem").backend_name == "Recording"

    def test_a_timeout_is_counted_from_the_start_of_a_task(self):
        release = threading.Event()
        try:
            with pytest.raises(TaskTimeout):
                Parallel(2, backend=Abandoning(), timeout=0.05)([delayed(release.wait)()])
        finally:
            release.set()


class Abandoning(FuturesBackend):
    """Does not wait for running tasks at its end."""

    def terminate(self):
        self._executor.shutdown(wait=False)


class TestFaults:
    def test_a_failing_submit_is_a_lost_batch(self):
        class Refusing(FuturesBackend):
            def submit(self, func, callback):
                raise ConnectionError("the cluster went away")

        with pytest.raises(WorkerLost, match="in its hands; ConnectionError: the cluster went") as caught:
            Parallel(2, backend=Refusing())([delayed(abs)(1)])
        assert isinstance(caught.value.__cause__, ConnectionError)

    def test_a_lost_batch_is_tried_again(self):
        class Losing(FuturesBackend):
            tries = 0

            def retrieve_result_callback(self, future):
                self.tries += 1
                if self.tries == 1:
                    raise ConnectionError
                return future.result()

        assert Parallel(2, backend=Losing(), retries=1)([delayed(abs)(-3)]) == [3]

    def test_a_callback_that_comes_twice_counts_once(self):
        class Twice(FuturesBackend):
            def submit(self, func, callback):
                future = super().submit(func, callback)
                future.add_done_callback(callback)
                return future

        assert Parallel(2, backend=Twice())(delayed(abs)(-i) for i in range(10)) == list(range(10))

    def test_a_result_that_is_none_of_ours_is_said(self):
        class Wrong(FuturesBackend):
            def retrieve_result_callback(self, future):
                return "done"

        with pytest.raises(WorkerLost, match="expected what the submitted function returned, got 'done'"):
            Parallel(2, backend=Wrong())([delayed(abs)(1)])

    def test_a_failing_batch_completed_is_raised(self):
        class Stumbling(FuturesBackend):
            def batch_completed(self, batch_size, duration):
                raise ZeroDivisionError

        with pytest.raises(WorkerLost, match="ZeroDivisionError"):
            Parallel(2, backend=Stumbling())([delayed(abs)(1)])

    def test_the_former_name_of_submit_still_works(self):
        class Old(FuturesBackend):
            submit = ParallelBackendBase.submit

            def apply_async(self, func, callback=None):
                return FuturesBackend.submit(self, func, callback)

        with pytest.warns(DeprecationWarning, match="submit"):
            assert Parallel(2, backend=Old())([delayed(abs)(-1)]) == [1]

    @pytest.mark.parametrize(
        ("hook", "arguments"),
        [("effective_n_jobs", (1,)), ("apply_async", (abs,)), ("retrieve_result_callback", (None,))],
    )
    def test_a_hook_that_is_missing_is_named(self, hook, arguments):
        with pytest.raises(NotImplementedError, match="ParallelBackendBase has no "):
            getattr(ParallelBackendBase(), hook)(*arguments)


class ProcessesOfTheirOwn(FuturesBackend):
    """Pickles what it is given, with the pickler of the standard library."""

    def make_executor(self, n_jobs):
        return ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn"))


@pytest.fixture(scope="module")
def own_processes():
    backend = ProcessesOfTheirOwn()
    with Parallel(1, backend=backend) as parallel:
        yield parallel


class TestProcesses:
    def test_batches_are_pickled_on_their_way(self, own_processes):
        assert own_processes(delayed(abs)(-i) for i in range(5)) == list(range(5))

    def test_functions_without_a_name_travel_too(self, own_processes):
        assert own_processes(delayed(lambda x: x + 1)(i) for i in range(3)) == [1, 2, 3]

    def test_remote_errors_keep_type_and_task(self):
        with pytest.raises(ZeroDivisionError) as caught:
            Parallel(1, backend=ProcessesOfTheirOwn())(delayed(operator.truediv)(1, x) for x in (1, 0))
        assert "task 1, truediv(1, 0)" in str(caught.value.__cause__)

    def test_an_argument_that_can_not_travel_is_that_tasks_error(self):
        tasks = [delayed(abs)(-1), delayed(abs)(threading.Lock()), delayed(abs)(-3)]
        parallel = Parallel(1, backend=ProcessesOfTheirOwn(), on_error="return", batch_size=3)
        first, error, last = parallel(tasks)
        assert (first, last) == (1, 3)
        assert isinstance(error.exception, TaskNotPicklable)
        assert "task 1, abs(<lock>)" in str(error)

    def test_a_result_that_can_not_be_unpickled_leaves_its_neighbours_alone(self):
        class Odd:
            def __reduce__(self):
                return int, ("no number",)

        def tasks():
            return (delayed(lambda i: Odd() if i == 1 else i)(i) for i in range(3))

        run = Parallel(1, backend=ProcessesOfTheirOwn(), on_error="return", batch_size=3)
        first, error, last = run(tasks())
        assert (first, last, run.report.lost) == (0, 2, 0)
        assert (error.index, error.attempts, type(error.exception)) == (1, 1, ValueError)
        with pytest.raises(ValueError, match="no number") as caught:
            Parallel(1, backend=ProcessesOfTheirOwn(), batch_size=3)(tasks())
        assert "task 1: its result" in caught.value.__notes__[0]

    def test_who_can_not_time_tasks_has_no_timeout(self):
        class Untimed(FuturesBackend):
            supports_timeout = False

        with pytest.warns(SubstitutionWarning, match=r"timeout is none in place of 0\.001"):
            parallel = Parallel(2, backend=Untimed(), timeout=0.001)
        assert parallel(delayed(time.sleep)(0.01) for _ in range(2)) == [None, None]

    def test_a_timeout_is_counted_from_when_a_task_left(self):
        with pytest.raises(TaskTimeout):
            Parallel(1, backend=LeavingProcesses(), timeout=0.2)([delayed(time.sleep)(2)])


class LeavingProcesses(ProcessesOfTheirOwn):
    """Does not wait for running tasks at its end."""

    def terminate(self):
        self._executor.shutdown(wait=False, cancel_futures=True)


def test_done_is_reported_once_for_what_comes_after_the_end():
    session = adapt(FuturesBackend()).open(get_config(n_jobs=2), 2, 1)
    session.close()
    session.close()
    outcomes = []
    session.submit(7, Work(abs, (7, [], None, None)), lambda *report: outcomes.append(report))
    assert [(batch_id, type(outcome)) for batch_id, outcome in outcomes] == [(7, Lost)]
    assert session.over


def test_an_entry_point_that_can_not_be_loaded_is_named(monkeypatch):
    point = EntryPoint("broken", "nowhere.at_all:Backend", "parallelcfg.backends")
    monkeypatch.setattr(registry, "_entry_points", lambda: {"broken": point})
    said = (
        r"backend 'broken' can't be loaded from its entry point nowhere.at_all:Backend: ModuleNotFoundError"
    )
    with pytest.raises(BackendUnavailable, match=said):
        Parallel(n_jobs=2, backend="broken")


def test_who_asked_for_a_backend_that_can_not_be_had_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("parallelcfg.backends.dask.find_spec", lambda _: None)
    (tmp_path / "parallel.toml").write_text('n_jobs = 2\nbackend = "dask"\n')
    machine = Machine(environ={}, cwd=tmp_path, home=tmp_path)
    with context.using_machine(machine), pytest.raises(BackendUnavailable, match=r" \(parallel\.toml:2:1\)$"):
        Parallel()


class NobodyAnswers(BackendUnavailable):
    """As a backend's author may say it."""


class _NeverThere:
    """A backend whose workers can't be had."""

    name = "never"
    traits = Traits()

    def effective_n_jobs(self, config, cpus):
        return 2

    def open(self, config, n_jobs, threads):
        raise NobodyAnswers("nobody answers") from TimeoutError("after 1 s")


def test_who_asked_for_workers_that_do_not_come_is_named():
    register_parallel_backend("never", _NeverThere)
    with parallel_config(backend="never"), pytest.raises(NobodyAnswers) as caught:
        Parallel(n_jobs=2)([delayed(abs)(-1)])
    assert re.fullmatch(r"nobody answers \(.*test_custom\.py:\d+\)", str(caught.value))
    assert isinstance(caught.value.__cause__, TimeoutError)


def test_an_entry_point_that_can_not_be_called_is_named(monkeypatch):
    point = EntryPoint("odd", "string:digits", "parallelcfg.backends")
    monkeypatch.setattr(registry, "_entry_points", lambda: {"odd": point})
    with pytest.raises(TypeError, match=r"string:digits of backend 'odd' is '0123456789': not callable"):
        Parallel(n_jobs=2, backend="odd")


class _Session:
    """Says what it is told to, in place of what the work returns."""

    over = False

    def __init__(self, workers, said):
        self.workers = workers
        self._said = said

    def submit(self, batch_id, work, done):
        work()
        done(batch_id, self._said)

    def running(self):
        return {}

    def kill(self, batch_id): ...

    def abort(self): ...

    def close(self): ...


class _Native:
    name = "odd"
    traits = Traits(shares_memory=True, single_in_caller=False)

    def __init__(self, jobs=2, said=None):
        self._jobs, self._said = jobs, said

    def effective_n_jobs(self, config, cpus):
        return self._jobs

    def open(self, config, n_jobs, threads):
        return _Session(n_jobs, self._said)


@pytest.mark.parametrize("return_as", ["list", "generator"])
def test_a_session_that_reports_neither_reply_nor_loss_is_named(return_as):
    with pytest.raises(TypeError, match="expected a session to report a Reply or a Lost, got None"):
        list(Parallel(2, _Native(), return_as)(delayed(abs)(-i) for i in range(3)))


@pytest.mark.parametrize("jobs", [0, -1])
def test_a_native_backend_that_runs_no_job_is_named(jobs):
    with pytest.raises(ValueError, match=f"backend 'odd' answered {jobs} jobs"):
        Parallel(2, _Native(jobs))


def test_a_factory_that_makes_no_backend_is_named(monkeypatch):
    monkeypatch.setitem(registry._registered, "odd", dict)
    with pytest.raises(TypeError, match=r"the factory of backend 'odd' returned \{\}"):
        Parallel(n_jobs=2, backend="odd")


@pytest.mark.parametrize(
    ("backend", "params", "message"),
    [
        (int, {}, "the factory of backend 'int' returned 0; expected"),
        (_Native(), {"jobs": 3}, "backend is an instance already, so it takes no 'jobs'"),
    ],
)
def test_who_named_what_makes_no_backend_is_named(backend, params, message):
    with parallel_config(backend=backend), pytest.raises(TypeError) as caught:
        Parallel(n_jobs=2, **params)
    assert re.fullmatch(rf"{re.escape(message)}.* \(.*test_custom\.py:\d+\)", str(caught.value))
