"""What becomes of batches that were out: results and faults into their places, the rest to be sent again.

A batch that was pulled is delivered whole, but travels in as many pieces as retries, losses and divisions
make of it. The dispatcher decides when what is sent; here is kept what has come back.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from parallelcfg.core.actions import Counts, Fault, Part
from parallelcfg.errors import WorkerLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parallelcfg.core.outcome import Failure, Lost, Reply
    from parallelcfg.core.tasks import Batch

__all__ = ["Books", "Flight", "Slot"]

#: How often tasks that nobody is to blame for are sent again before their loss counts as theirs.
_FREE_LOSSES = 16


class Slot:
    """A pulled batch on its way to delivery, in as many parts as retries make of it."""

    __slots__ = ("first", "missing", "parts", "sequence", "size")

    def __init__(self, sequence: int, first: int, size: int) -> None:
        self.sequence, self.first, self.size = sequence, first, size
        self.missing = size
        self.parts: list[Part] = []


class Flight:
    """A batch that is out, or waits to be sent again."""

    __slots__ = ("batch", "losses", "overdue", "positions", "slot")

    def __init__(self, slot: Slot, positions: Sequence[int], batch: Batch, losses: int = 0) -> None:
        self.slot, self.positions, self.batch, self.losses = slot, positions, batch, losses
        self.overdue: tuple[int, BaseException] | None = None


class Books:
    """What has come back, and what has to be sent again.

    Parameters
    ----------
    retries : int
        How many attempts a task has besides its first.
    keep_going : bool
        Whether the call goes on after a fault.
    """

    __slots__ = ("_keep_going", "_retries", "again", "counts")

    def __init__(self, retries: int, *, keep_going: bool) -> None:
        self._retries = retries
        self._keep_going = keep_going
        self.counts = Counts()
        self.again: deque[Flight] = deque()

    def refused(self, flight: Flight, failures: Sequence[Failure]) -> list[tuple[int, Fault]]:
        """Book tasks that could not be packed; the others are sent without them."""
        bad = {failure.position for failure in failures}
        good = [p for p in range(len(flight.batch)) if p not in bad]
        self._requeue(flight, good, flight.batch.attempt, flight.losses)
        faults = [self._fault(flight, f.position, failure=f) for f in failures]
        flight.slot.parts.append(
            Part((), None, faults=tuple((flight.positions[p], fault) for p, fault in faults))
        )
        return faults

    def next(self, size: int | None) -> Flight:
        """The first batch that waits to be sent again, with no more than so many of its tasks."""
        flight = self.again.popleft()
        if size is not None and size < len(flight.batch):
            self.divided(flight, size)
            self.again.rotate(1)  # the others come next
        return flight

    def divided(self, flight: Flight, kept: int) -> None:
        """Book that a worker runs so many tasks of its batch; the others are sent to somebody else."""
        batch, positions = flight.batch, flight.positions
        self._requeue(flight, range(kept, len(batch)), batch.attempt, flight.losses)
        flight.batch, flight.positions = batch.subset(range(kept), batch.attempt), positions[:kept]

    def replied(self, flight: Flight, reply: Reply) -> list[tuple[int, Fault]]:
        """Book a reply: results and final faults into the slot, the rest to be sent again."""
        if not reply.failures and reply.ran == len(flight.batch):
            flight.slot.missing -= reply.ran
            self.counts.done += reply.ran
            flight.slot.parts.append(Part(flight.positions, reply.values, attempt=flight.batch.attempt))
            return []
        batch, holes = flight.batch, {failure.position for failure in reply.failures}
        last = batch.attempt > self._retries
        final = [f for f in reply.failures if last or f.fatal]
        if not last:
            self._requeue(flight, sorted(holes), batch.attempt + 1, flight.losses)
        if reply.ran < len(batch):
            self._requeue(flight, range(reply.ran, len(batch)), batch.attempt, flight.losses)
        faults = [self._fault(flight, f.position, failure=f) for f in final]
        flight.slot.missing -= reply.ran - len(holes)
        self.counts.done += reply.ran - len(holes)
        flight.slot.parts.append(
            Part(
                flight.positions[: reply.ran],
                reply.values,
                frozenset(holes),
                tuple((flight.positions[p], fault) for p, fault in faults),
                batch.attempt,
            )
        )
        return faults

    def lost(self, flight: Flight, lost: Lost) -> list[tuple[int, Fault]]:
        """Book a loss: blame the suspect, send the others again, one by one where nobody is sure."""
        batch = flight.batch
        everyone = range(len(batch))
        suspect, cause = (lost.suspect, lost.cause) if flight.overdue is None else flight.overdue
        if suspect is not None and suspect >= len(batch):  # it died after its last task, with all results
            suspect = None
        losses = flight.losses + 1
        if lost.innocent and flight.overdue is None and losses <= _FREE_LOSSES:
            self._requeue(flight, everyone, batch.attempt, losses)
            return []
        worth_it = self._keep_going or self._retries or not isinstance(cause, WorkerLost)
        if suspect is None and len(batch) > 1 and worth_it:
            for position in everyone:
                self._requeue(flight, [position], batch.attempt, losses)
            return []
        if isinstance(cause, WorkerLost):
            at_risk = everyone if suspect is None else [suspect]
            cause.tasks = tuple((batch.indices[p], batch.call_text(p)) for p in at_risk)
        blamed = 0 if suspect is None else suspect
        self._requeue(flight, [p for p in everyone if p != blamed], batch.attempt, losses)
        if batch.attempt <= self._retries:
            self._requeue(flight, [blamed], batch.attempt + 1, 0)
            return []
        position, fault = self._fault(flight, blamed, cause=cause)
        flight.slot.parts.append(Part((), None, faults=((flight.positions[blamed], fault),)))
        return [(position, fault)]

    def _requeue(self, flight: Flight, positions: Sequence[int], attempt: int, losses: int) -> None:
        if positions:
            if isinstance(positions, range):
                where = flight.positions[positions.start : positions.stop]
            else:
                where = [flight.positions[p] for p in positions]
            batch = flight.batch.subset(positions, attempt)
            self.counts.retried += len(positions) if attempt > flight.batch.attempt else 0
            self.again.append(Flight(flight.slot, where, batch, losses))

    def _fault(
        self,
        flight: Flight,
        position: int,
        *,
        failure: Failure | None = None,
        cause: BaseException | bytes | None = None,
    ) -> tuple[int, Fault]:
        batch = flight.batch
        call = batch.call_text(position)
        return position, Fault(batch.indices[position], call, batch.attempt, failure, cause)
