"""What limits the number of CPUs, judged: raw readings in, a report with every limit out. Pure."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from parallelcfg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from parallelcfg.config.cgroups import Quota

__all__ = ["CEILING", "SCHEDULERS", "CpuReport", "Limit", "Readings", "report"]

#: The user's own ceiling, a variable that loky and joblib know too.
CEILING = "LOKY_MAX_CPU_COUNT"

#: Variables in which batch schedulers tell a job how many CPUs it was granted.
SCHEDULERS = {
    "SLURM_CPUS_PER_TASK": "Slurm",
    "NSLOTS": "Grid Engine",
    "LSB_DJOB_NUMPROC": "LSF",
    "NCPUS": "PBS",
}


class Limit(NamedTuple):
    """One of the limits on the number of CPUs.

    Parameters
    ----------
    name : str
        What kind of limit it is.
    value : int or None
        The number of CPUs; None where this limit is not set.
    place : str
        Where it was read: a function, a file or an environment variable.
    note : str
        The raw setting, or why it was ignored.
    """

    name: str
    value: int | None
    place: str
    note: str = ""


class CpuReport:
    """The number of CPUs that this process may use, with every limit that was looked at.

    Parameters
    ----------
    limits : tuple of Limit
        From the machine inwards.

    Attributes
    ----------
    decided : Limit
        The limit that decided: the smallest, and of equal ones the first.

    Examples
    --------
    >>> report = CpuReport((Limit("machine", 8, "os.cpu_count()"), Limit("Slurm", 3, "SLURM_CPUS_PER_TASK")))
    >>> report.count, report.decided.name
    (3, 'Slurm')
    >>> print(report)
    3 CPUs, decided by SLURM_CPUS_PER_TASK
      machine    8  os.cpu_count()
      Slurm      3  SLURM_CPUS_PER_TASK
    """

    def __init__(self, limits: tuple[Limit, ...]) -> None:
        self.limits = limits
        # Once, because `count` is asked for at every call
        self.decided = min(limits, key=lambda limit: sys.maxsize if limit.value is None else limit.value)

    @property
    def count(self) -> int:
        """The number of CPUs, never below 1."""
        return self.decided.value or 1

    def __str__(self) -> str:
        noun = "CPU" if self.count == 1 else "CPUs"
        width = max(len(limit.name) for limit in self.limits)
        lines = [f"{self.count} {noun}, decided by {self.decided.place}"]
        for limit in self.limits:
            value = "-" if limit.value is None else str(limit.value)
            note = f" ({limit.note})" if limit.note else ""
            lines.append(f"  {limit.name:<{width}}  {value:>3}  {limit.place}{note}")
        return "\n".join(lines)


class Readings(NamedTuple):
    """What was found, not yet judged: the key under which a report is remembered.

    Parameters
    ----------
    machine, affinity : int or None
        CPUs of the machine, and those that the process may run on.
    cores : int or None
        Physical cores; None where they don't count.
    quotas : tuple of Quota
        Of all control groups around the process.
    ceiling : str
        Value of ``LOKY_MAX_CPU_COUNT``; empty where unset.
    grants : tuple of str
        Values of the variables of `SCHEDULERS`, in their order.
    """

    machine: int | None
    affinity: int | None
    cores: int | None
    quotas: tuple[Quota, ...]
    ceiling: str
    grants: tuple[str, ...]


@lru_cache(maxsize=64)
def report(readings: Readings) -> CpuReport:
    """Judge the readings.

    Parameters
    ----------
    readings : Readings
        What was found.

    Returns
    -------
    CpuReport
        With one limit for each reading, unset ones included.

    Raises
    ------
    ConfigError
        If ``LOKY_MAX_CPU_COUNT`` is set to something other than a whole number of at least 1.
    """
    limits = [
        Limit("machine", readings.machine, "os.cpu_count()"),
        Limit("affinity", readings.affinity, "os.sched_getaffinity()"),
    ]
    if readings.cores is not None:
        limits.append(Limit("physical cores", readings.cores, "/sys/devices/system/cpu"))
    limits += [
        Limit(f"cgroup v{q.version} quota", q.cpus, q.file, f"{q.quota} µs in every {q.period} µs")
        for q in readings.quotas
    ]
    limits.append(_ceiling(readings.ceiling))
    limits += [_grant(name, text) for name, text in zip(SCHEDULERS, readings.grants, strict=True)]
    return CpuReport(tuple(limits))


def _ceiling(text: str) -> Limit:
    value = _positive(text)
    if text.strip() and value is None:
        problem = Problem(
            "expected a whole number of at least 1",
            layer="environment",
            place=f"environment variable {CEILING}={text!r}",
            value=repr(text),
            suggestion="correct or unset it",
        )
        raise ConfigError([problem])
    return Limit("ceiling", value, CEILING)


def _grant(variable: str, text: str) -> Limit:
    # Nonsense is passed over here: the user did not write a scheduler's variable and can't mend it.
    value = _positive(text)
    note = f"ignored: {text!r} is no number of CPUs" if text.strip() and value is None else ""
    return Limit(SCHEDULERS[variable], value, variable, note)


def _positive(text: str) -> int | None:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):  # noqa: PLR2004 - a billion CPUs
        return None
    return int(digits) or None
