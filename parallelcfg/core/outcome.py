"""Outcomes are values: what came of a batch, whoever ran it.

A `Session` answers every submission with one `Reply` or one `Lost`. A reply carries the results as the
worker packed them (a list, or bytes that only the consumer unpacks) and, apart from them, what failed: so
the dispatcher learns everything it needs without unpickling anybody's values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from parallelcfg.errors import WorkerLost

__all__ = ["Failure", "Lost", "Reply", "ended"]


class Failure(NamedTuple):
    """An exception that one task of a batch raised.

    Parameters
    ----------
    position : int
        Position of the task in its batch.
    exception : BaseException or bytes
        The exception, or its pickle where it came from another process.
    traceback : str
        The traceback as text, formatted where it happened.
    fatal : bool
        True for what must end the call whatever ``on_error`` says (``KeyboardInterrupt`` in a task that
        runs in the caller's thread).
    """

    position: int
    exception: BaseException | bytes
    traceback: str
    fatal: bool = False


class Reply(NamedTuple):
    """What a worker says when it has finished a batch.

    Parameters
    ----------
    values : object
        The results, packed: one for each task that was run, with None in a failed task's place.
    ran : int
        How many tasks of the batch were run. Fewer than the batch has where the worker stopped at a failure.
    failures : tuple of Failure
        In the order of their positions.
    seconds : float
        Time the worker spent inside the tasks, in seconds.
    worker : str
        Name of the worker: a process number, thread name or address.
    started : float
        When the worker began, in seconds of its host's monotonic clock.
    peak_rss : int
        The worker's peak resident memory in bytes; 0 where unknown or shared with the caller.
    """

    values: Any
    ran: int
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0
    worker: str = ""
    started: float = 0.0
    peak_rss: int = 0


class Lost(NamedTuple):
    """A batch whose outcome will never come: its worker died, or its session was aborted.

    Parameters
    ----------
    cause : BaseException or bytes
        What the call shall raise for it, or its pickle where it came from another process.
    suspect : int or None
        Position of the task that was running when its worker died; None where unknown.
    innocent : bool
        True where the batch can't be to blame: its worker was stopped on another batch's account, or had not
        begun. Its tasks are run again at no cost to their retries.
    """

    cause: BaseException | bytes
    suspect: int | None = None
    innocent: bool = False


def ended() -> WorkerLost:
    """What becomes of a batch whose workers were given back."""
    return WorkerLost(
        "the with block of the call has ended", "read a generator inside of the block that made it"
    )
