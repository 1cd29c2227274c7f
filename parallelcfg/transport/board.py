"""The board: which task every worker is running, and since when, readable by the parent at any time.

Workers write a few numbers into shared memory; nobody sends a message and no timer runs. From it the parent
takes timeouts (counted from a task's start on its worker), the culprit of a worker's death, and each worker's
ordinal, which decides its share of the CPUs.

A worker's *cell* has a few numbers, all of them floats, so that the worker's loop can store them by plain
item assignment, at the price of some ten nanoseconds::

    PID      process number (thread number in the caller's process)
    BATCH    number of the present or last batch; IDLE before the first
    POSITION of the running task in its batch; RETURNING when all have been run
    SINCE    when it began, in seconds of the monotonic clock
    CLAIMED  how many tasks of the batch are begun, or about to be
    DIVIDED  number of the batch that was last divided, by the parent
    KEPT     how many of its tasks stay with the worker: see `claims`
"""

from __future__ import annotations

import os
import sys
from threading import get_ident, local
from time import monotonic
from typing import Any, NamedTuple, Protocol

__all__ = ["POSITION", "SINCE", "Board", "LocalBoard", "Running", "Seat", "SharedBoard"]

PID, BATCH, POSITION, SINCE, CLAIMED, DIVIDED, KEPT = _NUMBERS = range(7)
_IDLE = -1.0
_RETURNING = -1.0
_CELL = len(_NUMBERS)


class Running(NamedTuple):
    """A task that is being run now.

    Parameters
    ----------
    worker : int
        Process number, or thread number of a worker in the caller's process.
    position : int
        Position of the task in its batch.
    since : float
        When it began, in seconds of the monotonic clock.
    """

    worker: int
    position: int
    since: float


class Board(Protocol):
    """What a worker writes to, and the parent reads."""

    @property
    def outlives(self) -> bool:
        """Whether it tells what a worker was doing when it died."""

    @property
    def ordinal(self) -> int | None:
        """Number of the calling worker among its fellows, from 0; None where it has none."""

    def begin(self, batch_id: int) -> Any:
        """The calling worker begins a batch with its first task; gives the cell to note the next ones in."""

    def end(self, batch_id: int) -> None:
        """The calling worker has run its batch."""


class LocalBoard:
    """A board for the threads of one process."""

    outlives = False

    def __init__(self) -> None:
        self._cells: dict[int, list[float]] = {}
        self._own = local()

    @property
    def ordinal(self) -> int | None:
        """Number of the calling thread among its fellows; None for one that is no worker."""
        return getattr(self._own, "ordinal", None)

    def take_seat(self, ordinal: int) -> list[float]:
        """The calling thread is a worker from now on, with this number among its fellows; gives its cell."""
        self._own.ordinal = ordinal
        self._own.cell = _vacant()
        return self._own.cell  # type: ignore[no-any-return]

    def begin(self, batch_id: int) -> list[float]:
        """The calling worker begins a batch with its first task; gives the cell to note the next ones in."""
        cell: list[float] | None = getattr(self._own, "cell", None)
        if cell is None or cell[POSITION] != _RETURNING:  # no worker, or one whose task runs tasks in turn
            cell = _vacant()
        cell[PID], cell[POSITION], cell[SINCE], cell[CLAIMED] = get_ident(), 0, monotonic(), 0
        cell[BATCH] = batch_id
        self._cells[batch_id] = cell
        return cell

    def end(self, batch_id: int) -> None:
        """The calling worker has run its batch."""
        cell = self._cells.pop(batch_id, None)
        if cell is not None:
            cell[POSITION] = _RETURNING

    def running(self) -> dict[int, Running]:
        """What runs now, by batch."""
        return {batch: _read(cell) for batch, cell in self._cells.copy().items()}


def _vacant() -> list[float]:
    """A cell of a worker that has done nothing yet."""
    cell = [0.0] * _CELL
    cell[BATCH] = cell[DIVIDED] = _IDLE
    cell[POSITION] = _RETURNING
    return cell


class SharedBoard:
    """A board in memory that a parent shares with the processes it spawns, one cell for each.

    The memory is anonymous to everybody else (an unlinked file on POSIX), so nothing is left behind when
    processes are killed. The parent says who writes where, so there is no lock.

    Parameters
    ----------
    workers : int
        How many processes will write at the same time.
    """

    def __init__(self, workers: int) -> None:
        from multiprocessing.heap import Arena

        memory = Arena(workers * _CELL * 8)
        self._seats = [Seat(memory, ordinal) for ordinal in range(workers)]
        for seat in self._seats:
            seat.clear()
            seat.cell[DIVIDED] = _IDLE

    def seat(self, ordinal: int) -> Seat:
        """The cell of the worker with this number, to be sent to it."""
        return self._seats[ordinal]

    def running(self) -> dict[int, Running]:
        """What runs now, by batch."""
        cells = [seat.cell for seat in self._seats]
        busy = [cell for cell in cells if cell[BATCH] != _IDLE and cell[POSITION] != _RETURNING]
        return {int(cell[BATCH]): _read(cell) for cell in busy}


class Seat:
    """One worker's cell of a `SharedBoard`: the worker writes, the parent reads.

    Parameters
    ----------
    memory : multiprocessing.heap.Arena
        The board's.
    ordinal : int
        Number of the worker among its fellows, from 0.
    """

    outlives = True

    def __init__(self, memory: Any, ordinal: int) -> None:
        self.ordinal = ordinal
        self._memory = memory
        self.cell: Any = memoryview(memory.buffer).cast("d")[_CELL * ordinal : _CELL * (ordinal + 1)]

    def __reduce__(self) -> tuple[Any, ...]:
        import multiprocessing.heap as memory

        if sys.platform == "win32":  # there, the memory has a name
            return Seat, (self._memory, self.ordinal)
        # loky's pickler does not know how the standard library sends its shared memory to a child.
        rebuild, args = memory.reduce_arena(self._memory)
        return _take, (rebuild, args, self.ordinal)

    def clear(self) -> None:
        """Note that a new worker takes this seat, and has done nothing yet."""
        self.cell[BATCH] = _IDLE  # not DIVIDED: it may be about the batch that this worker will begin with

    def claim(self) -> None:
        """Note the calling process as the worker."""
        self.cell[PID] = os.getpid()

    def begin(self, batch_id: int) -> Any:
        """The worker begins a batch with its first task; gives the cell to note the next ones in."""
        self.cell[POSITION], self.cell[SINCE], self.cell[CLAIMED] = 0, monotonic(), 0
        self.cell[BATCH] = batch_id  # last: whoever reads it finds the others right
        return self.cell

    def end(self, batch_id: int) -> None:  # noqa: ARG002 - the protocol's signature
        """The worker has run its batch, and goes on to send the results."""
        self.cell[POSITION] = _RETURNING

    def last(self) -> tuple[int, int | None] | None:
        """The present or last batch and the task in it that runs; None where there was none yet."""
        if self.cell[BATCH] == _IDLE:
            return None
        running = self.cell[POSITION] != _RETURNING
        return int(self.cell[BATCH]), int(self.cell[POSITION]) if running else None


def _take(rebuild: Any, args: tuple[Any, ...], ordinal: int) -> Seat:
    return Seat(rebuild(*args), ordinal)


def _read(cell: Any) -> Running:
    return Running(int(cell[PID]), int(cell[POSITION]), cell[SINCE])
