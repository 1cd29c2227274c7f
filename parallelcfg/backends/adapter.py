"""The native form of a backend with joblib's hooks: its traits, its jobs, and how it is configured."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, SupportsInt

from parallelcfg.backends.base import Traits
from parallelcfg.backends.hooks import HookSession
from parallelcfg.config.context import current_scope
from parallelcfg.config.policy import clamp

if TYPE_CHECKING:
    from parallelcfg.backends.custom import ParallelBackendBase
    from parallelcfg.config.snapshot import Config

__all__ = ["AdaptedBackend", "CallInfo"]


@dataclass(frozen=True, slots=True)
class CallInfo:
    """What `ParallelBackendBase.configure` gets as ``parallel``: settings, by joblib's names."""

    n_jobs: int
    verbose: int
    timeout: float | None
    batch_size: int | str
    pre_dispatch: int | str
    return_generator: bool
    _backend_kwargs: dict[str, Any] = field(default_factory=dict)


class AdaptedBackend:
    """A backend with joblib's hooks, in its native form.

    Parameters
    ----------
    backend : ParallelBackendBase
        The backend.
    name : str
        What reports and messages call it.
    """

    def __init__(self, backend: ParallelBackendBase, name: str) -> None:
        self.name = name
        self._backend = backend
        self._batch_size = 1
        self.traits = Traits(
            shares_memory=backend.supports_sharedmem,
            single_in_caller=False,
            pickles_itself=True,
            hears_calls=True,
            times_tasks=backend.supports_timeout,
            batch_size=lambda: self._batch_size,
        )

    def effective_n_jobs(self, config: Config, cpus: int) -> int:
        """How many jobs this configuration means here."""
        jobs = self._backend.effective_n_jobs(self._asked(config))
        return clamp(jobs or 1, cpus, config.max_jobs)[0]  # 0: a cluster without workers yet

    def open(self, config: Config, n_jobs: int, threads: int) -> HookSession:  # noqa: ARG002 - the protocol
        """Configure the backend, or a copy of it while another call is using it."""
        backend = _claim(self._backend)

        threads_before = backend.inner_max_num_threads

        def release() -> None:
            backend.inner_max_num_threads = threads_before
            _release(backend)

        try:
            workers = self._configure(backend, config, n_jobs)
            self._ask_for_size(backend)
        except BaseException:
            release()
            raise
        return HookSession(backend, workers, config, completed=self._completed, released=release)

    def _configure(self, backend: ParallelBackendBase, config: Config, n_jobs: int) -> int:
        if backend.nesting_level is None:
            scope = current_scope()
            backend.nesting_level = 0 if scope is None else scope.depth
        if config.inner_max_num_threads is not None:
            backend.inner_max_num_threads = config.inner_max_num_threads
        asked = self._asked(config)
        if asked < 0 or backend.effective_n_jobs(asked) != n_jobs:  # or there is a ceiling
            asked = n_jobs
        options: dict[str, Any] = {
            "prefer": config.prefer,
            "require": config.require,
            "verbose": config.verbose,
            "temp_folder": config.temp_folder,
            "max_nbytes": config.max_nbytes,
            "mmap_mode": config.mmap_mode,
        }
        info = CallInfo(
            asked,
            config.verbose,
            config.timeout,
            config.batch_size,
            config.pre_dispatch,
            config.return_as != "list",
            options,
        )
        workers: Any = backend.configure(n_jobs=asked, parallel=info, **options)
        if not isinstance(workers, SupportsInt):
            kind = type(backend).__name__
            raise TypeError(f"{kind}.configure() returned {workers!r}; expected the number of workers")
        return int(workers)

    def _completed(self, backend: ParallelBackendBase, count: int, seconds: float) -> None:
        backend.batch_completed(count, seconds)
        self._ask_for_size(backend)

    def _ask_for_size(self, backend: ParallelBackendBase) -> None:
        # Asked here and not when a batch is made, where the engine holds its lock
        self._batch_size = max(1, backend.compute_batch_size())

    def _asked(self, config: Config) -> int:
        return self._backend.default_n_jobs if config.n_jobs is None else config.n_jobs


_claims: set[int] = set()
_claims_lock = threading.Lock()


def _claim(backend: ParallelBackendBase) -> ParallelBackendBase:
    """The backend itself, or a copy where another call, in another thread or around this one, has it.

    joblib's hooks keep the state of a call in the instance: `configure` would replace the other call's pool.
    """
    with _claims_lock:
        if id(backend) in _claims:
            backend = copy.copy(backend)
        _claims.add(id(backend))
    return backend


def _release(backend: ParallelBackendBase) -> None:
    with _claims_lock:
        _claims.discard(id(backend))
