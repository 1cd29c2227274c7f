"""Progress as lines of text: joblib's, for ``verbose``, and log lines, for ``progress``."""

from __future__ import annotations

import logging
import math
import sys
from typing import TYPE_CHECKING

from parallelcfg.progress.output import say
from parallelcfg.report.text import span

if TYPE_CHECKING:
    from parallelcfg.progress.events import ProgressEvent

__all__ = ["LogLines", "VerboseLines", "progress_line"]

_EVERY_BATCH = 10
_TO_STDOUT = 50
#: Seconds until the first log line, and bounds of the time between two.
_FIRST, _SHORTEST, _LONGEST = 5.0, 5.0, 300.0
_LOGGER = logging.getLogger("parallelcfg.progress")


class VerboseLines:
    """What ``verbose`` asks for: the higher, the more lines; above 10 each batch has one.

    The gaps between lines grow with the square root of the tasks, and from 50 on lines go to standard output
    instead of standard error, both as in joblib.

    Parameters
    ----------
    verbose : int
        The key's value, at least 1.
    name : str
        Name of the backend.
    n_jobs : int
        Jobs at the same time.
    """

    pace = 0.0

    def __init__(self, verbose: int, name: str, n_jobs: int) -> None:
        self._verbose = verbose
        self._n_jobs = n_jobs
        self._name = name
        self._scale = 0.5 * (_EVERY_BATCH + 1 - min(verbose, _EVERY_BATCH)) ** 2
        self._shown = -1

    def begin(self, total: int | None) -> None:
        """The first line comes with the first event."""

    def show(self, event: ProgressEvent) -> None:
        """So far is the call."""
        if self._shown < 0:
            workers = f"{self._n_jobs} concurrent worker{'' if self._n_jobs == 1 else 's'}"
            self._say(f"Using backend {self._name} with {workers}.")
            self._shown = 0
        elif event.done > self._shown and self._due(event.done):
            self._shown = event.done
            self._say(self._line(event))

    def stop(self, event: ProgressEvent) -> None:
        """The call is over, one way or another."""
        self._say(f"{self._line(event)} {'finished' if event.done == event.total else 'stopped'}")

    def _due(self, done: int) -> bool:
        return self._verbose > _EVERY_BATCH or self._step(done) > self._step(self._shown)

    def _step(self, done: int) -> int:
        return int(math.sqrt(done / self._scale))

    def _line(self, event: ProgressEvent) -> str:
        of = "tasks     " if event.total is None else f"out of {event.total:>3}"
        line = f"Done {event.done:>3} {of} | elapsed: {_joblib_time(event.elapsed)}"
        if event.total and 0 < event.done < event.total:
            line += f" remaining: {_joblib_time(_remaining(event))}"
        return line

    def _say(self, text: str) -> None:
        stream = sys.stdout if self._verbose >= _TO_STDOUT else sys.stderr
        say(stream, f"[Parallel(n_jobs={self._n_jobs})]: {text}\n")


class LogLines:
    """A line now and then, for where nobody looks at a terminal: after 5 s, then less and less often.

    Lines go to the logger ``parallelcfg.progress`` where it lets pass INFO and somebody listens, else to
    standard error. Calls that end before their first line have one at their end, unless they are quiet.

    Parameters
    ----------
    quiet : bool
        Say nothing about short calls: those inside of other calls are many.
    """

    pace = 1.0

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._next = _FIRST

    def begin(self, total: int | None) -> None:
        """Nothing to say yet."""

    def show(self, event: ProgressEvent) -> None:
        """So far is the call."""
        if event.elapsed >= self._next:
            self._next = event.elapsed + min(_LONGEST, max(_SHORTEST, event.elapsed / 4))
            self._quiet = False
            _log(progress_line(event))

    def stop(self, event: ProgressEvent) -> None:
        """The call is over, one way or another."""
        if not self._quiet:
            _log(progress_line(event))


def progress_line(event: ProgressEvent) -> str:
    """An event as a line for logs.

    Examples
    --------
    >>> from parallelcfg.progress import ProgressEvent
    >>> progress_line(ProgressEvent(1200, 3, 0, 10_000, 60.0, 4))
    '1,200 of 10,000 tasks (12 %), 3 failed, 1.0 min, 20/s, 7.3 min left'
    """
    share = f" of {event.total:,} tasks ({event.done / event.total:.0%})" if event.total else " tasks"
    parts = [f"{event.done:,}{share}".replace("%", " %")]
    parts += [f"{event.failed:,} failed"] if event.failed else []
    parts += [f"{event.retried:,} retried"] if event.retried else []
    parts.append(span(event.elapsed))
    if event.done and event.elapsed:
        parts.append(f"{_rate(event.done / event.elapsed)}/s")
    if event.total and 0 < event.done < event.total:
        parts.append(f"{span(_remaining(event))} left")
    return ", ".join(parts)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits either way


def _remaining(event: ProgressEvent) -> float:
    return event.elapsed * ((event.total or 0) - event.done) / event.done


def _log(line: str) -> None:
    if _LOGGER.isEnabledFor(logging.INFO) and _LOGGER.hasHandlers():
        _LOGGER.info("%s", line)
    else:
        say(sys.stderr, f"parallelcfg: {line}\n")


def _joblib_time(seconds: float) -> str:
    return f"{seconds / 60:5.1f}min" if seconds > 60 else f"{seconds:5.1f}s"  # noqa: PLR2004 - a minute
