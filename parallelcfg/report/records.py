"""What is written down while a call runs: batches by worker, at bounded size, and totals that stay exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


class WorkerSummary(NamedTuple):
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
    batches: int
    tasks: int
    failed: int
    busy_seconds: float
    first: float
    last: float
    peak_rss: int

    @classmethod
    def of(cls, name: str, batches: Sequence[BatchRecord]) -> WorkerSummary:
        """Sum up a worker's batches, of which there is at least one."""
        return cls(
            name,
            sum(batch.batches for batch in batches),
            sum(batch.tasks for batch in batches),
            sum(batch.failed for batch in batches),
            sum(batch.seconds for batch in batches),
            min(batch.started for batch in batches),
            max(batch.ended for batch in batches),
            max(batch.peak_rss for batch in batches),
        )

    @property
    def wall_seconds(self) -> float:
        """From the start of its first batch to the end of its last one."""
        return max(0.0, self.last - self.first)


class Traffic:
    """Bytes between the caller and its workers.

    Parameters
    ----------
    pickled : int
        Bytes that went into pickles, in both directions.
    shared : int
        Bytes of arguments that were shared in memory instead.
    """

    __slots__ = ("pickled", "shared")

    def __init__(self, pickled: int = 0, shared: int = 0) -> None:
        self.pickled, self.shared = pickled, shared


class History:
    """The batches of a call, by worker.

    A call that runs for days must not fill the memory with its own history: at ``limit`` records, each
    worker's neighbours are joined in pairs, which halves the resolution and keeps every sum.

    Parameters
    ----------
    limit : int
        How many records to keep at most.
    """

    __slots__ = ("_extremes", "kept", "lanes", "limit")

    def __init__(self, limit: int = 10_000) -> None:
        self.limit = limit
        self.lanes: dict[str, list[BatchRecord]] = {}
        self.kept = 0
        self._extremes: tuple[int, ...] = ()

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
        lanes = {
            name: list(lane) for name, lane in list(self.lanes.items())
        }  # batches go on ending meanwhile
        return {name: WorkerSummary.of(name, lane) for name, lane in lanes.items() if lane}

    def _halve(self) -> None:
        self._extremes = self.sizes
        for worker, lane in self.lanes.items():
            halved = [one.joined(other) for one, other in zip(lane[::2], lane[1::2], strict=False)]
            self.lanes[worker] = halved + (lane[-1:] if len(lane) % 2 else [])
        self.kept = sum(map(len, self.lanes.values()))
        if self.kept > self.limit * 3 // 4:  # workers that live for a batch or two have nothing to join
            self.limit = 2 * self.kept
