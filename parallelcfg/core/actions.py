"""What the dispatcher says: the actions it asks for, and the values they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parallelcfg.core.outcome import Failure
    from parallelcfg.core.tasks import Batch

__all__ = [
    "Abort",
    "Action",
    "Counts",
    "Deliver",
    "Divide",
    "Fault",
    "Finish",
    "Kill",
    "Limits",
    "Part",
    "Pull",
    "Submit",
]


class Fault(NamedTuple):
    """Why a task has no result: what it raised, or what happened to its worker."""

    index: int  # type: ignore[assignment]  # a field: nobody looks for items
    call: str
    attempts: int
    failure: Failure | None = None
    cause: BaseException | bytes | None = None


class Part(NamedTuple):
    """Some results of a delivery.

    Parameters
    ----------
    positions : sequence of int
        Where each packed value belongs in the delivery.
    values : object
        The values as the worker packed them.
    holes : frozenset of int
        Which of the values are no results (their tasks failed).
    faults : tuple of (int, Fault)
        Errors that stand in a result's place, by position in the delivery.
    attempt : int
        Which try of these tasks gave the values.
    """

    positions: Sequence[int]
    values: Any
    holes: frozenset[int] = frozenset()
    faults: tuple[tuple[int, Fault], ...] = ()
    attempt: int = 1


class Pull(NamedTuple):
    """Take up to ``size`` tasks from the source, then report `Dispatcher.pulled`."""

    size: int


class Submit(NamedTuple):
    """Give the batch to the session; report `Dispatcher.done` when it ends."""

    batch_id: int
    batch: Batch


class Kill(NamedTuple):
    """Stop the worker that runs this batch; its loss is reported as any other."""

    batch_id: int


class Divide(NamedTuple):
    """Take back half of what one of these batches' workers has not begun; report `Dispatcher.divided`.

    Parameters
    ----------
    sizes : dict of int to int
        Tasks of each batch.
    least : int
        How many that were not begun are worth it.
    """

    sizes: dict[int, int]
    least: int


class Deliver(NamedTuple):
    """Hand these results, ``count`` in all, to the consumer; they begin with that of task ``first``."""

    count: int  # type: ignore[assignment]  # a field, as above
    parts: tuple[Part, ...]
    first: int = 0


class Abort(NamedTuple):
    """Drop what the session has queued or running."""


class Finish(NamedTuple):
    """The call is over: with all results delivered, or with this error."""

    error: Fault | BaseException | None = None


Action = Pull | Submit | Divide | Kill | Deliver | Abort | Finish


class Limits(NamedTuple):
    """What bounds a call.

    Parameters
    ----------
    in_flight : int or None
        Batches out at the same time; None for no bound.
    unread : int or None
        Delivered tasks that the consumer has not taken, from which on no more are pulled.
    retries : int
        More attempts for a task that failed.
    keep_going : bool
        Failed tasks are delivered as faults and end nothing (``on_error="return"``).
    deadline : float or None
        When the call must be over, in seconds of the clock that `Dispatcher.tick` is given.
    """

    in_flight: int | None
    unread: int | None = None
    retries: int = 0
    keep_going: bool = False
    deadline: float | None = None


class Counts:
    """How far a call is.

    Parameters
    ----------
    done : int
        Tasks that are through, with a result or without.
    failed : int
        Those without one, after all their attempts.
    retried : int
        How often a task was sent again because it failed.

    Attributes
    ----------
    unreadable : int
        Tasks that ran, and whose results can't be had. The consumer of the results finds them, and counts.
    """

    __slots__ = ("done", "failed", "retried", "unreadable")

    def __init__(self, done: int = 0, failed: int = 0, retried: int = 0) -> None:
        self.done, self.failed, self.retried = done, failed, retried
        self.unreadable = 0
