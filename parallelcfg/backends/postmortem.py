"""Why a worker is gone: its exit code, and what memory has to do with it."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from parallelcfg.errors import WorkerLost
from parallelcfg.workerprocess import IMPORTING_MAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["descendants", "fate", "how_it_ended", "likely_causes", "not_started", "resident_memory"]

_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # version 1 says so by a very large number
_CLOSED = "something closed its file descriptors, as code that makes a daemon does, or called os._exit"
_PAGE = 4096 if sys.platform in {"win32", "emscripten"} else os.sysconf("SC_PAGE_SIZE")


def not_started(error: Exception) -> WorkerLost:
    """What to say where a worker can't be started: what the system refused, if that is behind the error."""
    refused: BaseException | None = error
    while refused is not None and not isinstance(refused, OSError):
        refused = refused.__cause__ or refused.__context__
    few = refused is not None and refused.errno in {errno.EMFILE, errno.ENFILE}
    causes = "ulimit -n says how many files may be open at a time" if few else ""
    lost = WorkerLost(f"no worker could be started: {refused or error}", causes)
    lost.__cause__ = error
    return lost


def fate(exitcode: int | None, *, stayed: bool) -> tuple[str, str]:
    """How a worker ended whose connection was closed, and what usually stands behind that.

    Parameters
    ----------
    exitcode : int or None
        As in `how_it_ended`.
    stayed : bool
        It did not end, and was killed for that.
    """
    if stayed:
        return "closed its connection and did not end", _CLOSED
    return how_it_ended(exitcode), likely_causes(exitcode)


def how_it_ended(exitcode: int | None) -> str:
    """What an exit code says.

    Parameters
    ----------
    exitcode : int or None
        As `multiprocessing.Process` has it: negative for a signal; None where nobody knows.

    Examples
    --------
    >>> how_it_ended(3)
    'ended with exit code 3'
    """
    if exitcode is None:
        return "ended"
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    try:
        return f"was killed by {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"was killed by signal {-exitcode}"


def likely_causes(exitcode: int | None) -> str:
    """What usually stands behind such an end, and where to look."""
    if exitcode == IMPORTING_MAIN:
        return (
            "the main module runs Parallel while a worker imports it: put what it shall do once under "
            "if __name__ == '__main__':"
        )
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if exitcode == 1 and main is not None and not Path(main).exists():
        return (
            f"the standard library's workers import the main module, and there is no file {main}: "
            "backend='loky' and start_method='fork' do without"
        )
    if exitcode is None or exitcode >= 0:
        failed = "something called os._exit, or its start failed: see its messages on stderr"
        return _CLOSED if exitcode == 0 else failed
    name = how_it_ended(exitcode).rpartition(" ")[2]
    if name in {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"}:
        return "a crash in compiled code: its traceback is on stderr"
    if name in {"SIGKILL", "9"}:
        return f"most often the system's out-of-memory killer ({memory()})"
    return "something sent it this signal"


def memory() -> str:
    """How much memory there is, for this process's control group and for the machine."""
    parts = []
    group = min(_groups(), default=None)
    if group is not None:
        parts.append(f"control group: {_size(group.used)} of {_size(group.limit)} in use")
        if group.kills:
            times = "once" if group.kills == 1 else f"{group.kills} times"
            parts.append(f"its out-of-memory killer has struck {times}")
    machine = {line.split()[0]: int(line.split()[1]) << 10 for line in _lines("/proc/meminfo")[:3]}
    if len(machine) == 3:  # noqa: PLR2004 - total, free and available memory
        parts.append(f"machine: {_size(machine['MemAvailable:'])} of {_size(machine['MemTotal:'])} available")
    parts.append(f"largest worker so far: {_size(_largest_child())}")
    return "; ".join(parts)


def resident_memory(pid: int) -> int:
    """Bytes of memory that a process has now; 0 where the system does not tell."""
    fields = "".join(_lines(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * _PAGE if fields else 0


def descendants(pid: int) -> list[int]:
    """The processes below a process, as far as the system tells."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:  # it has just ended
        return []
    lists = ("".join(_lines(str(thread / "children"))) for thread in threads)
    children = [int(child) for children in lists for child in children.split()]
    return children + [process for child in children for process in descendants(child)]


class _Group(NamedTuple):
    """What a control group says of memory. The tightest one is the least."""

    limit: int
    used: int
    kills: int


def _groups() -> Iterator[_Group]:
    """The control groups with a limit that this process is in, of either version, from its own outwards."""
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            top, limit, used, events = _CGROUPS, "memory.max", "memory.current", "memory.events"
        elif "memory" in controllers.split(","):
            top, limit, used = _CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            events = "memory.oom_control"
        else:
            continue
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            numbers = [_lines(str(folder / file))[:1] for file in (limit, used)]
            if all(found and found[0].isdigit() for found in numbers) and int(numbers[0][0]) < _UNLIMITED:
                kills = [line.split()[1] for line in _lines(str(folder / events)) if "oom_kill " in line]
                yield _Group(int(numbers[0][0]), int(numbers[1][0]), int(kills[0]) if kills else 0)


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []


def _largest_child() -> int:
    if sys.platform == "win32":
        return 0
    from resource import RUSAGE_CHILDREN, getrusage

    return getrusage(RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _size(number: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:  # noqa: PLR2004 - the step between units
            return f"{number:.0f} {unit}"
        number /= 1024  # type: ignore[assignment]  # exact enough for people
    return f"{number:.1f} GiB"
