"""Worker processes as members of a pool: born, fed, watched, killed and replaced one by one."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from parallelcfg.backends.postmortem import descendants, fate, not_started, resident_memory
from parallelcfg.backends.whereabouts import staying_here
from parallelcfg.core.outcome import Lost, Reply, ended
from parallelcfg.errors import WorkerLost
from parallelcfg.transport.habits import replay
from parallelcfg.transport.pickling import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from parallelcfg.backends.members import Assignment
    from parallelcfg.transport.board import Seat

    Spawn = Callable[[Connection, Seat], BaseProcess]

__all__ = ["Recycling", "WorkerProcess", "start_helpers"]

log = logging.getLogger("parallelcfg")

#: How long a worker may take to end after its parent has hung up.
_GRACE = 2.0
#: Bytes that an idle worker's pipe takes at once.
_SMALL = 1 << 16

_birth = threading.Lock()


def _reset() -> None:
    global _birth  # noqa: PLW0603 - another thread of the parent may hold it while this process is forked
    _birth = threading.Lock()


if sys.platform != "win32" and sys.platform != "emscripten":
    os.register_at_fork(after_in_child=_reset)


class Recycling(NamedTuple):
    """When a worker is replaced between batches.

    Parameters
    ----------
    batches : int or None
        After so many of them.
    growth : int or None
        When its resident memory has grown by so many bytes since its first batch.
    """

    batches: int | None = None
    growth: int | None = None


class WorkerProcess:
    """One worker process at a time, replaced when it has died or grown old.

    Parameters
    ----------
    seat : Seat
        The worker's seat on the board.
    spawn : callable
        Makes the process, from its end of the connection and its seat.
    recycling : Recycling
        When to replace it.
    """

    def __init__(self, seat: Seat, spawn: Spawn, recycling: Recycling) -> None:
        self._seat = seat
        self._spawn = spawn
        self._recycling = recycling
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._served = 0
        self._size_at_first = 0

    @property
    def cell(self) -> Any:
        """Where the worker notes what it runs."""
        return self._seat.cell

    def begin(self, assignment: Assignment) -> None:
        """Send a small batch to the idle worker, if there is one."""
        if self._process is None or _size(assignment) > _SMALL:
            return
        with suppress(OSError):  # it has died: `run` will notice
            self._send(_message(assignment))
            assignment.begun = True

    def run(self, assignment: Assignment) -> Reply | Lost:
        """Run a batch to its end, or to the worker's."""
        begun = assignment.begun
        while True:
            fresh = self._process is None
            try:
                if fresh:
                    self._start()
            except Exception as error:
                return Lost(not_started(error))
            if assignment.revoked and not begun:  # looked at after the start: before, nobody could be killed
                return Lost(ended(), innocent=True)
            try:
                if not begun:
                    self._send(_message(assignment))
                begun = False
                outcome = self._receive(assignment)
            except (EOFError, OSError):
                lost = self._bury(assignment.batch_id)
                if fresh:  # nobody's fault but its own: a second try would end the same way
                    return Lost(lost.cause, lost.suspect)
                if not lost.innocent or assignment.revoked:
                    return lost
            else:
                self._served += 1
                self._retire_if_due()
                return outcome

    def kill(self) -> bool:
        """Stop the worker, whatever it does, and the processes that it has started."""
        process = self._process
        if process is not None and process.pid and process.is_alive():
            for pid in [process.pid, *descendants(process.pid)]:
                _kill(pid)
        return True

    def abandon(self, batch_id: int, position: int, error: BaseException) -> None:
        """Worker processes are stopped instead: see `kill`."""

    def end(self) -> None:
        """Say so and hang up, so that the worker ends; kill it if it does not."""
        self._end()

    def _end(self) -> bool:
        """The same; whether it had to be killed."""
        process = self._process
        if process is None:
            return False
        with suppress(OSError):  # it has died
            self._send(b"")
        self._hang_up()
        process.join(_GRACE)
        stays = process.exitcode is None
        if stays:
            self.kill()
            process.join(_GRACE)
        self._process = None
        return stays

    def forsake(self) -> None:
        """Let go, in a forked child, of the parent's worker."""
        self._hang_up()
        self._process = None

    def _start(self) -> None:
        from multiprocessing import Pipe  # not at the top: it may be missing, where nobody starts workers
        from multiprocessing import process as multiprocessing_process

        self._seat.clear()
        with _birth, staying_here():  # one after the other: forked workers inherit whatever is open
            ours, theirs = Pipe()
            try:
                process = self._spawn(theirs, self._seat)
                with _no_interrupts():
                    process.start()
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
            # Ours to reap: at exit nobody else shall wait for it, nor a forked child end it.
            multiprocessing_process._children.discard(process)  # type: ignore[attr-defined]  # noqa: SLF001
        self._connection, self._served = ours, 0
        self._process = process
        log.debug("worker %s started", process.pid)

    def _send(self, message: bytes) -> None:
        assert self._connection is not None
        self._connection.send_bytes(message)

    def _receive(self, assignment: Assignment) -> Reply | Lost:
        assert self._connection is not None
        try:
            while True:
                message = pickle.loads(self._connection.recv_bytes())
                if isinstance(message, dict):
                    replay(message)
                elif message is None:
                    self._send(pickle.dumps(_answered(assignment), PROTOCOL))
                else:
                    return message  # type: ignore[no-any-return]  # a worker sends no fourth kind of message
        except (EOFError, OSError):
            raise
        except BaseException:  # what it says next would be taken for an answer to the next batch
            self.kill()
            self.end()
            raise

    def _bury(self, batch_id: int) -> Lost:
        """Reap a worker that is gone, and say what it was doing."""
        process = self._process
        assert process is not None
        pid = process.pid
        stayed = self._end()
        last = self._seat.last()
        began = last is not None and last[0] == batch_id
        how, causes = fate(process.exitcode, stayed=stayed)
        text = f"a worker (process {pid}) {how}"
        log.debug("%s", text)
        if not began:
            return Lost(WorkerLost(f"{text} before it ran anything", causes), innocent=True)
        assert last is not None
        if last[1] is None:
            text += " while it sent results back"
        return Lost(WorkerLost(text, causes), last[1])

    def _retire_if_due(self) -> None:
        process, recycling = self._process, self._recycling
        assert process is not None
        if recycling.batches is not None and self._served >= recycling.batches:
            self.end()
        elif recycling.growth is not None:
            size = resident_memory(process.pid or 0)
            if self._served == 1:
                self._size_at_first = size
            elif size - self._size_at_first > recycling.growth:
                grown = (size - self._size_at_first) >> 20
                log.info("worker %s is replaced: it has grown by %d MiB", process.pid, grown)
                self.end()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _answered(assignment: Assignment) -> Any:
    """What a worker asks for in the middle of a batch; None, with which it can go on, where that fails."""
    answer = assignment.work.answer
    try:
        return None if answer is None else answer()
    except Exception:  # it waits, and would take the next batch for its answer
        log.warning("large results of a batch are pickled", exc_info=True)
        return None


def _size(assignment: Assignment) -> int:
    """Bytes of its message, roughly: without pickling it."""
    return sum(len(part) for part in assignment.work.payload if isinstance(part, bytes))


def _message(assignment: Assignment) -> bytes:
    return pickle.dumps((assignment.work.run, assignment.work.payload), PROTOCOL)


def start_helpers(start_method: str) -> None:
    """Start the standard library's own processes, which let interrupts through again."""
    if sys.platform == "win32":
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    if start_method == "forkserver":
        from multiprocessing import forkserver

        try:
            forkserver.ensure_running()
        except ChildProcessError:  # this process was forked: the server is its parent's
            forkserver._forkserver._forkserver_pid = None  # type: ignore[attr-defined]  # noqa: SLF001
            forkserver.ensure_running()


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """A process that is started within can't be hit by Ctrl-C until it says so itself."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
