"""Worker processes of loky: the default backend."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from parallelcfg.backends.base import Traits
from parallelcfg.backends.params import CALLABLE, COUNT, LIST, SECONDS, VARIABLE, checked, checked_each
from parallelcfg.backends.processes import packed_setup, process_pool, thread_variables
from parallelcfg.backends.shelf import PoolSession
from parallelcfg.backends.workers import Recycling, start_helpers
from parallelcfg.config.policy import clamp
from parallelcfg.workerprocess import Birth, main

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from parallelcfg.backends.pool import Pool
    from parallelcfg.config.snapshot import Config
    from parallelcfg.transport.board import Seat

__all__ = ["LokyBackend"]


class LokyBackend:
    """Processes of `loky`, which survive what `multiprocessing` does not.

    Parameters
    ----------
    idle_worker_timeout : float or None, default 300
        Seconds after which an idle worker ends; None for never.
    initializer : callable, optional
        Called in every fresh worker.
    initargs : tuple, optional
        Its arguments.
    env : mapping of str to str, optional
        Environment variables of the workers, set before they import anything.
    max_worker_growth : int, optional
        Bytes by which a worker's memory may grow after its first batch; a worker that has grown more is
        replaced between batches. Off unless set.

    Raises
    ------
    WrongParam
        A `ValueError`: a parameter has a value that it can't have.
    """

    name = "loky"
    traits = Traits(uses_processes=True, can_kill_running=True, divides=True, answers=True)

    def __init__(
        self,
        *,
        idle_worker_timeout: float | None = 300.0,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        env: Mapping[str, str] | None = None,
        max_worker_growth: int | None = None,
    ) -> None:
        checked(SECONDS, idle_worker_timeout=idle_worker_timeout)
        checked(CALLABLE, initializer=initializer)
        checked(LIST, initargs=initargs)
        checked_each(VARIABLE, "env", env)
        checked(COUNT, max_worker_growth=max_worker_growth)
        self._timeout = idle_worker_timeout
        self._initializer = initializer
        self._initargs = tuple(initargs or ())
        self._env = {name: str(value) for name, value in (env or {}).items()}
        self._recycling = Recycling(growth=max_worker_growth)

    def effective_n_jobs(self, config: Config, cpus: int) -> int:
        """How many jobs this configuration means here."""
        return clamp(config.n_jobs, cpus, config.max_jobs)[0]

    def open(self, config: Config, n_jobs: int, threads: int) -> PoolSession:
        """Get ``n_jobs`` workers ready."""
        key = (
            "loky",
            n_jobs,
            self._timeout,
            self._recycling,
            frozenset(self._env.items()),
            setup := packed_setup(self._initializer, self._initargs),
        )
        return PoolSession(
            n_jobs, key, lambda: self._make(n_jobs, {**thread_variables(config, threads), **self._env}, setup)
        )

    def _make(self, n_jobs: int, env: dict[str, str], setup: bytes) -> Pool:
        _import_loky()
        from loky.backend import resource_tracker

        def spawn(connection: Connection, seat: Seat) -> BaseProcess:
            start_helpers("spawn")
            resource_tracker.ensure_running()
            return _process((connection, Birth.here(seat, {}, setup)), env)

        return process_pool(n_jobs, spawn, self._recycling, self._timeout)


def _import_loky() -> None:
    """Import what takes a while, so that Ctrl-C is neither lost in it nor ends the program with another code.

    In the thread that is interrupted, somebody's ``except`` may swallow it. Where another thread still
    imports as the program ends, CPython forgets that it was interrupted (``exec`` in `namedtuple` resets what
    it took down), and shells go on with their loops.
    """
    if "loky" in sys.modules:
        return
    done = threading.Event()  # whose wait, unlike `Thread.join`, can be taken up again after an interrupt

    def load() -> None:
        try:
            with suppress(ImportError):  # whoever asks for it next is told
                import_module("loky")
        finally:
            done.set()

    threading.Thread(target=load, name="parallelcfg-import", daemon=True).start()
    try:
        done.wait()
    finally:
        done.wait()


def _process(args: tuple[Connection, Birth], env: dict[str, str]) -> BaseProcess:
    if sys.platform == "win32":
        from loky.backend import get_context

        return get_context("loky").Process(target=main, args=args, env=env)  # type: ignore[no-any-return]
    from parallelcfg.workerentry import (
        LeanProcess,
    )  # not at the top: workers run this module as their main one

    return LeanProcess(main, args, env)
