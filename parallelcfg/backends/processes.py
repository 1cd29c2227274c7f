"""Worker processes of the standard library: the backend ``multiprocessing``.

Also home of `process_pool`, which the loky backend shares.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from parallelcfg.backends.base import Traits
from parallelcfg.backends.params import CALLABLE, COUNT, LIST, WrongParam, checked
from parallelcfg.backends.pool import Pool
from parallelcfg.backends.shelf import PoolSession
from parallelcfg.backends.workers import Recycling, WorkerProcess, start_helpers
from parallelcfg.config.policy import clamp
from parallelcfg.threadpools.variables import environment_for
from parallelcfg.transport.arena import temporary_folder
from parallelcfg.transport.board import SharedBoard
from parallelcfg.transport.pickling import dumps
from parallelcfg.workerprocess import IMPORTING_MAIN, Birth, main

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess

    from parallelcfg.backends.workers import Spawn
    from parallelcfg.config.snapshot import Config
    from parallelcfg.transport.board import Seat

__all__ = ["ProcessesBackend", "packed_setup", "process_pool", "thread_variables"]

_STDERR = 2


def packed_setup(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> bytes:
    """The user's initializer as a worker receives it; also what tells pools with different ones apart."""
    if initializer is None:
        return _NO_SETUP
    return dumps((initializer, initargs), name="(initializer, initargs)")


_NO_SETUP = dumps((None, ()))


def thread_variables(config: Config, threads: int) -> dict[str, str]:
    """Environment of a new worker. No part of a pool's key: a warm worker changes its limit at run time."""
    return environment_for(threads, os.environ, explicit=config.inner_max_num_threads is not None)


def process_pool(n_jobs: int, spawn: Spawn, recycling: Recycling, idle_timeout: float | None = None) -> Pool:
    """A pool of worker processes, each of which ``spawn`` makes."""
    from multiprocessing.process import current_process  # not at the top: it may be missing

    if getattr(current_process(), "_inheriting", False):  # the standard library's own sign
        # This process is about to be a worker, and for that imports the main module, which runs this call:
        # its parent says so, once
        with suppress(AttributeError, ValueError, OSError):  # there may be no output
            sys.stdout.flush()
        os._exit(IMPORTING_MAIN)
    _fill_standard_places()
    board = SharedBoard(n_jobs)
    return Pool(
        n_jobs,
        lambda ordinal: WorkerProcess(board.seat(ordinal), spawn, recycling),
        board.running,
        idle_timeout,
    )


def _fill_standard_places() -> None:
    """Put the null device where the program has no input or output (``>&-``), as daemons have it.

    What is opened for workers would get these numbers, and be their output: tasks would print into the board.
    """
    with suppress(OSError):  # where it can't be opened, nothing else is likely to be
        while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
            os.set_inheritable(fd, True)
        os.close(fd)


class ProcessesBackend:
    """Processes of the standard library's `multiprocessing`.

    Parameters
    ----------
    start_method : {"spawn", "forkserver", "fork"}, optional
        How workers come to life; by default ``"forkserver"`` where the system has it and a temporary folder
        that it needs, else ``"spawn"``.
        ``"fork"`` copies the caller's memory and is unsafe where threads run.
    context : multiprocessing.context.BaseContext, optional
        A context in place of ``start_method``.
    maxtasksperchild : int, optional
        Batches after which a worker is replaced.
    initializer : callable, optional
        Called in every fresh worker.
    initargs : tuple, optional
        Its arguments.

    Raises
    ------
    WrongParam
        A `ValueError`: a parameter has a value that it can't have.
    """

    name = "multiprocessing"
    traits = Traits(uses_processes=True, can_kill_running=True, divides=True, answers=True)

    def __init__(
        self,
        *,
        start_method: str | None = None,
        context: BaseContext | None = None,
        maxtasksperchild: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        checked(COUNT, maxtasksperchild=maxtasksperchild)
        checked(CALLABLE, initializer=initializer)
        checked(LIST, initargs=initargs)
        if context is not None and not hasattr(context, "get_start_method"):
            expected = "a context of multiprocessing; the name of a method is start_method"
            raise WrongParam("context", context, expected)
        self._context = context if context is not None else _context(start_method)
        self._initializer = initializer
        self._initargs = tuple(initargs or ())
        self._recycling = Recycling(batches=maxtasksperchild)

    def effective_n_jobs(self, config: Config, cpus: int) -> int:
        """How many jobs this configuration means here."""
        return clamp(config.n_jobs, cpus, config.max_jobs)[0]

    def open(self, config: Config, n_jobs: int, threads: int) -> PoolSession:
        """Get ``n_jobs`` workers ready."""
        key = (
            "multiprocessing",
            n_jobs,
            self._context.get_start_method(),
            self._recycling,
            setup := packed_setup(self._initializer, self._initargs),
        )
        return PoolSession(n_jobs, key, lambda: self._make(n_jobs, thread_variables(config, threads), setup))

    def _make(self, n_jobs: int, env: dict[str, str], setup: bytes) -> Pool:
        def spawn(connection: Connection, seat: Seat) -> BaseProcess:
            start_helpers(self._context.get_start_method())
            return self._context.Process(target=main, args=(connection, Birth.here(seat, env, setup)))  # type: ignore[attr-defined,no-any-return]

        return process_pool(n_jobs, spawn, self._recycling)


def _context(start_method: str | None) -> BaseContext:
    import multiprocessing

    known = multiprocessing.get_all_start_methods()
    if start_method is None:
        serves = "forkserver" in known and temporary_folder() is not None  # where its socket is
        start_method = "forkserver" if serves else "spawn"
    elif start_method not in known:
        expected = f"one of those that this system has: {', '.join(known)}"
        raise WrongParam("start_method", start_method, expected)
    return multiprocessing.get_context(start_method)
