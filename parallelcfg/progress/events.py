"""`ProgressEvent`, and the protocol of whoever shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Display", "ProgressEvent", "Several", "Told"]


class ProgressEvent(NamedTuple):
    """How far a call is: what a function given as ``progress`` is called with.

    It is called in the thread that runs the call, at the start and whenever a batch has ended. What it raises
    ends the call.

    Parameters
    ----------
    done : int
        Tasks that are through, with a result or without.
    failed : int
        Those without one, after all their attempts.
    retried : int
        How often a task was sent again because it failed.
    total : int or None
        Number of all tasks; None as long as it is not known.
    elapsed : float
        Seconds since the call began.
    workers : int
        Jobs at the same time.

    Examples
    --------
    >>> from parallelcfg import Parallel, delayed
    >>> events = []
    >>> Parallel(progress=events.append)(delayed(abs)(x) for x in (-1, 2))
    [1, 2]
    >>> events[-1].done, events[-1].total
    (2, 2)
    """

    done: int
    failed: int
    retried: int
    total: int | None
    elapsed: float
    workers: int


class Display(Protocol):
    """Shows how far a call is. All calls come from the thread that runs the call.

    Parameters
    ----------
    pace : float
        Seconds between two looks, the first after as many, also where nothing has ended meanwhile; 0 for a
        look at the start and after every batch.
    """

    pace: float

    def begin(self, total: int | None) -> None:
        """The call begins, with so many tasks; nothing need be shown yet."""

    def show(self, event: ProgressEvent) -> None:
        """So far is the call."""

    def stop(self, event: ProgressEvent) -> None:
        """The call is over, one way or another."""


class Told:
    """Tells a function of the user's.

    Parameters
    ----------
    function : callable
        Takes a `ProgressEvent`.
    """

    pace = 0.0

    def __init__(self, function: Callable[[ProgressEvent], object]) -> None:
        self._function = function

    def begin(self, total: int | None) -> None:
        """The first event will come soon enough."""

    def show(self, event: ProgressEvent) -> None:
        """So far is the call."""
        __tracebackhide__ = True
        self._function(event)

    def stop(self, event: ProgressEvent) -> None:
        """It has been told everything."""


class Several:
    """Several displays as one.

    Parameters
    ----------
    displays : sequence of Display
        In the order in which they are served.
    """

    def __init__(self, displays: tuple[Display, ...]) -> None:
        self._displays = displays
        self.pace = min(display.pace for display in displays)

    def begin(self, total: int | None) -> None:
        """The call begins."""
        for display in self._displays:
            display.begin(total)

    def show(self, event: ProgressEvent) -> None:
        """So far is the call."""
        __tracebackhide__ = True
        for display in self._displays:
            display.show(event)

    def stop(self, event: ProgressEvent) -> None:
        """The call is over, one way or another."""
        for display in self._displays:
            display.stop(event)
