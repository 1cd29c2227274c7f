"""What the workers of a call are told, once for all of its batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from parallelcfg.config.snapshot import Scope
    from parallelcfg.randomness import Root
    from parallelcfg.transport.habits import Habits

__all__ = ["Orders"]


class Orders(NamedTuple):
    """What all batches of one call have in common, as their workers need it.

    Parameters
    ----------
    scope : Scope
        What nested calls start from.
    budgets : tuple of int
        CPUs of each worker, by its ordinal.
    threads : int or None
        Limit on the inner threads of each task, where it is set; None: the worker's CPU budget.
    stop : bool
        Whether a failure ends its batch.
    timed : bool
        Whether each task's own time counts: its start is then noted to the microsecond.
    in_caller : bool
        Tasks run in the thread that called: interrupts are the caller's own.
    stream : tuple or None
        Where the tasks' own random streams start, if they have any.
    setup : tuple of callable
        What a worker process calls before it first obeys these orders.
    habits : Habits or None
        What a worker process takes over from its parent.
    """

    scope: Scope
    budgets: tuple[int, ...] = (1,)
    threads: int | None = None
    stop: bool = True
    timed: bool = False
    in_caller: bool = False
    stream: Root | None = None
    setup: tuple[Callable[[], object], ...] = ()
    habits: Habits | None = None
