"""Pools: threads that take batches from one queue. What each does with a batch is its `Member`'s affair.

::

    PoolSession.submit ──▶ Pool: queue ──▶ thread of member 0 ──▶ runs it, or drives a worker process
                                      ├──▶ thread of member 1         │
                                      └──▶ ...          done ◀────────┘

A thread of a pool is a daemon: it keeps no interpreter from ending. It is started when there is work for it.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from parallelcfg.core.outcome import Lost
from parallelcfg.errors import WorkerLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from parallelcfg.backends.base import Done, Work
    from parallelcfg.core.outcome import Reply
    from parallelcfg.transport.board import Running

__all__ = ["Assignment", "Member", "Pool"]

_GRACE = 5.0


@dataclass(slots=True, eq=False)
class Assignment:
    """A batch in a pool's hands.

    Parameters
    ----------
    batch_id : int
        Its number.
    work : Work
        What to run.
    done : Done
        Whom to tell.
    revoked : bool
        It shall not be begun any more.
    """

    batch_id: int
    work: Work
    done: Done
    revoked: bool = False


class Member(Protocol):
    """Who runs batches for one thread of a pool."""

    def run(self, assignment: Assignment) -> Reply | Lost:
        """Run a batch to its end."""

    def kill(self) -> bool:
        """Stop what runs now, from another thread; False where that can't be done."""

    def end(self) -> None:
        """There will be no more batches."""

    def forsake(self) -> None:
        """Let go, in a forked child, of the parent's worker."""


class Pool:
    """Threads with a member each.

    Parameters
    ----------
    size : int
        How many.
    make : callable
        Makes the member with a given ordinal.
    running : callable
        Which task of which batch runs now.
    idle_timeout : float, optional
        Seconds after which a thread without work ends, and its member with it.
    """

    def __init__(
        self,
        size: int,
        make: Callable[[int], Member],
        running: Callable[[], dict[int, Running]],
        idle_timeout: float | None = None,
    ) -> None:
        self.running = running
        self._make = make
        self._idle_timeout = idle_timeout
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Assignment | None] = SimpleQueue()
        self._out: dict[int, Assignment] = {}
        self._busy: dict[int, Member] = {}
        self._vacant = list(range(size - 1, -1, -1))
        self._threads: dict[int, threading.Thread] = {}
        self._members: set[Member] = set()
        self._spare = 0  # threads without work, less the batches that wait in the queue
        self._stopped = False
        _pools.add(self)

    def usable(self) -> bool:
        """Whether it is whole, idle, and this process's own."""
        return not self._stopped and self._owner == os.getpid() and not self._out and not self._busy

    def submit(self, batch_id: int, work: Work, done: Done) -> None:
        """Queue a batch; ``done`` is called when it has ended, or never will be run."""
        assignment = Assignment(batch_id, work, done)
        with self._lock:
            if self._stopped:
                raise WorkerLost("the pool of workers was stopped")
            if self._spare <= 0 and self._vacant:
                self._hire()
            self._spare -= 1
            self._out[batch_id] = assignment
        self._queue.put(assignment)

    def kill(self, batch_id: int) -> None:
        """Stop whoever runs a batch; its loss is reported as any other."""
        with self._lock:
            if batch_id in self._busy:
                self._out[batch_id].revoked = True
                self._busy[batch_id].kill()

    def abort(self) -> None:
        """Drop what is queued, stop what runs where possible, and report it all as lost."""
        with self._lock:
            dropped = self._drop()
        for assignment in dropped:
            assignment.done(assignment.batch_id, Lost(WorkerLost("the call has ended"), innocent=True))

    def stop(self, *, kill: bool, wait: bool = False) -> None:
        """End all threads and members: when they are idle, or at once and without a word to anybody."""
        with self._lock:
            self._stopped = True
            threads = list(self._threads.values())
            if kill:
                self._drop()
                for member in self._members:
                    member.kill()
        for _ in threads:
            self._queue.put(None)
        deadline = monotonic() + _GRACE
        for thread in threads if wait and not self._busy else ():  # what can't be killed is not waited for
            thread.join(max(0.0, deadline - monotonic()))

    def forsake(self) -> None:
        """Let go, in a forked child, of the parent's workers."""
        for member in self._members:
            member.forsake()

    def _drop(self) -> list[Assignment]:
        """Forget all batches, and kill where possible; what can't be killed stays busy."""
        dropped, self._out = list(self._out.values()), {}
        for assignment in dropped:
            assignment.revoked = True
        self._busy = {batch: member for batch, member in self._busy.items() if not member.kill()}
        return dropped

    def _hire(self) -> None:
        ordinal = self._vacant.pop()
        thread = threading.Thread(
            target=self._serve, args=(ordinal,), name=f"parallelcfg-{ordinal}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system or the end of the interpreter allows no more
            self._vacant.append(ordinal)
            if not self._threads:
                raise
            return
        self._threads[ordinal] = thread
        self._spare += 1

    def _serve(self, ordinal: int) -> None:
        member = self._make(ordinal)
        with self._lock:
            self._members.add(member)
        while (assignment := self._next(ordinal)) is not None:
            outcome = self._run(assignment, member)
            if outcome is not None:
                assignment.done(assignment.batch_id, outcome)
            del assignment, outcome  # while idle, hold nothing of the user's
        member.end()
        with self._lock:
            self._members.discard(member)

    def _next(self, ordinal: int) -> Assignment | None:
        """The next batch; None when this thread shall end."""
        while True:
            try:
                return self._queue.get(timeout=self._idle_timeout)
            except Empty:
                with self._lock:
                    if self._spare > 0:  # else a batch is on its way
                        self._spare -= 1
                        self._vacant.append(ordinal)
                        self._threads.pop(ordinal)
                        return None

    def _run(self, assignment: Assignment, member: Member) -> Reply | Lost | None:
        """Run a batch; None where nobody wants to hear of it any more."""
        batch_id = assignment.batch_id
        with self._lock:
            if assignment.revoked:
                self._spare += 1
                return None
            self._busy[batch_id] = member
        try:
            outcome = member.run(assignment)
        except BaseException as error:
            outcome = Lost(error)
        with self._lock:
            self._spare += 1
            self._busy.pop(batch_id, None)
            return None if self._out.pop(batch_id, None) is None else outcome


_pools: WeakSet[Pool] = WeakSet()


def _forsake_all() -> None:
    for pool in _pools:
        pool.forsake()
    _pools.clear()


if sys.platform != "win32" and sys.platform != "emscripten":
    os.register_at_fork(after_in_child=_forsake_all)
