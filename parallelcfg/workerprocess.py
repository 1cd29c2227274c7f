"""A worker process from birth to end: it serves batches until its parent hangs up or dies.

::

    parent ── (function, payload) ──▶ serve ──▶ Reply or Lost ──▶ parent
                                       │└─────── log records ───▶ parent
                                       └──────── None, to ask ──▶ parent ── answer ──▶ serve

One connection joins each worker with the thread of the parent that drives it. Nothing is shared with other
workers, so that a worker may die at any moment, in the middle of a message too, and disturbs nobody.

The parent's death is noticed by a thread that waits for just that, whatever the worker is doing.
"""

from __future__ import annotations

import faulthandler
import io
import os
import pickle
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from parallelcfg import heap, worker
from parallelcfg.core.outcome import Lost
from parallelcfg.errors import WorkerLost
from parallelcfg.transport import load
from parallelcfg.transport.failures import message, pack_exception
from parallelcfg.transport.pickling import PROTOCOL

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from parallelcfg.transport.board import Seat

__all__ = ["IMPORTING_MAIN", "Birth", "main"]

#: Exit code of a process that found itself importing the user's main module, which has no guard.
IMPORTING_MAIN = 67

#: Seconds without work after which a worker keeps nothing of the last call mapped, and no free memory.
_LINGER = 0.2

#: Seconds that a worker outlives a signal which may have ended its parent too.
_GRACE = 0.3

#: Seconds that a worker waits for the end of a parent that is gone without a word.
_LAST = 2.0


class Birth(NamedTuple):
    """What a worker is born with.

    Parameters
    ----------
    seat : Seat
        Where it notes what it runs, for its parent to see.
    env : dict of str to str
        Environment variables, where the process could not be started with them.
    setup : bytes
        The user's initializer and its arguments, pickled.
    parent : int
        Whose death ends it.
    depth : int
        How many processes are above it.
    places : tuple of str
        Where its parent may have folders, which shall not outlive it.
    """

    seat: Seat
    env: dict[str, str]
    setup: bytes
    parent: int
    depth: int
    places: tuple[str, ...]

    @classmethod
    def here(cls, seat: Seat, env: dict[str, str], setup: bytes) -> Birth:
        """Of a child of this process."""
        from parallelcfg.transport.arena import places  # not at the top: workers have no need of it

        return cls(seat, env, setup, os.getpid(), worker.depth + 1, places())


def main(connection: Connection, birth: Birth) -> None:
    """Be a worker: what its process runs.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
        To the thread that drives this worker.
    birth : Birth
        Everything else.
    """
    os.environ.update(birth.env)
    load.watch(birth.places)
    _leave_interrupts_to_parent()
    _end_after_parent()
    _write_lines()
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=connection.close)  # else a child could outlive us unnoticed
    end = threading.Thread(target=_end_with, args=(birth.parent,), name="parallelcfg-parent", daemon=True)
    end.start()
    if sys.__stderr__ is not None and not faulthandler.is_enabled():
        faulthandler.enable(sys.__stderr__)
    channel = _Channel(connection)
    worker.start(birth.seat, birth.depth, channel.send)
    load.ask_with(channel.ask)
    try:
        initializer, initargs = pickle.loads(birth.setup)
        if initializer is not None:
            initializer(*initargs)
    except BaseException as error:
        cause = WorkerLost(f"the initializer of a worker raised {type(error).__name__}: {message(error)}")
        channel.send(Lost(cause))
        raise SystemExit(1) from error  # the parent says what it was
    if not channel.serve():
        end.join(_LAST)  # a process that is killed closes its connections first, and is dead after that
    _discard_own()


def _write_lines() -> None:
    """Have what tasks print appear in whole lines, at once: workers share a pipe, and may be stopped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)


class _Channel:
    """The worker's end of the connection; log records may be sent by any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, obj: object) -> None:
        self._post(pickle.dumps(obj, PROTOCOL))

    def _post(self, data: bytes) -> None:
        with self._lock:
            self._connection.send_bytes(data)

    def ask(self) -> Any:
        """Ask the parent for what goes with the batch that runs; by the thread that serves."""
        self.send(None)
        return pickle.loads(self._connection.recv_bytes())

    def serve(self) -> bool:
        """Run batches until the parent hangs up; whether it has said so, by an empty message."""
        while True:
            try:
                if (load.holds() or heap.holds()) and not self._connection.poll(_LINGER):
                    load.let_go()
                    heap.let_go()
                request = self._connection.recv_bytes()
            except (EOFError, OSError):
                return False
            if not request:
                return True
            outcome = _answer(request)
            try:
                self._post(outcome)
            except OSError:
                return False
            del request, outcome  # while idle, hold nothing of the user's


def _answer(request: bytes) -> bytes:
    try:
        run, payload = pickle.loads(request)
        return pickle.dumps(run(payload), PROTOCOL)
    except BaseException as error:  # not a task's: those are values already
        return pickle.dumps(Lost(pack_exception(error)[0]), PROTOCOL)


def _leave_interrupts_to_parent() -> None:
    """Ctrl-C reaches all processes of a terminal; the parent alone decides what comes of it.

    A handler, not `signal.SIG_IGN`, which programs that tasks start would inherit.
    """
    signal.signal(signal.SIGINT, lambda *_: None)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked from birth until now


def _end_after_parent() -> None:
    """Outlive the parent for long enough to remove its files, where one signal ends a job as a whole.

    Batch schedulers and service managers send SIGTERM to all processes, a terminal that closes SIGHUP. What
    is ignored (``nohup``) stays ignored. Processes that tasks fork have nothing to linger for.
    """
    if sys.platform == "win32":
        return
    both = signal.SIGTERM, signal.SIGHUP
    ours = [number for number in both if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _end_later)

    def end_at_once() -> None:
        for number in ours:
            if signal.getsignal(number) is _end_later:
                signal.signal(number, signal.SIG_DFL)

    os.register_at_fork(after_in_child=end_at_once)


def _end_later(number: int, _: object) -> None:
    signal.signal(number, lambda *_: None)  # who sends it twice would have us end too early after all
    time.sleep(_GRACE)  # `_end_with` ends this process meanwhile, if the parent has died too
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _end_with(parent: int) -> None:
    """Wait for the parent's end; remove what it has left, and end too, whatever is running."""
    _wait_for(parent)
    load.remove_orphans()
    _discard_own()
    os._exit(1)


def _discard_own() -> None:
    """Remove the folders that tasks have made here: in many workers no exit handler runs."""
    arena = sys.modules.get("parallelcfg.transport.arena")  # without it none was made
    if arena is not None:
        arena.discard_all()


def _wait_for(pid: int) -> None:
    if sys.platform == "win32":
        import _winapi

        synchronize, forever = 0x00100000, 0xFFFFFFFF
        _winapi.WaitForSingleObject(_winapi.OpenProcess(synchronize, False, pid), forever)
        return
    if sys.platform == "linux":
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError:  # a kernel before 5.3, or a sandbox that forbids it
            pass
        else:
            select.select([descriptor], [], [])
            return
    while _exists(pid):
        time.sleep(0.5)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
