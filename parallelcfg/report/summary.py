"""`Report`: what one call did, during the call and after it."""

from __future__ import annotations

import json
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from parallelcfg.core.actions import Counts
from parallelcfg.report.records import History, Traffic

if TYPE_CHECKING:
    from os import PathLike

    from parallelcfg.backends.select import Substitution
    from parallelcfg.report.records import BatchRecord, WorkerSummary

__all__ = ["Report"]


class Report:
    """What one call of a `Parallel` object did, during the call and after it.

    Times are seconds; points in time belong to the caller's monotonic clock. In a notebook a report shows
    its numbers and a timeline.

    Attributes
    ----------
    backend : str
        Who ran it.
    n_jobs : int
        Jobs at the same time.
    substitutions : tuple of Substitution
        Where backend or jobs differ from what was asked for, and why.
    place : str
        The caller's file and line.
    thread : str
        The caller's thread.
    total : int or None
        Number of tasks, where it was known beforehand.
    began, ended : float
        ``ended`` is 0 while the call runs.
    began_at : float
        The start by the clock on the wall, in seconds since 1970.
    counts : Counts
        Tasks that are through, that failed, and that were sent again.
    history : History
        The batches, at bounded size.
    lost : int
        Batches that never came back: their worker died or was stopped.
    feed_seconds : float
        Time spent on taking tasks from the iterable and packing them.
    return_seconds : float
        Time between the end of each batch on its worker and its arrival.
    traffic : Traffic
        Bytes pickled and shared.
    """

    __slots__ = (
        "backend",
        "began",
        "began_at",
        "counts",
        "ended",
        "feed_seconds",
        "history",
        "lost",
        "n_jobs",
        "place",
        "return_seconds",
        "substitutions",
        "thread",
        "total",
        "traffic",
    )

    def __init__(
        self,
        backend: str,
        n_jobs: int,
        substitutions: tuple[Substitution, ...] = (),
        *,
        place: str = "",
        thread: str = "",
    ) -> None:
        self.backend, self.n_jobs, self.substitutions = backend, n_jobs, substitutions
        self.place, self.thread = place, thread
        self.total: int | None = None
        self.began, self.began_at, self.ended = monotonic(), time(), 0.0
        self.counts, self.history, self.traffic = Counts(), History(), Traffic()
        self.lost = 0
        self.feed_seconds = self.return_seconds = 0.0

    @property
    def batches(self) -> list[BatchRecord]:
        """The batches that came back; in a long call, neighbours of one worker are taken together."""
        return sorted(self.history, key=lambda batch: batch.started)

    @property
    def workers(self) -> dict[str, WorkerSummary]:
        """Who took part, in order of appearance."""
        return self.history.workers

    @property
    def batch_count(self) -> int:
        """How many batches came back."""
        return sum(batch.batches for batch in self.history)

    @property
    def smallest(self) -> int:
        """The fewest tasks in one batch."""
        return self.history.sizes[0]

    @property
    def largest(self) -> int:
        """The most tasks in one batch."""
        return self.history.sizes[1]

    @property
    def tasks(self) -> int:
        """How many tasks are through, failed ones included."""
        return self.counts.done

    @property
    def failed(self) -> int:
        """How many tasks have no result, after all their attempts."""
        return self.counts.failed + self.counts.unreadable

    @property
    def retries(self) -> int:
        """How often a task was sent again."""
        return self.counts.retried

    @property
    def wall_seconds(self) -> float:
        """From the start to the end of the call, or to now."""
        return (self.ended or monotonic()) - self.began

    @property
    def busy_seconds(self) -> float:
        """Time inside tasks, over all workers."""
        return sum(batch.seconds for batch in self.history)

    @property
    def utilisation(self) -> float:
        """Share of the workers' time that was spent inside tasks, from 0 to 1."""
        return self.busy_seconds / max(1e-9, self.wall_seconds * self.n_jobs)

    @property
    def mean_batch_size(self) -> float:
        """Tasks per batch."""
        batches = self.batch_count
        return sum(batch.tasks for batch in self.history) / batches if batches else 0.0

    @property
    def overhead_seconds(self) -> float:
        """What dispatching cost: feeding the workers, and the way back of what they did."""
        return self.feed_seconds + self.return_seconds

    @property
    def bytes_pickled(self) -> int:
        """Bytes that went into pickles, in both directions."""
        return self.traffic.pickled

    @property
    def bytes_shared(self) -> int:
        """Bytes of arguments that were shared in memory instead of pickled."""
        return self.traffic.shared

    @property
    def peak_rss(self) -> int:
        """Peak resident memory of the largest worker process in bytes; 0 where unknown."""
        return max((batch.peak_rss for batch in self.history), default=0)

    def __repr__(self) -> str:
        from parallelcfg.report.text import describe

        return describe(self)

    def _repr_html_(self) -> str:
        from parallelcfg.report.page import report_html

        return report_html(self)

    def to_dict(self) -> dict[str, Any]:
        """The whole report as plain data; points in time count from the start of the call."""
        names = ("backend", "n_jobs", "place", "thread", "began_at", "total", "tasks", "failed", "retries")
        numbers = ("wall_seconds", "busy_seconds", "utilisation", "feed_seconds", "return_seconds")
        began = self.began
        batches = [
            {**batch._asdict(), "started": batch.started - began, "ended": batch.ended - began}
            for batch in self.batches
        ]
        workers = [
            {
                **one._asdict(),
                "first": one.first - began,
                "last": one.last - began,
                "wall_seconds": one.wall_seconds,
            }
            for one in self.workers.values()
        ]
        return {
            **{name: getattr(self, name) for name in (*names, *numbers)},
            "running": not self.ended,
            "lost_batches": self.lost,
            "batch_sizes": {
                "batches": self.batch_count,
                "smallest": self.smallest,
                "mean": self.mean_batch_size,
                "largest": self.largest,
            },
            "bytes_pickled": self.bytes_pickled,
            "bytes_shared": self.bytes_shared,
            "substitutions": [one._asdict() for one in self.substitutions],
            "workers": workers,
            "batches": batches,
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """The whole report as JSON, see `to_dict`.

        Parameters
        ----------
        indent : int, optional
            Spaces per level, for people.
        """
        return json.dumps(self.to_dict(), indent=indent)

    def to_svg(self) -> str:
        """The timeline as an SVG picture: workers as lanes, batches as bars, failures red."""
        from parallelcfg.report.timeline import timeline_svg

        return timeline_svg(self)

    def to_chrome_trace(self, path: str | PathLike[str]) -> None:
        """Write the batches as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing open.

        Parameters
        ----------
        path : path
            The JSON file to write.
        """
        from parallelcfg.report.trace import write_trace

        write_trace(path, [self])

    def plot(self, ax: Any = None) -> Any:
        """Draw the timeline with matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; without it, a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            What was drawn on.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from parallelcfg.report.figure import draw

        return draw(self, ax)
