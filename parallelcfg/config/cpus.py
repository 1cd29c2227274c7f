"""How many CPUs this process may use, and how a call shares them among its workers.

::

    machine, affinity ───────┐
    cgroup quotas ───────────┤
    LOKY_MAX_CPU_COUNT ──────┼─ smallest ─> available_cpus() ─┐
    Slurm, SGE, LSF, PBS ────┘                                ├─> cpu_count()
                             budget of the surrounding task ──┘

Inside a task the budget that came with it is the answer, so that nested loops share CPUs and never multiply.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from parallelcfg.config.context import current_scope
from parallelcfg.config.cpureport import CEILING, SCHEDULERS, CpuReport, Readings, report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from parallelcfg.config.cgroups import Quota

__all__ = ["available_cpus", "cpu_count", "split_budget"]

_REREAD_SECONDS = 1.0  # a quota may be resized while the program runs, but reading files takes 0.2 ms


def cpu_count(only_physical_cores: bool = False) -> int:
    """How many CPUs may be used here.

    Inside a task this is the task's budget: its share of the CPUs of the call that runs it. Elsewhere it is
    the smallest of the limits that `available_cpus` lists.

    Parameters
    ----------
    only_physical_cores : bool, default False
        Count the hardware threads of one core once.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ConfigError
        If ``LOKY_MAX_CPU_COUNT`` is set to something other than a whole number of at least 1.

    Examples
    --------
    >>> cpu_count() >= cpu_count(only_physical_cores=True) >= 1
    True
    """
    scope = current_scope()
    if scope is None:
        return available_cpus(only_physical_cores).count
    if only_physical_cores:
        return min(scope.cpus, _physical_cores(_affinity(), "/") or scope.cpus)
    return scope.cpus


def available_cpus(
    only_physical_cores: bool = False,
    *,
    environ: Mapping[str, str] = os.environ,
    affinity: Callable[[], frozenset[int] | None] | None = None,
    machine: Callable[[], int | None] | None = None,
    root: str | None = None,
) -> CpuReport:
    """Every limit on the CPUs of this process, whatever task surrounds the caller.

    Parameters
    ----------
    only_physical_cores : bool, default False
        Count the hardware threads of one core once.
    environ : mapping, optional
        The environment variables. This and the following are for tests and for what-if questions.
    affinity : callable, optional
        Gives the numbers of the CPUs that the process may run on, or None where the system can't say.
    machine : callable, optional
        Gives the number of CPUs of the machine, or None.
    root : str, optional
        The folder that has ``proc`` and ``sys``.

    Returns
    -------
    CpuReport
        Has the ``count``, the limit that ``decided``, and a readable text form.

    Raises
    ------
    ConfigError
        If ``LOKY_MAX_CPU_COUNT`` is set to something other than a whole number of at least 1.

    Examples
    --------
    >>> available_cpus(environ={"NSLOTS": "1"}, affinity=lambda: frozenset({0, 1})).count
    1
    """
    allowed = (affinity or _affinity)()
    if root is None and machine is None:
        known = _remembered_machine()
    else:
        known = _read_machine(root or "/", machine or os.cpu_count)
    ceiling, *grants = _texts(environ)
    return report(
        Readings(
            machine=known.cpus,
            affinity=None if allowed is None else len(allowed),
            cores=_physical_cores(allowed, root or "/") if only_physical_cores else None,
            quotas=known.quotas,
            ceiling=ceiling,
            grants=tuple(grants),
        )
    )


def split_budget(cpus: int, workers: int) -> tuple[int, ...]:
    """Share CPUs among workers: nobody gets less than one, the remainder goes to the first ones.

    Parameters
    ----------
    cpus : int
        The caller's budget.
    workers : int
        How many share it; at least 1.

    Returns
    -------
    tuple of int
        One budget for each worker.

    Examples
    --------
    >>> split_budget(10, 4)
    (3, 3, 2, 2)
    >>> split_budget(2, 3)
    (1, 1, 1)
    """
    share, extra = divmod(max(cpus, workers), workers)
    return (share + 1,) * extra + (share,) * (workers - extra)


_VARIABLES = (CEILING, *SCHEDULERS)
_ENCODED = tuple(map(os.fsencode, _VARIABLES))


def _texts(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The variables' values, empty where unset."""
    # What is below `os.environ` on POSIX tells in a tenth of the time that, as mostly, none is set
    raw = getattr(environ, "_data", None)
    if isinstance(raw, dict) and os.name == "posix" and not any(map(raw.__contains__, _ENCODED)):
        return ("",) * len(_VARIABLES)
    return tuple([environ.get(name, "") for name in _VARIABLES])


class _Machine(NamedTuple):
    """What is slow to find and seldom changes."""

    cpus: int | None
    quotas: tuple[Quota, ...]


_remembered: tuple[float, _Machine] | None = None


def _remembered_machine() -> _Machine:
    global _remembered  # noqa: PLW0603 - a cache of one value; a race costs one reading more
    now = monotonic()
    last = _remembered
    if last is None or now - last[0] > _REREAD_SECONDS:
        _remembered = last = (now, _read_machine("/", os.cpu_count))
    return last[1]


def _read_machine(root: str, machine: Callable[[], int | None]) -> _Machine:
    from pathlib import Path

    from parallelcfg.config.cgroups import quotas  # not at the top: a worker has its budget and never looks

    return _Machine(machine(), tuple(quotas(Path(root))))


def _affinity() -> frozenset[int] | None:
    getter = getattr(os, "sched_getaffinity", None)  # Linux and FreeBSD have it
    try:
        return None if getter is None else frozenset(getter(0))
    except (OSError, NotImplementedError):  # declared, but refused by this kernel or interpreter
        return None


def _physical_cores(allowed: frozenset[int] | None, root: str) -> int | None:
    """How many cores the allowed CPUs sit on; None where unknown."""
    if sys.platform != "linux":
        return _foreign_cores()
    return None if allowed is None else _linux_cores(allowed, root)


def _foreign_cores() -> int | None:
    if os.environ.get(CEILING) == "":
        return None  # loky would take the empty string for a number and fail
    from loky import cpu_count as loky_cpu_count

    return int(loky_cpu_count(only_physical_cores=True))


@lru_cache(maxsize=8)
def _linux_cores(allowed: frozenset[int], root: str) -> int | None:
    from pathlib import Path

    folder = Path(root, "sys/devices/system/cpu")
    try:
        return len({(folder / f"cpu{cpu}/topology/thread_siblings_list").read_bytes() for cpu in allowed})
    except OSError:
        return None  # a container may hide the topology: logical CPUs count then
