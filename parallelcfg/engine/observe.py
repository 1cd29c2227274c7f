"""Whoever watches a call: the report, the trace and the progress display."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from parallelcfg.config.callers import caller_origin
from parallelcfg.core.outcome import Reply
from parallelcfg.progress import ProgressEvent
from parallelcfg.report import BatchRecord, Report

if TYPE_CHECKING:
    from parallelcfg.core.actions import Counts
    from parallelcfg.core.outcome import Lost
    from parallelcfg.engine.plan import Plan
    from parallelcfg.progress import Display
    from parallelcfg.report import Traffic

__all__ = ["Recorder", "Sent"]

#: Of more tasks than these, none is expected to take long.
_MANY = 1_000


class Sent(NamedTuple):
    """A batch that was submitted.

    Parameters
    ----------
    at : float
        When, in seconds of the monotonic clock.
    feed : float
        Seconds spent on pulling and packing it.
    first : int
        Index of its first task.
    """

    at: float
    feed: float
    first: int


class Recorder:
    """Writes the report and feeds the progress display.

    Parameters
    ----------
    plan : Plan
        What the call will do.
    display : Display or None
        Shows progress.
    """

    def __init__(self, plan: Plan, display: Display | None) -> None:
        origin = caller_origin("call")
        self.report = Report(
            plan.backend.name,
            plan.n_jobs,
            plan.substitutions,
            place=f"{origin.file}:{origin.line}" if origin.file else "",
            thread=threading.current_thread().name,
        )
        self._trace = plan.config.trace
        if self._trace is not None:
            from parallelcfg.report.ending import write_when_terminated

            write_when_terminated()  # here, since the call may begin in a thread of its own
        self._begun = self._over = False
        self._display = display
        self._in_caller = plan.backend.traits.in_caller
        self._due = 0.0

    def due(self) -> bool:
        """Whether `progress` shall be called, now that the call has begun or a batch has ended."""
        if self._display is None:
            return False
        if self._display.pace:
            now = self.report.wall_seconds
            if now < self._due:
                return False
            self._due = now + self._display.pace
        return True

    @property
    def paced(self) -> bool:
        """Whether `progress` shall be called when nothing has ended for a while."""
        return self._display is not None and self._display.pace > 0

    def started(self, total: int | None, counts: Counts, traffic: Traffic) -> None:
        """The call begins. Counts and traffic are kept up to date by their owners."""
        report = self.report
        report.total, report.counts, report.traffic = total, counts, traffic
        if self._display is not None:
            self._display.begin(total)
            self._begun = True
            if not self._in_caller or (total or 0) > _MANY:  # else nobody shows it during the first task
                self._due = self._display.pace
        if self._trace is not None:
            from parallelcfg.report import trace

            trace.keep(self._trace, report)

    def exhausted(self, total: int) -> None:
        """There were so many tasks in the iterable."""
        self.report.total = total

    def ended(self, sent: Sent, outcome: Reply | Lost, *, stopped: bool) -> None:
        """A batch has ended, or was stopped with its call. Never called at the same time from two threads."""
        report = self.report
        report.feed_seconds += sent.feed
        if not isinstance(outcome, Reply):
            report.lost += not stopped
            return
        now = monotonic()
        ended = outcome.started + outcome.seconds
        if not sent.at <= outcome.started <= ended <= now:  # another host's clock
            ended = now
        report.return_seconds += now - ended
        report.history.add(
            BatchRecord(
                outcome.worker,
                ended - outcome.seconds,
                ended,
                outcome.seconds,
                outcome.ran,
                len(outcome.failures),
                sent.first,
                outcome.peak_rss,
            )
        )

    def progress(self) -> None:
        """Show how far the call is. This runs code of the user's: only the thread that runs the call may."""
        __tracebackhide__ = True
        if self._display is not None:
            self._display.show(self._event())

    def left(self) -> None:
        """Nobody wants further results. The call's own thread sees to the rest, and says `finished`."""
        self.report.ended = self.report.ended or monotonic()

    def finished(self) -> None:
        """The call is over, one way or another."""
        if not self._over:
            self._over = True
            self.report.ended = monotonic()
            if self._display is not None and self._begun:
                self._display.stop(self._event())

    def _event(self) -> ProgressEvent:
        report, counts = self.report, self.report.counts
        return ProgressEvent(
            counts.done, report.failed, counts.retried, report.total, report.wall_seconds, report.n_jobs
        )
