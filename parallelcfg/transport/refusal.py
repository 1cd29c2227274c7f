"""Why a task can't travel, said of that task alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallelcfg.errors import TaskNotPicklable
from parallelcfg.transport.culprit import complaint

if TYPE_CHECKING:
    from collections.abc import Callable

    from parallelcfg.core.tasks import Batch

__all__ = ["refusal"]


def refusal(batch: Batch, position: int, dumps: Callable[[object], object]) -> Exception | None:
    """What is wrong with one task of a batch that could not be packed.

    Parameters
    ----------
    batch : Batch
        The batch.
    position : int
        Position of the task in it.
    dumps : callable
        Packs an object, or raises.

    Returns
    -------
    Exception or None
        A `TaskNotPicklable` that names the task and the object in the way, or whatever else packing raised;
        None where this task packs well.
    """
    function, args, kwargs = batch.at(position)
    try:
        dumps({"function": function, "args": args, "kwargs": kwargs})
    except TaskNotPicklable as error:
        task = f"task {batch.indices[position]}, {batch.call_text(position)}"
        named = [("function", function), ("args", args), *kwargs.items()]
        reason = complaint(error.__cause__, "it", named)
        refused = TaskNotPicklable(f"{task}, can't be sent to a worker: {reason}")
        refused.__cause__ = error.__cause__
        return refused
    except Exception as error:
        return error
    return None
