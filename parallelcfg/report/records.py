"""What is written down while a call runs: batches by worker, at bounded size, and totals that stay exact."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BatchRecord", "History", "Traffic", "WorkerSummary"]


class BatchRecord(NamedTuple):
    """One batch as its worker ran it, or several neighbours of a long call taken together.

    Parameters
    ----------
    worker : str
        Who ran it: a process number, thread name or address.
    started, ended : float
        From when to when, in seconds of the caller's monotonic clock.
    seconds : float
        Time inside its tasks.
    tasks : int
        How many tasks were run.
    failed : int
        How many of them raised.
    first : int
        Index of its first task.
    peak_rss : int
        Peak resident memory of its worker so far in bytes; 0 where unknown or shared with the caller.
    batches : int
        How many batches this stands for.
    """

    worker: str
    started: float
    ended: float
    seconds: float
    tasks: int
    failed: int = 0
    first: int = 0
    peak_rss: int = 0
    batches: int = 1

    def joined(self, later: BatchRecord) -> BatchRecord:
        """One record of two batches of the same worker: the other one is later.

        Examples
        --------
        >>> both = BatchRecord("w", 0.0, 1.0, 1.0, 3).joined(BatchRecord("w", 1.5, 2.0, 0.5, 4, failed=1))
        >>> both.started, both.ended, both.seconds, both.tasks, both.failed, both.batches
        (0.0, 2.0, 1.5, 7, 1, 2)
        """
        return BatchRecord(
            self.worker,
            self.started,
            later.ended,
            self.seconds + later.seconds,
            self.tasks + later.tasks,
            self.failed + later.failed,
            self.first,
            max(self.peak_rss, later.peak_rss),
            self.batches + later.batches,
        )


@dataclass(slots=True)
class WorkerSummary:
    """What one worker did in a call.

    Parameters
    ----------
    name : str
        A process number, thread name or address.
    batches, tasks, failed : int
        How many batches and tasks it ran, and how many of these raised.
    busy_seconds : float
        Time inside tasks.
    first, last : float
        When its first batch began and its last one ended, in seconds of the caller's monotonic clock.
    peak_rss : int
        Peak resident memory of its process in bytes; 0 where unknown, or where it lives in the caller's.
    """

    name: str
    batches: int = 0
    tasks: int = 0
    failed: int = 0
    busy_seconds: float = 0.0
    first: float = float("inf")
    last: float = float("-inf")
    peak_rss: int = 0

    @property
    def wall_seconds(self) -> float:
        """From the start of its first batch to the end of its last one."""
        return max(0.0, self.last - self.first)

    def add(self, batch: BatchRecord) -> None:
        """Book a batch."""
        self.batches += batch.batches
        self.tasks += batch.tasks
        self.failed += batch.failed
        self.busy_seconds += batch.seconds
        self.first = min(self.first, batch.started)
        self.last = max(self.last, batch.ended)
        self.peak_rss = max(self.peak_rss, batch.peak_rss)


@dataclass(slots=True)
class Traffic:
    """Bytes between the caller and its workers.

    Parameters
    ----------
    pickled : int
        Bytes that went into pickles, in both directions.
    shared : int
        Bytes of arguments that were shared in memory instead.
    """

    pickled: int = 0
    shared: int = 0


@dataclass(slots=True)
class History:
    """The batches of a call, by worker.

    A call that runs for days must not fill the memory with its own history: at ``limit`` records, each
    worker's neighbours are joined in pairs, which halves the resolution and keeps every sum.

    Parameters
    ----------
    limit : int
        How many records to keep at most.
    """

    limit: int = 10_000
    lanes: dict[str, list[BatchRecord]] = field(default_factory=dict)
    kept: int = 0
    _extremes: tuple[int, ...] = ()

    def add(self, batch: BatchRecord) -> None:
        """Write down a batch that has ended."""
        lane = self.lanes.get(batch.worker)
        if lane is None:
            lane = self.lanes[batch.worker] = []
        lane.append(batch)
        self.kept += 1
        if self.kept > self.limit:
            self._halve()

    def __iter__(self) -> Iterator[BatchRecord]:
        for lane in list(self.lanes.values()):
            yield from list(lane)

    @property
    def sizes(self) -> tuple[int, int]:
        """The fewest and the most tasks in one batch; 0 and 0 before the first."""
        seen = [*self._extremes, *(batch.tasks for batch in self if batch.batches == 1)]
        return (min(seen), max(seen)) if seen else (0, 0)

    @property
    def workers(self) -> dict[str, WorkerSummary]:
        """What each worker did, in order of appearance."""
        summaries = {name: WorkerSummary(name) for name in list(self.lanes)}
        for batch in self:
            if batch.worker in summaries:  # else it appeared a moment ago
                summaries[batch.worker].add(batch)
        return summaries

    def _halve(self) -> None:
        self._extremes = self.sizes
        for worker, lane in self.lanes.items():
            halved = [one.joined(other) for one, other in zip(lane[::2], lane[1::2], strict=False)]
            self.lanes[worker] = halved + (lane[-1:] if len(lane) % 2 else [])
        self.kept = sum(map(len, self.lanes.values()))
        if self.kept > self.limit * 3 // 4:  # workers that live for a batch or two have nothing to join
            self.limit = 2 * self.kept
