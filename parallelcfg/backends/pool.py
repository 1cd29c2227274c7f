"""Pools: each thread of a pool has a desk, where its batches are put.

::

    PoolSession.submit ──▶ Pool ──▶ idle desk ──▶ its thread runs the batch, or drives a worker process
                             └────▶ backlog ──▶ whichever thread is done first     │
                                                  done ◀───────────────────────────┘

A thread of a pool is a daemon: it keeps no interpreter from ending. It is started when there is work for it.
One that is late, and can't be stopped, loses its desk: a fresh one has its place, and it ends with its task.
A member may begin a batch while it is submitted, in the submitting thread: a worker process that is idle gets
a small one at once, not when its thread has been woken.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakSet

from parallelcfg.backends.members import Assignment
from parallelcfg.core.outcome import Lost, ended
from parallelcfg.errors import WorkerLost
from parallelcfg.transport.claims import divide, unclaimed

if TYPE_CHECKING:
    from collections.abc import Callable

    from parallelcfg.backends.base import Done, Work
    from parallelcfg.backends.members import Member
    from parallelcfg.core.outcome import Reply
    from parallelcfg.transport.board import Running

__all__ = ["Pool"]

_GRACE = 5.0


class _Desk:
    """Where a thread of a pool gets its batches."""

    __slots__ = ("inbox", "leaving", "member", "ordinal", "thread")

    def __init__(self, ordinal: int) -> None:
        self.ordinal = ordinal
        self.inbox: SimpleQueue[Assignment | None] = SimpleQueue()
        self.thread: threading.Thread
        self.member: Member | None = None  # made by the thread
        self.leaving = False  # its thread only ends its member now


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
        self._idle_timeout = None if idle_timeout is None else min(idle_timeout, threading.TIMEOUT_MAX)
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._out: dict[int, Assignment] = {}
        self._busy: dict[int, Member] = {}
        self._backlog: deque[Assignment] = deque()
        self._idle: list[_Desk] = []
        self._desks: set[_Desk] = set()
        self._vacant = list(range(size - 1, -1, -1))
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
            try:
                self._hand_over(assignment)
            except WorkerLost:
                raise
            except BaseException:  # Ctrl-C, say: nobody knows any more whose desk has work on it
                self._stopped = True
                raise

    def kill(self, batch_id: int) -> None:
        """Stop whoever runs a batch; its loss is reported as any other."""
        with self._lock:
            if batch_id in self._busy:
                self._out[batch_id].revoked = True
                self._busy[batch_id].kill()

    def abandon(self, batch_id: int, position: int, error: BaseException) -> None:
        """End a batch with the task that runs, and have another thread in place of the one that runs it."""
        with self._lock:
            assignment, member = self._out.get(batch_id), self._busy.get(batch_id)
            if assignment is None or member is None:
                return
            reply = member.abandon(batch_id, position, error)
            if reply is None:
                return
            desk = next(desk for desk in self._desks if desk.member is member)
            self._desks.remove(desk)
            desk.inbox.put(None)
            self._vacant.append(desk.ordinal)
            del self._out[batch_id], self._busy[batch_id]
        assignment.done(batch_id, reply)
        with self._lock:  # only now, since that may have ended the call
            if self._backlog and self._vacant and self._hire(self._backlog[0]):
                self._backlog.popleft()

    def divide(self, sizes: dict[int, int], least: int) -> tuple[int | None, int]:
        """Take back half of what a worker has not begun: see `DividingSession`."""
        with self._lock:  # nobody gets another batch meanwhile
            cells = {batch: member.cell for batch, member in self._busy.items() if batch in sizes}
            rests = {batch: unclaimed(cell, batch, sizes[batch]) for batch, cell in cells.items()}
            batch_id = max(rests, key=rests.__getitem__, default=None)
            if batch_id is None or rests[batch_id] < least:
                return None, 0
            kept = divide(cells[batch_id], batch_id, sizes[batch_id])
            return (batch_id, kept) if kept < sizes[batch_id] else (None, 0)

    def abort(self) -> None:
        """Drop what is queued, stop what runs where possible, and report it all as lost."""
        with self._lock:
            dropped = self._drop()
        for assignment in dropped:
            assignment.done(assignment.batch_id, Lost(ended(), innocent=True))

    def stop(self, *, kill: bool, wait: bool = False) -> None:
        """End all threads and members: when they are idle, or at once and without a word to anybody."""
        with self._lock:
            self._stopped = True
            desks = list(self._desks)
            if kill:
                self._drop()
                for desk in desks:
                    if desk.member is not None:
                        desk.member.kill()
        for desk in desks:
            desk.inbox.put(None)
        deadline = monotonic() + _GRACE
        for desk in desks if wait and not self._busy else ():  # what can't be killed is not waited for
            desk.thread.join(max(0.0, deadline - monotonic()))

    def forsake(self) -> None:
        """Let go, in a forked child, of the parent's workers."""
        for desk in self._desks:
            if desk.member is not None:
                desk.member.forsake()

    def _drop(self) -> list[Assignment]:
        """Forget all batches, and kill where possible; what can't be killed stays busy.

        After an interrupt, all of it can be done again.
        """
        for assignment in self._out.values():
            assignment.revoked = True
        self._backlog.clear()
        self._busy = {batch: member for batch, member in self._busy.items() if not member.kill()}
        dropped, self._out = list(self._out.values()), {}
        return dropped

    def _hire(self, assignment: Assignment) -> bool:
        """Start a thread for a batch; False where it has to wait for another thread."""
        desk = _Desk(self._vacant.pop())
        desk.inbox.put(assignment)
        desk.thread = threading.Thread(
            target=self._serve, args=(desk,), name=f"parallelcfg-{desk.ordinal}", daemon=True
        )
        try:
            desk.thread.start()
        except RuntimeError as error:  # the system or the end of the interpreter allows no more
            self._vacant.append(desk.ordinal)
            if all(other.leaving for other in self._desks):
                raise WorkerLost(f"no worker could be had: {error}") from error
            return False
        self._desks.add(desk)
        return True

    def _hand_over(self, assignment: Assignment) -> None:
        """Give a batch to somebody, under the lock: an idle member is neither killed nor ended meanwhile."""
        if self._idle:
            desk = self._idle.pop()
            assert desk.member is not None
            self._busy[assignment.batch_id] = desk.member
            desk.member.begin(assignment)
            desk.inbox.put(assignment)
        elif not self._vacant or not self._hire(assignment):
            self._backlog.append(assignment)
        self._out[assignment.batch_id] = assignment

    def _serve(self, desk: _Desk) -> None:
        try:
            self._work(desk)
        except BaseException as error:  # a fault of this package: nobody shall wait for ever
            with self._lock:
                self._stopped = True
                dropped = self._drop()
            for assignment in dropped:
                assignment.done(assignment.batch_id, Lost(error))

    def _work(self, desk: _Desk) -> None:
        member = self._make(desk.ordinal)
        with self._lock:
            desk.member = member
        while (assignment := self._next(desk)) is not None:
            while assignment is not None:
                outcome = self._run(assignment, member)
                if outcome is not None:
                    assignment.done(assignment.batch_id, outcome)
                del outcome
                assignment = self._take(desk)
        member.end()
        with self._lock:
            self._desks.discard(desk)

    def _next(self, desk: _Desk) -> Assignment | None:
        """The next batch; None when this thread shall end."""
        while True:
            try:
                return desk.inbox.get(timeout=self._idle_timeout)
            except Empty:
                with self._lock:
                    if desk in self._idle:  # else a batch is on its way
                        self._idle.remove(desk)
                        self._vacant.append(desk.ordinal)
                        desk.leaving = True
                        return None

    def _take(self, desk: _Desk) -> Assignment | None:
        """A batch of the backlog; None where there is none, and the thread has nothing to do."""
        with self._lock:
            if desk not in self._desks:  # another thread is in this one's place
                return None
            if self._backlog:
                return self._backlog.popleft()
            self._idle.append(desk)
            return None

    def _run(self, assignment: Assignment, member: Member) -> Reply | Lost | None:
        """Run a batch; None where nobody wants to hear of it any more."""
        batch_id = assignment.batch_id
        with self._lock:
            if assignment.revoked and not assignment.begun:
                self._busy.pop(batch_id, None)
                return None
            self._busy[batch_id] = member
        try:
            outcome = member.run(assignment)
        except BaseException as error:
            outcome = Lost(error)
        with self._lock:
            self._busy.pop(batch_id, None)
            return None if self._out.pop(batch_id, None) is None else outcome


_pools: WeakSet[Pool] = WeakSet()


def _forsake_all() -> None:
    for pool in _pools:
        pool.forsake()
    _pools.clear()


if sys.platform != "win32" and sys.platform != "emscripten":
    os.register_at_fork(after_in_child=_forsake_all)
