"""The loop in which tasks run, whoever runs it: a thread, a worker process, the caller.

It notes on the board which task runs, and since when; it returns a batch unfinished when the patience for it
is over, or when the rest was given to somebody else. Short tasks would take twice as long with that, so the
clock is looked at once for several of them, and nothing is noted where nobody is going to read it.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from parallelcfg.randomness import numbered
from parallelcfg.transport.board import POSITION, SINCE
from parallelcfg.transport.claims import claimant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from parallelcfg.core.tasks import Batch, Call
    from parallelcfg.orders import Orders
    from parallelcfg.transport.board import Board

    _Advance = Callable[[int], None]
    _Append = Callable[[Any], None]
    _Claim = Callable[[int], int]

__all__ = ["Results", "run"]

#: So many tasks at the most run between two looks at the clock, as long as the last ones took less than
#: `_SHORT` seconds. No more than this share of what is left: who runs out of work can have the rest.
_MANY = 32
_SHORT = 1e-4
_SHARE = 4


class Results(NamedTuple):
    """What came of a batch.

    Parameters
    ----------
    values : list
        What the tasks returned; None in the place of a failure.
    failures : list of (int, BaseException)
        What they raised, by position.
    started : float
        When the first one began, in seconds of the monotonic clock.
    seconds : float
        How long all of them took.
    """

    values: list[Any]
    failures: list[tuple[int, BaseException]]
    started: float
    seconds: float = 0.0


def run(
    board: Board,
    batch_id: int,
    batch: Batch,
    orders: Orders,
    patience: float | None,
    results: Results | None = None,
) -> Results:
    """Run tasks one after another; every exception becomes a value.

    Parameters
    ----------
    board : Board
        Where to note what runs.
    batch_id : int
        The batch's number.
    batch : Batch
        The tasks.
    orders : Orders
        Whether a failure ends the batch, and whether each task's own time counts.
    patience : float or None
        Seconds after which to return with the tasks that have been run by then.
    results : Results, optional
        Where to put what comes of the tasks, for others to see before the batch has ended.
    """
    if results is None:
        results = Results([], [], monotonic())
    append = results.values.append
    limit = float("inf") if patience is None else results.started + patience
    cell = board.begin(batch_id)
    claim = claimant(cell, batch_id)
    try:
        if orders.stream is not None:
            with numbered(batch, orders.stream) as calls:
                advance = partial(_general, enumerate(calls), append, cell)
                _run_all(advance, results, len(batch), orders, cell, claim, limit)
        else:
            if not batch.simple:
                advance = partial(_general, enumerate(batch.calls()), append, cell)
            elif board.outlives or orders.timed:
                advance = partial(_simple, batch.functions[0], enumerate(batch.arguments[0]), append, cell)
            else:
                advance = partial(_unnoted, batch.functions[0], iter(batch.arguments[0]), append, len(batch))
            _run_all(advance, results, len(batch), orders, cell, claim, limit)
    finally:
        board.end(batch_id)
    return results._replace(seconds=monotonic() - results.started)


# Arguments, no closures: an exception keeps these frames, whose variables can be emptied: `failures.let_go`.


def _simple(function: Any, arguments: Iterator[Any], append: _Append, cell: Any, count: int) -> None:
    """Run the next so many tasks of a batch of one function and one argument for each task."""
    position = POSITION
    for cell[position], argument in islice(arguments, count):
        append(function(argument))


def _unnoted(function: Any, arguments: Iterator[Any], append: _Append, size: int, count: int) -> None:
    """The same where nobody asks which task runs."""
    for argument in arguments if count >= size else islice(arguments, count):
        append(function(argument))


def _general(calls: Iterator[tuple[int, Call]], append: _Append, cell: Any, count: int) -> None:
    """Run the next so many of any tasks."""
    position = POSITION
    for cell[position], (function, args, kwargs) in islice(calls, count):
        append(function(*args, **kwargs))


def _run_all(
    advance: _Advance, results: Results, size: int, orders: Orders, cell: Any, claim: _Claim, limit: float
) -> None:
    """Run tasks as long as they are this worker's and patience lasts."""
    values, failures = results.values, results.failures
    each = orders.timed
    began, count = monotonic(), 1 if each or limit < float("inf") else size
    while True:
        begun = len(values)
        wanted = min(size, begun + count)
        granted = max(begun, claim(wanted))
        if granted < wanted:
            size = granted
        try:
            advance(granted - begun)
        except BaseException as error:
            failures.append((len(values), error))
            values.append(None)
            cell[SINCE] = monotonic()  # before it seems to be the next one that runs
            cell[POSITION] = len(values)
            if orders.stop or (orders.in_caller and not isinstance(error, Exception)):
                return
        now = monotonic()
        if len(values) == size or now > limit:
            return
        cell[SINCE] = now
        count = 1 if each or now - began > _SHORT else min(_MANY, (size - len(values)) // _SHARE or 1)
        began = now
