"""Who runs which tasks of a batch that is divided while it runs.

When no tasks are left to send, a worker that is idle can help one that is not: the parent takes back half of
what that one has not begun, and sends it to the idle one. Both agree through the busy worker's cell on the
board, without a message and without waiting for the end of the task that runs.

A worker claims tasks, then looks at what it may keep; the parent says what it leaves, then looks at what was
claimed. Each makes sure that its own word is out before it looks, so at least one of them sees the other's,
and no task is run twice: Dekker's algorithm, in E. W. Dijkstra, "Cooperating sequential processes" (1965).
"""

from __future__ import annotations

from threading import Lock
from time import sleep
from typing import TYPE_CHECKING, Any

from parallelcfg.transport.board import BATCH, CLAIMED, DIVIDED, KEPT

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["claimant", "cut", "divide", "unclaimed"]

#: Seconds after which no processor keeps to itself what it has stored, should a lock not make it tell.
_SETTLED = 5e-5


def claimant(cell: Any, batch_id: int) -> Callable[[int], int]:
    """How the worker of a batch claims tasks.

    Parameters
    ----------
    cell : sequence of float
        The worker's cell on the board.
    batch_id : int
        Number of the batch that it begins.

    Returns
    -------
    callable
        Takes how many tasks of the batch the worker would have begun then, gives how many it may.

    Examples
    --------
    >>> cell = [0.0, 7, 0, 0.0, 0, -1, 0]
    >>> claim = claimant(cell, 7)
    >>> claim(2), divide(cell, 7, size=10), claim(8)
    (2, 6, 6)
    """
    barrier = Lock()

    def claim(upto: int) -> int:
        cell[CLAIMED] = upto
        with barrier:
            pass
        return upto if cell[DIVIDED] != batch_id else min(upto, int(cell[KEPT]))

    return claim


def unclaimed(cell: Any, batch_id: int, size: int) -> int:
    """How many tasks of a batch its worker has not claimed; the batch may still be on its way to it."""
    return max(0, size - _claimed(cell, batch_id))


def divide(cell: Any, batch_id: int, size: int) -> int:
    """Take back half of what a worker has not claimed; gives how many tasks it will run at the most.

    Parameters
    ----------
    cell : sequence of float
        The worker's cell on the board.
    batch_id : int
        Number of the batch, the last one that was sent to the worker.
    size : int
        How many of its tasks were the worker's so far.
    """
    kept = size - (unclaimed(cell, batch_id, size) + 1) // 2
    return min(size, _keep(cell, batch_id, kept))


def cut(cell: Any, batch_id: int, position: int) -> bool:
    """Take back all tasks after the one that runs; False where the worker has gone on to another meanwhile.

    Parameters
    ----------
    cell : sequence of float
        The worker's cell on the board.
    batch_id : int
        Number of the batch that it runs.
    position : int
        Position of the task in it; the worker claims its tasks one by one.
    """
    upto = position + 1
    return _claimed(cell, batch_id) == upto and _keep(cell, batch_id, upto) == upto


def _keep(cell: Any, batch_id: int, kept: int) -> int:
    """Leave a worker the first so many tasks of its batch; gives how many it will run at the most."""
    cell[KEPT] = kept
    barrier = Lock()
    with barrier:  # how many are kept is known before of which batch
        cell[DIVIDED] = batch_id
    sleep(_SETTLED)
    return max(kept, _claimed(cell, batch_id))


def _claimed(cell: Any, batch_id: int) -> int:
    return int(cell[CLAIMED]) if cell[BATCH] == batch_id else 0
