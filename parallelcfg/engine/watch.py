"""Time: looked at when somebody waits or an event has just been taken, and only where a limit is set."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING

from parallelcfg.config.state import said_at
from parallelcfg.errors import TaskTimeout

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from parallelcfg.backends.base import Session
    from parallelcfg.config.snapshot import Config

__all__ = ["GLANCE", "Watch"]

#: Seconds to wait at a stretch. A signal that comes on the way into a wait does not end it, so that without
#: an end of its own Ctrl-C would be noticed when the next result comes.
GLANCE = 0.25


class Watch:
    """Knows when a call's deadline or the timeout of one of its tasks can expire.

    Parameters
    ----------
    config : Config
        Has ``timeout`` and ``deadline``.
    session : Session
        Tells which tasks run, and since when.
    times_tasks : bool
        Whether it really does; else ``timeout`` is not looked at, as the plan has warned.
    """

    def __init__(self, config: Config, session: Session, *, times_tasks: bool = True) -> None:
        self._config = config
        self._timeout = config.timeout if times_tasks else None
        self._session = session
        self.deadline = None if config.deadline is None else monotonic() + config.deadline
        self.needed = self._timeout is not None or self.deadline is not None
        self._next_look = 0.0

    def wait(self, out: Collection[int]) -> float:
        """Seconds to wait at a stretch, while these batches are out; remembers when it is time to look."""
        now = monotonic()
        moments = [now + threading.TIMEOUT_MAX / 2]
        if self.deadline is not None:
            moments.append(self.deadline)
        if self._timeout is not None:
            starts = (run.since for batch, run in self._session.running().items() if batch in out)
            moments.append(min(starts, default=now) + self._timeout)
        self._next_look = min(moments)
        return max(0.0, min(GLANCE, self._next_look - now))

    def due(self) -> bool:
        """Whether that moment has come."""
        return monotonic() >= self._next_look

    def over(self, now: float) -> str:
        """The deadline, and who has set it, once it has passed; empty before."""
        if self.deadline is None or now < self.deadline:
            return ""
        return f"deadline={self._config.deadline:g} s{said_at(self._config, 'deadline')}"

    def overdue(self, out: Collection[int]) -> Iterator[tuple[int, int, TaskTimeout]]:
        """Batch, position and error of every task that has run too long."""
        if self._timeout is None:
            return
        now = monotonic()
        for batch, run in self._session.running().items():
            if batch in out and now - run.since >= self._timeout:
                yield batch, run.position, self._error()

    def exceeded(self, seconds: float) -> TaskTimeout | None:
        """The error of a task that took so long, if that was too long."""
        return None if self._timeout is None or seconds < self._timeout else self._error()

    def _error(self) -> TaskTimeout:
        where = said_at(self._config, "timeout")
        return TaskTimeout(f"a task ran longer than timeout={self._timeout:g} s{where}")
