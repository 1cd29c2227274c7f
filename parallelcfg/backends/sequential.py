"""No workers at all: tasks run one after another in the thread that called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallelcfg import worker
from parallelcfg.backends.base import Traits
from parallelcfg.core.outcome import Lost, ended

if TYPE_CHECKING:
    from parallelcfg.backends.base import Done, Work
    from parallelcfg.config.snapshot import Config
    from parallelcfg.transport.board import Running

__all__ = ["SequentialBackend"]


class SequentialSession:
    """Runs work inside `submit`."""

    workers = 1

    def __init__(self) -> None:
        self.over = False

    def submit(self, batch_id: int, work: Work, done: Done) -> None:
        """Run ``work`` here and now."""
        done(batch_id, Lost(ended()) if self.over else work())

    def running(self) -> dict[int, Running]:
        """Which task of which batch runs now."""
        return worker.board.running()

    def kill(self, batch_id: int) -> None:
        """The caller's own thread can't be stopped: see `Traits.can_kill_running`."""
        raise RuntimeError(f"batch {batch_id} runs in the caller's own thread")

    def abort(self) -> None:
        """Take no more work."""
        self.over = True

    def close(self) -> None:
        """Take no more work."""
        self.over = True


class SequentialBackend:
    """One job, in the caller's own thread: what ``n_jobs=1`` means on every backend."""

    name = "sequential"
    traits = Traits(shares_memory=True, in_caller=True)

    def effective_n_jobs(self, config: Config, cpus: int) -> int:  # noqa: ARG002 - the protocol's signature
        """One."""
        return 1

    def open(self, config: Config, n_jobs: int, threads: int) -> SequentialSession:  # noqa: ARG002 - the protocol
        """Ready at once."""
        return SequentialSession()
