"""Threads of the caller's process: the backend ``threading``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from parallelcfg import worker
from parallelcfg.backends.base import Traits
from parallelcfg.backends.pool import Pool
from parallelcfg.backends.shelf import PoolSession
from parallelcfg.config.policy import clamp
from parallelcfg.transport.claims import cut

if TYPE_CHECKING:
    from parallelcfg.backends.members import Assignment
    from parallelcfg.config.snapshot import Config
    from parallelcfg.core.outcome import Lost, Reply

__all__ = ["ThreadsBackend"]


class _Thread:
    """A member of a pool that runs batches itself.

    Parameters
    ----------
    ordinal : int
        Its number among its fellows, which decides its share of the CPUs.
    """

    def __init__(self, ordinal: int) -> None:
        # A pool makes each member in the thread that will run its batches
        self.cell = worker.board.take_seat(ordinal)
        self._name = threading.current_thread().name

    def begin(self, assignment: Assignment) -> None:
        """Only the thread itself can."""

    def run(self, assignment: Assignment) -> Reply | Lost:
        """Run a batch to its end."""
        return assignment.work()

    def kill(self) -> bool:
        """Threads can't be stopped from outside: see `Traits.can_kill_running`."""
        return False

    def abandon(self, batch_id: int, position: int, error: BaseException) -> Reply | None:
        """Run no more than the present task; what came of the batch, with this error for that task."""
        if not cut(self.cell, batch_id, position):
            return None
        return worker.given_up(batch_id, position, error, self._name)

    def end(self) -> None:
        """Nothing is left of a thread."""

    def forsake(self) -> None:
        """No thread lives on in a forked child."""


class ThreadsBackend:
    """Threads: for tasks that release the interpreter lock, wait for input and output, or share memory."""

    name = "threading"
    traits = Traits(shares_memory=True, divides=True, abandons=True)

    def effective_n_jobs(self, config: Config, cpus: int) -> int:
        """How many jobs this configuration means here."""
        return clamp(config.n_jobs, cpus, config.max_jobs)[0]

    def open(self, config: Config, n_jobs: int, threads: int) -> PoolSession:  # noqa: ARG002 - the protocol
        """Get ``n_jobs`` workers ready."""
        return PoolSession(n_jobs, ("threading", n_jobs), lambda: _pool(n_jobs))


def _pool(n_jobs: int) -> Pool:
    return Pool(n_jobs, _Thread, worker.board.running)
