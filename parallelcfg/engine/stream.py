"""Results on their way to the consumer: deliveries become lists, faults become exceptions.

Batches are unpacked by the consumer, in its own thread, when it asks for them: whoever reads slowly pays for
nothing that it has not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parallelcfg.core.actions import Fault
from parallelcfg.core.outcome import Failure
from parallelcfg.errors import TaskError, TaskFailure
from parallelcfg.transport.failures import (
    add_note,
    let_go,
    theirs,
    traceback_text,
    unpack_exception,
    with_sources,
)
from parallelcfg.transport.salvage import PartlyUnreadable, Unreadable

if TYPE_CHECKING:
    from parallelcfg.core.actions import Counts, Deliver, Part
    from parallelcfg.engine.codec import Codec

__all__ = ["assemble", "exception_of"]


def assemble(delivery: Deliver, codec: Codec, counts: Counts, *, keep_going: bool) -> list[Any]:
    """The results of a delivery, in their order, with a `TaskError` in each failed task's place.

    Parameters
    ----------
    delivery : Deliver
        What the dispatcher released.
    codec : Codec
        Unpacks the values.
    counts : Counts
        Learns how many can't be unpacked.
    keep_going : bool
        Put a `TaskError` in the place of a result that can't be unpacked; else raise what is in the way.

    Returns
    -------
    list
        One item for each task.
    """
    first = delivery.parts[0]
    if len(delivery.parts) == 1 and not first.faults and not first.holes:
        return _unpacked(delivery, first, codec, counts, keep_going=keep_going)
    results: list[Any] = [None] * delivery.count
    for part in delivery.parts:
        if part.positions and part.values is not None:  # None: the worker could not unpack the batch
            values = _unpacked(delivery, part, codec, counts, keep_going=keep_going)
            for at, (where, value) in enumerate(zip(part.positions, values, strict=True)):
                if at not in part.holes:
                    results[where] = value
        for where, fault in part.faults:
            results[where] = _task_error(fault)
    return results


def _unpacked(delivery: Deliver, part: Part, codec: Codec, counts: Counts, *, keep_going: bool) -> list[Any]:
    try:
        return codec.unpack(part.values)
    except PartlyUnreadable as found:
        values = found.values
    for at, value in enumerate(values):
        if isinstance(value, Unreadable):
            counts.unreadable += 1
            index = delivery.first + part.positions[at]
            failure = Failure(at, value.error, traceback_text(value.error))
            fault = Fault(index, "its result could not be unpickled here", part.attempt, failure)
            if not keep_going:
                raise exception_of(fault)
            _noted(value.error, fault)
            values[at] = _task_error(fault)
    return values


def exception_of(error: Fault | BaseException) -> BaseException:
    """The exception to raise for what ended a call.

    A task's exception keeps its type. It carries a note with the task's index and call, and, where it came
    from another process, a `TaskFailure` with the worker's traceback as its cause. ``StopIteration`` would be
    taken for the end of a generator, so it comes as a `TaskError`. Tracebacks begin with the user's own code.
    """
    if isinstance(error, BaseException):
        return _from_theirs(error)
    if error.failure is None:
        assert error.cause is not None
        return _noted(unpack_exception(error.cause), error)
    exception = unpack_exception(error.failure.exception)
    if isinstance(error.failure.exception, bytes):
        cause = TaskFailure(error.index, error.call, with_sources(error.failure.traceback))
        object.__setattr__(exception, "__cause__", cause)  # also where the exception is a frozen dataclass
    if isinstance(exception, StopIteration):
        wrapped = _task_error(error)
        wrapped.__cause__ = wrapped.exception
        return wrapped
    return _noted(_from_theirs(exception), error)


def _from_theirs(exception: BaseException) -> BaseException:
    let_go(exception.__traceback__)
    return BaseException.with_traceback(exception, theirs(exception.__traceback__))


def _task_error(fault: Fault) -> TaskError:
    if fault.failure is None:
        assert fault.cause is not None
        return TaskError(fault.index, unpack_exception(fault.cause), "", fault.attempts)
    exception = _from_theirs(unpack_exception(fault.failure.exception))
    return TaskError(fault.index, exception, with_sources(fault.failure.traceback), fault.attempts)


def _noted(exception: BaseException, fault: Fault) -> BaseException:
    """Add which task it was, as a note."""
    tries = "" if fault.attempts == 1 else f", attempt {fault.attempts}"
    add_note(exception, f"raised by task {fault.index}: {fault.call}{tries}")
    return exception
