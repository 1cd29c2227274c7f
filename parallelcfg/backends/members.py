"""What a pool hands out, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from parallelcfg.backends.base import Done, Work
    from parallelcfg.core.outcome import Lost, Reply

__all__ = ["Assignment", "Member"]


class Assignment:
    """A batch in a pool's hands.

    Parameters
    ----------
    batch_id : int
        Its number.
    work : Work
        What to run.
    done : Done
        Whom to tell.

    Attributes
    ----------
    revoked : bool
        It shall not be begun any more.
    begun : bool
        The member has begun it already.
    """

    __slots__ = ("batch_id", "begun", "done", "revoked", "work")

    def __init__(self, batch_id: int, work: Work, done: Done) -> None:
        self.batch_id, self.work, self.done = batch_id, work, done
        self.revoked = self.begun = False


class Member(Protocol):
    """Who runs batches for one thread of a pool."""

    @property
    def cell(self) -> Any:
        """Where it notes what it runs, on the board."""

    def begin(self, assignment: Assignment) -> None:
        """Begin a batch before `run` is called, if that takes no time; called by whoever submits it."""

    def run(self, assignment: Assignment) -> Reply | Lost:
        """Run a batch to its end."""

    def kill(self) -> bool:
        """Stop what runs now, from another thread; False where that can't be done."""

    def abandon(self, batch_id: int, position: int, error: BaseException) -> Reply | None:
        """Run no more than the present task, and get no other batch; None where that is another one by now.

        What it gives is the batch's outcome without waiting for the task, which has failed of ``error``.
        """

    def end(self) -> None:
        """There will be no more batches."""

    def forsake(self) -> None:
        """Let go, in a forked child, of the parent's worker."""
