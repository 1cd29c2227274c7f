"""Backends written for joblib's hooks: the base class, the batching mixin, and their native form.

A backend written for joblib moves over by changing its import. Hooks that this package has no need of keep
their names and defaults, so that subclasses can call and override them as before; docs/backends.md says
which hook is called when.
"""

from __future__ import annotations

import os
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from parallelcfg.backends.adapter import AdaptedBackend
from parallelcfg.config.cpus import cpu_count
from parallelcfg.threadpools.variables import VARIABLES, environment_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from parallelcfg.backends.base import Backend

__all__ = [
    "AutoBatchingMixin",
    "LokyBackend",
    "ParallelBackendBase",
    "SequentialBackend",
    "ThreadingBackend",
    "adapt",
]


class ParallelBackendBase:
    """Base class of backends written for joblib's hooks.

    A subclass has at least `effective_n_jobs` and `submit`, and one of `retrieve_result_callback` (with
    ``supports_retrieve_callback = True``) and `retrieve_result`.

    Parameters
    ----------
    nesting_level : int, optional
        How many parallel calls surround those of this backend; None: found out when it is used.
    inner_max_num_threads : int, optional
        Limit on inner threads, for backends that set it in their workers themselves.
    **backend_kwargs
        Kept as the attribute ``backend_kwargs``.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from parallelcfg import Parallel, delayed
    >>> class Pool(ParallelBackendBase):
    ...     supports_retrieve_callback = True
    ...     supports_sharedmem = uses_threads = True
    ...
    ...     def effective_n_jobs(self, n_jobs):
    ...         return n_jobs
    ...
    ...     def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
    ...         self.pool = ThreadPoolExecutor(n_jobs)
    ...         return n_jobs
    ...
    ...     def submit(self, func, callback=None):
    ...         future = self.pool.submit(func)
    ...         future.add_done_callback(callback)
    ...         return future
    ...
    ...     def retrieve_result_callback(self, future):
    ...         return future.result()
    ...
    ...     def terminate(self):
    ...         self.pool.shutdown()
    >>> Parallel(n_jobs=2, backend=Pool())(delayed(abs)(x) for x in (-1, -2, -3))
    [1, 2, 3]
    """

    #: What ``n_jobs=None`` means.
    default_n_jobs: int = 1
    #: Whether the constructor's ``inner_max_num_threads`` reaches the workers.
    supports_inner_max_num_threads: bool = False
    #: Whether `submit` has the callback called with something that `retrieve_result_callback` understands.
    supports_retrieve_callback: bool = False
    #: Whether tasks see the caller's own objects.
    supports_sharedmem: bool = False
    #: Whether tasks run in threads of the caller's process.
    uses_threads: bool = False
    #: How many parallel calls surround those of this backend.
    nesting_level: int | None = None
    #: Limit on inner threads, for backends that set it in their workers themselves.
    inner_max_num_threads: int | None = None
    #: The variables that `_prepare_worker_env` sets.
    MAX_NUM_THREADS_VARS = tuple(VARIABLES)

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **backend_kwargs: Any,
    ) -> None:
        super().__init__()
        self.nesting_level = nesting_level
        self.inner_max_num_threads = inner_max_num_threads
        self.backend_kwargs = backend_kwargs

    @property
    def supports_return_generator(self) -> bool:
        """Whether generators may be asked for. Here they may always."""
        return self.supports_retrieve_callback

    @property
    def supports_timeout(self) -> bool:
        """Whether the key ``timeout`` is obeyed."""
        return self.supports_retrieve_callback

    def effective_n_jobs(self, n_jobs: int) -> int:
        """How many jobs a request means; -1 asks for all there are."""
        raise NotImplementedError(f"{type(self).__name__} has no effective_n_jobs")

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        *_hints: Any,
        **backend_kwargs: Any,  # noqa: ARG002 - joblib's signature
    ) -> int:
        """Get workers ready for a call, or for a ``with`` block; returns how many there are."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Any:
        """Have ``func()`` run somewhere, return a job, and have ``callback`` called when it has ended."""
        warnings.warn(
            f"{type(self).__name__}.apply_async: the hook is called submit now", DeprecationWarning, 2
        )
        return self.apply_async(func, callback)

    def apply_async(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Any:
        """The former name of `submit`."""
        raise NotImplementedError(f"{type(self).__name__} has no submit")

    def retrieve_result_callback(self, out: Any) -> Any:
        """What ``func()`` returned, from what the callback was called with; raises what went wrong."""
        raise NotImplementedError(f"{type(self).__name__} has no retrieve_result_callback")

    def retrieve_result(self, out: Any, timeout: float | None = None) -> Any:
        """What ``func()`` returned, from what `submit` returned; waits for it, raises what went wrong."""
        return out.get(timeout=timeout) if self.supports_timeout else out.get()

    def start_call(self) -> None:
        """Called when workers were configured, before the first task."""

    def stop_call(self) -> None:
        """Called after the last task, before `terminate`."""

    def terminate(self) -> None:
        """Give the workers back."""

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Drop what is queued or running. `terminate` follows, and `configure` before any new task."""

    def compute_batch_size(self) -> int:
        """How many tasks travel together under ``batch_size="auto"``."""
        return 1

    def batch_completed(self, batch_size: int, duration: float) -> None:
        """So many tasks were run together, and took so many seconds from submission to result."""

    def get_nested_backend(self) -> Any:
        """Who runs parallel calls inside of tasks: a backend, or a tuple of backend and ``n_jobs``.

        None leaves it to the package's own rule: threads on the first level, no parallelism below.
        """
        return None

    @contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Entered by the calling thread while it waits for a list of results."""
        yield

    def get_exceptions(self) -> list[type[BaseException]]:
        """Kept for backends that override it; nobody asks."""
        return []

    @staticmethod
    def in_main_thread() -> bool:
        """Whether this is the main thread."""
        return threading.current_thread() is threading.main_thread()

    def _prepare_worker_env(self, n_jobs: int) -> dict[str, str]:
        """Environment variables that limit the inner threads of a worker, one of ``n_jobs``."""
        asked = self.inner_max_num_threads
        share = max(1, cpu_count() // n_jobs)
        return environment_for(asked or share, os.environ, explicit=asked is not None)


class AutoBatchingMixin:
    """Batch sizes from measured durations; stands before `ParallelBackendBase` in a class's bases.

    A batch aims at a duration between the two bounds, which subclasses may change.
    """

    #: Seconds from submission to result that a batch should take, at least and at most.
    MIN_IDEAL_BATCH_DURATION: float = 0.2
    MAX_IDEAL_BATCH_DURATION: float = 2.0

    _batch_size: int
    _batch_duration: float | None  # None: nothing measured since the size was chosen

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reset_batch_stats()

    def compute_batch_size(self) -> int:
        """The present size, at most doubled or halved by what was measured since it was chosen."""
        duration = self._batch_duration
        if duration is not None and not self._is_ideal(duration):
            wanted = self._batch_size * self.MIN_IDEAL_BATCH_DURATION / max(duration, 1e-9)
            size = int(min(2 * self._batch_size, max(self._batch_size / 2, wanted, 1)))
            if size != self._batch_size:
                self._batch_size, self._batch_duration = size, None
        return self._batch_size

    def batch_completed(self, batch_size: int, duration: float) -> None:
        """Learn from a batch of the present size; older ones say nothing about it."""
        if batch_size == self._batch_size:
            known = self._batch_duration
            self._batch_duration = duration if known is None else 0.8 * known + 0.2 * duration

    def reset_batch_stats(self) -> None:
        """Forget what was measured."""
        self._batch_size = 1
        self._batch_duration = None

    def _is_ideal(self, duration: float) -> bool:
        return self.MIN_IDEAL_BATCH_DURATION <= duration <= self.MAX_IDEAL_BATCH_DURATION


class _StandIn(ParallelBackendBase):
    """A built-in backend under its joblib name, for `ParallelBackendBase.get_nested_backend` to return."""

    builtin: str

    def effective_n_jobs(self, n_jobs: int) -> int:
        """The request itself."""
        return n_jobs


class LokyBackend(_StandIn):
    """Stands for the built-in backend ``loky``."""

    builtin = "loky"


class ThreadingBackend(_StandIn):
    """Stands for the built-in backend ``threading``."""

    builtin = "threading"


class SequentialBackend(_StandIn):
    """Stands for the built-in backend ``sequential``."""

    builtin = "sequential"


def adapt(backend: ParallelBackendBase, name: str | None = None) -> Backend:
    """The native form of a backend with joblib's hooks.

    Parameters
    ----------
    backend : ParallelBackendBase
        The backend. One instance can serve any number of calls.
    name : str, optional
        What reports and messages call it; its class's name by default.

    Examples
    --------
    >>> adapt(ThreadingBackend()).name
    'threading'
    """
    if isinstance(backend, _StandIn):
        from parallelcfg.backends.registry import make_backend

        return make_backend(backend.builtin, backend.backend_kwargs)
    return AdaptedBackend(backend, name or type(backend).__name__)
