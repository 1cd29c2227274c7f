"""What ends a program without a word, batch schedulers' SIGTERM above all, leaves its trace behind too.

Only a program whose calls are traced gets the handler, and only where it has none of its own: signals belong
to programs, not to libraries.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from contextlib import suppress

from parallelcfg.report.trace import write_kept
from parallelcfg.transport.arena import discard_all

__all__ = ["write_when_terminated"]

#: Seconds for the file; schedulers wait ten and more before they kill.
_PATIENCE = 5.0


def write_when_terminated() -> None:
    """Write the trace before SIGTERM, or the SIGHUP of a closed terminal, ends this program.

    Has an effect in the main thread, which alone may set handlers.
    """
    if sys.platform in {"win32", "emscripten"} or threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            with suppress(ValueError):  # a subinterpreter
                signal.signal(number, _end)


def _end(number: int, _: object) -> None:
    """Write, then die of the signal after all: whoever sent it looks at the exit status.

    In a thread that is waited for so long and no longer: the main thread may have been interrupted with a
    lock in its hands. Not `threading.Thread`, whose start takes one itself.
    """
    signal.signal(number, lambda *_: None)  # `timeout` and others send it to a process and then to its group
    deadly = os.getpid() != 1  # the first process of a container outlives a signal that it has no handler for
    done = _thread.allocate_lock()
    done.acquire()

    def last() -> None:
        try:
            write_kept()
            if deadly:  # workers that heard the signal too may be gone before this process is
                discard_all()
        finally:
            done.release()

    _thread.start_new_thread(last, ())
    done.acquire(timeout=_PATIENCE)
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    signal.signal(number, _end)


def _forget() -> None:
    """A forked child has no trace to write."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is _end:
            signal.signal(number, signal.SIG_DFL)


if sys.platform not in {"win32", "emscripten"}:
    os.register_at_fork(after_in_child=_forget)
