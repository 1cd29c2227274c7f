"""The dispatcher: which task goes where next, and what may leave, decided without threads or clocks.

A state machine. Events come in as method calls, actions go out as return values; whoever drives it performs
the actions and reports what came of them::

    pulled, pull_failed ──┐                     ┌──▶ Pull      take so many tasks from the source
    done, refused ────────┤                     ├──▶ Submit    give a batch to the session
    overdue, tick ────────┼──▶  Dispatcher  ────┼──▶ Kill      stop the worker of a batch
    taken, resized ───────┤                     ├──▶ Divide    give half of a batch to an idle worker
    divided, stalled ─────┤                     ├──▶ Deliver   results for the consumer, in order
    failed, closed ───────┘                     └──▶ Abort, Finish

The promise, held by property tests: every task that was pulled is delivered exactly once, or the call ends
with one `Finish` that carries an error. Nothing is delivered after `Finish`.

All states and all transitions are in `core/states.py`; there is no other lifecycle flag.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from parallelcfg.core.actions import Abort, Deliver, Divide, Fault, Finish, Kill, Pull, Submit
from parallelcfg.core.books import Books, Flight, Slot
from parallelcfg.core.ordering import AsFinished, InOrder
from parallelcfg.core.outcome import Lost
from parallelcfg.core.states import Event, State, after
from parallelcfg.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parallelcfg.core.actions import Action, Limits
    from parallelcfg.core.batching import Batcher
    from parallelcfg.core.ordering import Release
    from parallelcfg.core.outcome import Failure, Reply
    from parallelcfg.core.tasks import Batch

__all__ = ["Dispatcher"]


class Dispatcher:
    """Decides; see the module's docstring for the events and actions.

    Parameters
    ----------
    batcher : Batcher
        Chooses batch sizes.
    limits : Limits
        What bounds the call.
    ordered : bool
        Deliver in the order of the tasks, or as they finish.
    total : int or None
        Number of tasks, where known.
    divides : bool
        Whether the session can take back what a worker has not begun.
    ids : iterator of int, optional
        Numbers for batches; by default they count from 0.
    """

    __slots__ = (
        "_batcher",
        "_books",
        "_divides",
        "_dividing",
        "_flights",
        "_ids",
        "_limits",
        "_pulled",
        "_pulling",
        "_release",
        "_sequence",
        "_total",
        "_unread",
        "counts",
        "state",
    )

    def __init__(
        self,
        batcher: Batcher,
        limits: Limits,
        *,
        ordered: bool,
        total: int | None = None,
        divides: bool = False,
        ids: Iterator[int] | None = None,
    ) -> None:
        self.state = State.OPEN
        self._books = Books(limits.retries, keep_going=limits.keep_going)
        self.counts = self._books.counts
        self._batcher = batcher
        self._limits = limits
        self._release: Release[Slot] = InOrder() if ordered else AsFinished()
        self._total = total
        self._flights: dict[int, Flight] = {}
        self._ids = count() if ids is None else ids
        self._sequence = 0
        self._pulled = 0
        self._pulling = False
        self._divides = divides
        self._dividing = False
        self._unread = 0

    @property
    def pulled_count(self) -> int:
        """How many tasks were taken from the source."""
        return self._pulled

    @property
    def out(self) -> list[int]:
        """The batches that are out."""
        return list(self._flights)

    # Events. Each returns the actions that follow from it.

    def start(self) -> list[Action]:
        """The session is open: begin."""
        return self._fill()

    def pulled(self, batch: Batch | None, *, exhausted: bool) -> list[Action]:
        """The source gave these tasks, in answer to a `Pull`; None for no task at all."""
        self._pulling = False
        if self.state is not State.OPEN:
            return []
        actions: list[Action] = []
        size = 0 if batch is None else len(batch)
        self._pulled += size
        if exhausted:
            self._move(Event.EXHAUSTED)
        if batch is not None:
            slot = Slot(self._sequence, batch.indices[0], size)
            self._sequence += 1
            actions.append(self._submit(Flight(slot, range(size), batch)))
        return actions + self._fill() + self._drained()

    def pull_failed(self, error: BaseException) -> list[Action]:
        """The source raised."""
        self._pulling = False
        return self._fail(error)

    def done(self, batch_id: int, outcome: Reply | Lost) -> list[Action]:
        """The session reports the end of a batch. Reports of batches that are not out are ignored."""
        flight = self._flights.pop(batch_id, None)
        if flight is None or not self.state.live:
            return []
        if isinstance(outcome, Lost):
            faults = self._books.lost(flight, outcome)
        else:
            faults = self._books.replied(flight, outcome)
        return self._settle(flight.slot, faults)

    def refused(self, batch_id: int, failures: Sequence[Failure]) -> list[Action]:
        """Some tasks of a batch could not be packed; the others are sent without them."""
        flight = self._flights.pop(batch_id, None)
        if flight is None or not self.state.live:
            return []
        return self._settle(flight.slot, self._books.refused(flight, failures))

    def divided(self, batch_id: int | None, kept: int) -> list[Action]:
        """In answer to a `Divide`: a worker keeps so many tasks of this batch; None where all keep theirs."""
        self._dividing = False
        flight = None if batch_id is None else self._flights.get(batch_id)
        if flight is None or not self.state.live:
            return []
        self._books.divided(flight, kept)
        return self._fill()

    def stalled(self) -> list[Action]:
        """Nothing was reported for a while: what runs is longer than what was measured."""
        return [] if self._batcher.divisible is None else [*self._divide(1)]

    def overdue(self, batch_id: int, position: int, error: BaseException, *, killable: bool) -> list[Action]:
        """A running task has exceeded its timeout; `error` says so."""
        flight = self._flights.get(batch_id)
        if flight is None or flight.overdue is not None or not self.state.live:
            return []
        if killable:
            flight.overdue = position, error
            return [Kill(batch_id)]
        return self.done(batch_id, Lost(error, suspect=position))

    def tick(self, now: float, limit: str = "its deadline") -> list[Action]:
        """Time has passed; `limit` says what the deadline is."""
        deadline = self._limits.deadline
        if deadline is None or now < deadline or not self.state.live:
            return []
        known = "" if self._total is None else f" of {self._total}"
        done = f"{self.counts.done}{known} tasks were done"
        return self._fail(DeadlineExceeded(f"the call did not end within {limit}; {done}"))

    def taken(self, count: int) -> list[Action]:
        """The consumer has taken so many results."""
        self._unread -= count
        return self._fill() if self._limits.unread is not None else []

    def resized(self, workers: int, in_flight: int | None) -> list[Action]:
        """The session has another number of workers now."""
        self._batcher.workers = workers
        self._limits = self._limits._replace(in_flight=in_flight)
        return self._fill()

    def failed(self, error: BaseException) -> list[Action]:
        """Something outside the tasks went wrong (an interrupt, a session that can't be used)."""
        return self._fail(error)

    def closed(self) -> list[Action]:
        """The consumer wants no more."""
        if not self.state.live:
            return []
        self._move(Event.LEFT)
        self._forget()
        return [Abort(), Finish()]

    # What follows from them.

    def _move(self, event: Event) -> None:
        self.state = after(self.state, event)

    def _fail(self, error: Fault | BaseException) -> list[Action]:
        if not self.state.live:
            return []
        self._move(Event.FAULT)
        self._forget()
        return [Abort(), Finish(error)]

    def _forget(self) -> None:
        self._flights.clear()
        self._books.again.clear()

    def _submit(self, flight: Flight) -> Submit:
        batch_id = next(self._ids)
        self._flights[batch_id] = flight
        return Submit(batch_id, flight.batch)

    def _room(self) -> bool:
        """Whether one more batch may be out; what is being pulled will be."""
        return self._limits.in_flight is None or len(self._flights) + self._pulling < self._limits.in_flight

    def _fill(self) -> list[Action]:
        actions: list[Action] = []
        while self._books.again and self._room():
            actions.append(self._submit(self._books.next(self._size_again())))
        throttled = self._limits.unread is not None and self._unread >= self._limits.unread
        if self.state is State.OPEN and not self._pulling and not throttled and self._room():
            self._pulling = True
            remaining = None if self._total is None else max(0, self._total - self._pulled)
            waiting = self._pulled - self.counts.done if self._limits.in_flight is None else 0
            actions.append(Pull(self._batcher.size(remaining, waiting)))
        else:
            actions += self._divide(self._batcher.divisible)
        return actions

    def _size_again(self) -> int | None:
        """How many tasks of a batch that came back unfinished go together now; None for all of them."""
        if self._divides or self._batcher.divisible is None or len(self._books.again[0].batch) == 1:
            return None
        waiting = sum(len(flight.batch) for flight in self._books.again)
        if self.state is State.DRAINING:
            return self._batcher.size(waiting)
        return self._batcher.size(None if self._total is None else self._total - self._pulled + waiting)

    def _divide(self, least: int | None) -> list[Divide]:
        """With nothing left to send, a worker without a batch can have a part of another's."""
        if self.state is not State.DRAINING or not self._divides or least is None or self._dividing:
            return []
        if self._books.again or len(self._flights) >= self._batcher.workers:
            return []
        sizes = {number: size for number, f in self._flights.items() if (size := len(f.batch)) > least}
        self._dividing = bool(sizes)
        return [Divide(sizes, least)] if sizes else []

    def _settle(self, slot: Slot, faults: list[tuple[int, Fault]]) -> list[Action]:
        """After an outcome: fail, deliver what is complete, and go on."""
        if faults:
            self.counts.done += len(faults)
            self.counts.failed += len(faults)
            fatal = [f for _, f in faults if f.failure is not None and f.failure.fatal]
            if fatal or not self._limits.keep_going:
                return self._fail(fatal[0] if fatal else faults[0][1])
            slot.missing -= len(faults)
        actions: list[Action] = []
        if slot.missing == 0:
            self._unread += slot.size  # what waits for a slow batch before it is memory too
            ready = self._release.put(slot.sequence, slot)
            actions += [Deliver(slot.size, tuple(slot.parts), slot.first) for slot in ready]
        return actions + self._fill() + self._drained()

    def _drained(self) -> list[Action]:
        if self.state is not State.DRAINING or self._flights or self._books.again or len(self._release):
            return []
        self._move(Event.DRAINED)
        return [Finish()]
