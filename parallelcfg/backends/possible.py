"""What this interpreter can start: processes, threads, neither. What can't change is asked once."""

from __future__ import annotations

import os
import sys
import threading
from functools import cache

__all__ = ["is_daemon", "no_processes", "no_threads"]

_WEBASSEMBLY = frozenset({"emscripten", "wasi"})
_SEMAPHORE = 1  # the kind, as `multiprocessing.synchronize` numbers them


def no_processes(backend: object) -> str:
    """Why worker processes of a backend can't be had here; empty where they can."""
    return _ending() or _no_processes_at_all() or _no_interpreter(backend)


@cache
def _no_processes_at_all() -> str:
    """Why this system has none.

    Some interpreters are built without `multiprocessing`, and some systems (a phone's, a cloud function's)
    refuse the semaphores that it stands on. Only trying tells.
    """
    if sys.platform in _WEBASSEMBLY:
        return "WebAssembly has no processes"
    try:
        import multiprocessing  # noqa: F401 - is it there?
        from _multiprocessing import SemLock  # type: ignore[import-not-found]  # no stub has it
    except ImportError as error:
        return f"multiprocessing is missing here ({error})"
    try:
        SemLock(_SEMAPHORE, 0, 1, f"/parallelcfg-{os.urandom(8).hex()}", True)  # unlinked at once
    except OSError as error:
        return f"this system gives multiprocessing no semaphores ({error})"
    return ""


def _no_interpreter(backend: object) -> str:
    """Whether nobody knows what to start: a program that embeds Python may have to say it.

    The standard library can be told, and knows what `sys` said when it was imported. loky asks both.
    """
    get_executable = getattr(sys.modules.get("multiprocessing.spawn"), "get_executable", None)
    known = sys.executable if get_executable is None else get_executable()
    if known and (sys.executable or backend != "loky"):
        return ""
    return "no Python to start is known: set sys.executable, and call multiprocessing.set_executable with it"


def no_threads() -> str:
    """Why threads can't be started here; empty where they can."""
    return _ending() or _no_threads_at_all()


def _ending() -> str:
    """Whether exit handlers run, in which newer interpreters start neither threads nor processes."""
    return "" if threading.main_thread().is_alive() else "the interpreter is shutting down"


@cache
def _no_threads_at_all() -> str:
    if sys.platform in _WEBASSEMBLY:  # builds with threads exist
        try:
            threading.Thread(target=int, daemon=True).start()
        except RuntimeError:
            return "this build of Python starts no threads"
    return ""


def is_daemon() -> bool:
    """Whether this process is a daemon of `multiprocessing`, which may have no children."""
    current_process = getattr(sys.modules.get("multiprocessing.process"), "current_process", None)
    return current_process is not None and current_process().daemon
