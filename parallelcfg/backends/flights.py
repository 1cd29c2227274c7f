"""What sessions on clusters have in common: batches that are out, and batches that wait for a slot.

A cluster may have more slots than the call may use. Then no more batches are handed over than jobs are
allowed, and the others wait here. Else all go at once: the cluster queues better than its client.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parallelcfg.config.policy import clamp
from parallelcfg.core.outcome import Lost, ended
from parallelcfg.errors import WorkerLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from parallelcfg.backends.base import Done, Work
    from parallelcfg.config.snapshot import Config
    from parallelcfg.core.outcome import Reply
    from parallelcfg.transport.board import Running

__all__ = ["Flights", "lost"]


@dataclass(slots=True)
class _Flight:
    args: tuple[Any, ...]
    done: Done
    future: Any = None


class Flights(ABC):
    """A `ClusterSession` whose heirs know one cluster.

    Parameters
    ----------
    config : Config
        Its ``n_jobs`` and ``max_jobs`` bound what is out at the same time.
    slots : int
        How many batches the cluster can run at the same time.
    chosen : sequence of object
        What is stored whatever its size.
    """

    def __init__(self, config: Config, slots: int, chosen: Sequence[object]) -> None:
        self.chosen = chosen
        self._config = config
        self._slots = slots
        self._lock = threading.Lock()
        self._flights: dict[int, _Flight] = {}
        self._waiting: deque[int] = deque()
        self._over = self._closed = False
        self._gone: Lost | None = None
        self._resized: Callable[[], None] = lambda: None

    @property
    def workers(self) -> int:
        """How many batches can run at the same time."""
        return clamp(self._config.n_jobs, self._slots, self._config.max_jobs)[0]

    @property
    def over(self) -> bool:
        """Whether the session was aborted or closed."""
        return self._over

    def watch(self, resized: Callable[[], None]) -> None:
        """Call ``resized`` whenever `workers` has changed."""
        self._resized = resized

    @abstractmethod
    def put(self, value: object) -> Any:
        """Store a value on the cluster."""

    def submit(self, batch_id: int, work: Work, done: Done) -> None:
        """Run ``work`` on a worker and report to ``done``."""
        try:
            flight = _Flight(self._pack(work), done)
        except Exception as error:
            done(batch_id, self._explain(error))
            return
        with self._lock:
            over = self._over
            if not over:
                self._flights[batch_id] = flight
                self._waiting.append(batch_id)
        if over:
            done(batch_id, self._gone or Lost(ended()))
        else:
            self._send()

    def running(self) -> dict[int, Running]:
        """Nobody tells: see `Traits.times_tasks`."""
        return {}

    def kill(self, batch_id: int) -> None:
        """Stop the batch where the cluster can: see `Traits.can_kill_running`."""
        flight = self._flights.get(batch_id)
        if flight is not None and flight.future is not None:
            self._cancel([flight.future])

    def abort(self) -> None:
        """Drop queued work, and stop running work where the cluster can; nobody waits for it."""
        flights = self._take_all()
        futures = [flight.future for flight in flights.values() if flight.future is not None]
        if futures:
            self._cancel(futures)
        for batch_id, flight in flights.items():
            flight.done(batch_id, Lost(WorkerLost("the call was aborted"), innocent=True))

    def close(self) -> None:
        """Give the cluster back."""
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self.abort()
            self._leave()

    # What heirs do.

    @abstractmethod
    def _pack(self, work: Work) -> tuple[Any, ...]:
        """Work as arguments for the cluster. In the thread that submits; may wait."""

    @abstractmethod
    def _start(self, batch_id: int, args: tuple[Any, ...]) -> Any:
        """Hand a batch over; its future. Must not wait."""

    @abstractmethod
    def _follow(self, batch_id: int, future: Any) -> None:
        """See to it that `_settle` is called when the batch has ended."""

    @abstractmethod
    def _cancel(self, futures: list[Any]) -> None:
        """Drop batches, and stop those that run where possible. Must not wait."""

    @abstractmethod
    def _explain(self, error: BaseException) -> Lost:
        """The loss that an error of the cluster means."""

    @abstractmethod
    def _leave(self) -> None:
        """Give the cluster back. Called once."""

    # What heirs call.

    def _settle(self, batch_id: int, outcome: Reply | Lost) -> None:
        """A batch has ended; the second time, and after an abort, nothing happens."""
        with self._lock:
            flight = self._flights.pop(batch_id, None)
        if flight is not None:
            flight.done(batch_id, outcome)
            self._send()

    def _lose(self, outcome: Lost) -> None:
        """The cluster is gone, and with it whatever was out, waited or is yet to come."""
        if not self._over:
            self._gone = outcome
        for batch_id, flight in self._take_all().items():
            flight.done(batch_id, outcome)

    def _resize(self, slots: int) -> None:
        """The cluster has so many slots now."""
        if slots != self._slots:
            self._slots = slots
            self._send()
            self._resized()

    def _take_all(self) -> dict[int, _Flight]:
        with self._lock:
            self._over = True
            flights, self._flights = self._flights, {}
            self._waiting.clear()
        return flights

    def _send(self) -> None:
        while (batch_id := self._next()) is not None:
            flight = self._flights.get(batch_id)
            if flight is None:
                continue  # aborted a moment ago
            try:
                self._hand_over(batch_id, flight)
            except Exception as error:
                self._settle(batch_id, self._explain(error))

    def _hand_over(self, batch_id: int, flight: _Flight) -> None:
        future = self._start(batch_id, flight.args)
        with self._lock:
            flight.future = future
            wanted = batch_id in self._flights
        if wanted:
            self._follow(batch_id, future)
        else:
            self._cancel([future])

    def _next(self) -> int | None:
        with self._lock:
            out = len(self._flights) - len(self._waiting)
            if not self._waiting or self.workers < min(self._slots, out + 1):
                return None
            return self._waiting.popleft()


def lost(message: str, cause: BaseException | None = None) -> Lost:
    """The loss of a batch, with the first line of a message."""
    error = WorkerLost(message.split("\n", 1)[0])
    error.__cause__ = cause
    return Lost(error)
