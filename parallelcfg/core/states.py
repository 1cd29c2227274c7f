"""Where a call can stand, and what moves it: the only lifecycle flag there is."""

from __future__ import annotations

from enum import Enum

__all__ = ["Event", "State", "after"]


class State(Enum):
    """Where a call stands."""

    OPEN = "the source may have more tasks"
    DRAINING = "the source is exhausted, tasks are still out"
    FINISHED = "every task was delivered"
    FAILED = "an error ended the call"
    CLOSED = "the consumer left"

    @property
    def live(self) -> bool:
        """Whether tasks can still be submitted and delivered."""
        return self in (State.OPEN, State.DRAINING)


class Event(Enum):
    """What moves a call from one state to another."""

    EXHAUSTED = "the source has no more tasks"
    DRAINED = "no task is out"
    FAULT = "an error that ends the call"
    LEFT = "the consumer wants no more"


_TRANSITIONS = {
    (State.OPEN, Event.EXHAUSTED): State.DRAINING,
    (State.OPEN, Event.FAULT): State.FAILED,
    (State.OPEN, Event.LEFT): State.CLOSED,
    (State.DRAINING, Event.DRAINED): State.FINISHED,
    (State.DRAINING, Event.FAULT): State.FAILED,
    (State.DRAINING, Event.LEFT): State.CLOSED,
}


def after(state: State, event: Event) -> State:
    """The state that an event leads to.

    Raises
    ------
    KeyError
        If the event can't happen in this state.

    Examples
    --------
    >>> after(State.OPEN, Event.EXHAUSTED)
    <State.DRAINING: 'the source is exhausted, tasks are still out'>
    """
    return _TRANSITIONS[state, event]
