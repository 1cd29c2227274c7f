"""Sessions lease pools: warm ones from a shelf, new ones where it has none.

A pool belongs to one session at a time. A session's failing task, abort or timeout can therefore never touch
another call, and two threads with different settings never wait for each other. When the session closes, the
pool goes back to the shelf, warm for the next call with the same key.

::

    Shelf.lease(key) ──▶ PoolSession ──▶ Pool
         ▲                   │
         └───── close ◀──────┘ (if idle and whole)
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from parallelcfg.core.outcome import Lost, ended
from parallelcfg.errors import WorkerLost

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from parallelcfg.backends.base import Done, Work
    from parallelcfg.backends.pool import Pool
    from parallelcfg.transport.board import Running

__all__ = ["SHELF", "PoolSession", "Shelf", "Warm"]


class Warm(Protocol):
    """Something that may wait on the `Shelf` for its next use."""

    def usable(self) -> bool:
        """Whether it is whole, idle, and this process's own."""

    def stop(self, *, kill: bool, wait: bool = False) -> None:
        """End it: when its workers are idle, or at once. Idempotent."""


W = TypeVar("W", bound=Warm)


class Shelf:
    """Warm pools and connections, by what they depend on.

    Parameters
    ----------
    capacity : int
        How many stay warm; the one that rested longest is stopped first.
    """

    def __init__(self, capacity: int = 4) -> None:
        self._capacity = capacity
        self._reset()
        atexit.register(self.close)
        if sys.platform != "win32" and sys.platform != "emscripten":
            os.register_at_fork(after_in_child=self._reset)  # a child owns neither pools nor a held lock

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._idle: deque[tuple[Hashable, Warm]] = deque()
        self._leased: set[Warm] = set()
        self._orphans: deque[Warm] = deque()
        self._closed = False

    def lease(self, key: Hashable, make: Callable[[], W]) -> W:
        """One for this key that nobody else uses: a warm one, else a new one."""
        self._end_orphans()
        leased: Warm | None = None
        try:
            with self._lock:
                self._refuse_if_closed()
                for item in reversed(self._idle):
                    if item[0] == key:
                        leased = item[1]
                        self._idle.remove(item)
                        break
            if leased is not None and not leased.usable():
                leased.stop(kill=True)
                leased = None
            if leased is None:
                leased = make()  # not under the lock: connecting to a cluster may take long
            with self._lock:
                self._refuse_if_closed()
                self._leased.add(leased)
        except BaseException:  # an interrupt, too
            if leased is not None:
                self._leased.discard(leased)
                leased.stop(kill=True)
            raise
        return cast("W", leased)  # a key stands for one kind of thing

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise WorkerLost("the interpreter is shutting down")

    def give_back(self, key: Hashable, leased: Warm) -> None:
        """Return one, once: it rests where it is whole and idle, else it ends."""
        with self._lock:
            if leased not in self._leased:
                return
            self._leased.discard(leased)
            if leased.usable() and not self._closed:
                self._idle.append((key, leased))
                if len(self._idle) <= self._capacity:
                    return
                leased = self._idle.popleft()[1]
        leased.stop(kill=not leased.usable())

    def orphan(self, leased: Warm) -> None:
        """Take note that its session is gone and won't return it. Waits for no lock: finalisers call it."""
        self._orphans.append(leased)

    def _end_orphans(self) -> None:
        for orphan in list(self._orphans):
            orphan.stop(kill=True)
            self._leased.discard(orphan)
            with suppress(ValueError):  # another thread was at it as well
                self._orphans.remove(orphan)

    def clear(self, *, wait: bool) -> None:
        """Stop everything that is idle."""
        self._end_orphans()
        with self._lock:
            idle = [item for _, item in self._idle]
            self._idle.clear()
        _stop(idle, kill=False, wait=wait)

    def close(self) -> None:
        """Stop everything, what is in use too: the interpreter ends."""
        with self._lock:
            self._closed = True
        self.clear(wait=True)
        _stop(list(self._leased), kill=True, wait=True)


def _stop(items: Iterable[Warm], *, kill: bool, wait: bool) -> None:
    """Stop all, and only then wait for each."""
    for item in items:
        item.stop(kill=kill)
    for item in items if wait else ():
        item.stop(kill=kill, wait=True)


#: Where all backends of this process keep their idle workers.
SHELF = Shelf()


class PoolSession:
    """A session whose workers are a pool's.

    Parameters
    ----------
    workers : int
        Size of the pool.
    key : hashable
        What the workers depend on.
    make : callable
        Makes a pool where the shelf has none.
    """

    _pool: Pool | None = None

    def __init__(self, workers: int, key: Hashable, make: Callable[[], Pool]) -> None:
        self._workers = workers
        self._key = key
        self._make = make
        self._lock = threading.Lock()
        self._over = self._ending = False

    def __del__(self) -> None:
        if self._pool is not None:  # an interrupt has kept all others from giving it back
            SHELF.orphan(self._pool)

    @property
    def workers(self) -> int:
        """How many batches can run at the same time."""
        return self._workers

    @property
    def over(self) -> bool:
        """Whether the session was aborted or closed."""
        return self._over

    def submit(self, batch_id: int, work: Work, done: Done) -> None:
        """Run ``work`` on a worker and report to ``done``."""
        try:
            with self._lock:  # an abort comes before or after: what it gives back is not used any more
                self._leased().submit(batch_id, work, done)
        except WorkerLost as error:
            done(batch_id, Lost(error))
        except TimeoutError:
            raise  # of a signal handler, as other exceptions that the system does not raise: it ends the call
        except (OSError, RuntimeError) as error:
            lost = WorkerLost(f"no worker could be had: {error}")
            lost.__cause__ = error
            done(batch_id, Lost(lost))

    def running(self) -> dict[int, Running]:
        """Which task of which batch runs now, and since when."""
        pool = self._pool
        return {} if pool is None else pool.running()

    def divide(self, sizes: dict[int, int], least: int) -> tuple[int | None, int]:
        """Take back half of what a worker has not begun: see `DividingSession`."""
        pool = self._pool
        return (None, 0) if pool is None else pool.divide(sizes, least)

    def kill(self, batch_id: int) -> None:
        """Stop the worker that runs a batch; nobody else notices."""
        pool = self._pool
        if pool is not None:
            pool.kill(batch_id)

    def abandon(self, batch_id: int, position: int, error: BaseException) -> None:
        """End a batch with the task that runs: see `AbandoningSession`."""
        pool = self._pool
        if pool is not None:
            pool.abandon(batch_id, position, error)

    def abort(self) -> None:
        """Drop queued work and stop running work where possible. Another one does what an interrupt left."""
        mine = False
        try:
            with self._lock:
                self._over = True
                if self._ending:
                    return
                mine = self._ending = True
            if self._pool is not None:
                self._pool.abort()
                SHELF.give_back(self._key, self._pool)
                self._pool = None
        finally:
            if mine:
                self._ending = False

    def close(self) -> None:
        """Give the workers back."""
        self.abort()

    def _leased(self) -> Pool:
        if self._over:
            raise ended()
        if self._pool is None:
            self._pool = SHELF.lease(self._key, self._make)
        return self._pool
