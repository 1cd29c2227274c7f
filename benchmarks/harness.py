"""Interleaved measurements: every contender of a workload runs once per round, in another order each time.

So a machine whose speed drifts slows all of them alike; and everybody comes equally often after the one that
leaves threads spinning or memory in a mess. What is reported are medians, and their ratios.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
from dataclasses import dataclass, field
from importlib.metadata import version
from time import perf_counter, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ("parallelcfg", "joblib", "loky", "numpy", "pydantic")

#: Seconds between two rounds: whatever the last contender left running ends, so the next comes after nobody.
_PAUSE = 0.3


@dataclass
class Workload:
    """Contenders that do the same work.

    Parameters
    ----------
    name : str
        What is measured.
    unit : str
        Unit of the figures: ``"s"``, ``"ms"``, ``"us"``, ``"tasks/s"`` or ``"share of ideal"``.
    amount : float
        Tasks per run (for rates), or seconds of an ideal run (for shares).
    contenders : dict of str to callable
        Each does the work once; parallelcfg's own comes first. A contender may return the seconds that it
        took, where it measures them itself (in a process of its own, for example).
    rounds : int
        Measured rounds, after one that is not counted.
    goals : dict of str to float
        What our figure must be, as a multiple of that contender's.
    limit : float, optional
        What our figure may be at the most, in the workload's unit.
    """

    name: str
    unit: str
    contenders: dict[str, Callable[[], float | None]]
    amount: float = 1.0
    rounds: int = 7
    goals: dict[str, float] = field(default_factory=dict)
    limit: float | None = None

    @property
    def more_is_better(self) -> bool:
        return self.unit in {"tasks/s", "share of ideal"}


def measure(workload: Workload, rounds: int) -> dict[str, list[float]]:
    """Figures of each contender, one per round, in the workload's unit."""
    seconds: dict[str, list[float]] = {name: [] for name in workload.contenders}
    for turn, order in enumerate(balanced_orders(list(workload.contenders), rounds + 1)):
        sleep(_PAUSE)
        for name in order:
            run = workload.contenders[name]
            gc.collect()
            began = perf_counter()
            reported = run()
            took = perf_counter() - began if reported is None else reported
            if turn:
                seconds[name].append(took)
    return {name: [_figure(workload, took) for took in all_of] for name, all_of in seconds.items()}


def balanced_orders(names: list[str], rounds: int) -> list[list[str]]:
    """Orders in which everybody comes equally often in each place, and after each of the others.

    The design is that of E. J. Williams, "Experimental designs balanced for the estimation of residual
    effects of treatments" (Australian Journal of Scientific Research A 2, 1949). It is complete after as many
    rounds as there are names, twice as many where their number is odd.

    Examples
    --------
    >>> balanced_orders(["a", "b", "c", "d"], rounds=4)
    [['a', 'b', 'd', 'c'], ['b', 'c', 'a', 'd'], ['c', 'd', 'b', 'a'], ['d', 'a', 'c', 'b']]
    """
    count = len(names)
    zigzag = [(place + 1) // 2 * (-1) ** (place + 1) for place in range(count)]
    rows = [[names[(start + step) % count] for step in zigzag] for start in range(count)]
    if count % 2:
        rows = [row for pair in rows for row in (pair, pair[::-1])]
    return [rows[turn % len(rows)] for turn in range(rounds)]


def _figure(workload: Workload, seconds: float) -> float:
    match workload.unit:
        case "ms":
            return seconds * 1e3
        case "us":
            return seconds * 1e6
        case "tasks/s" | "share of ideal":
            return workload.amount / seconds
        case _:
            return seconds


def summary(workload: Workload, figures: dict[str, list[float]]) -> dict[str, object]:
    """Medians, and our median as a multiple of every other's."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    ours = next(iter(medians.values()))
    return {
        "workload": workload.name,
        "unit": workload.unit,
        "medians": medians,
        "ratios": {name: ours / median for name, median in list(medians.items())[1:]},
        "goals": workload.goals,
        "limit": workload.limit,
        "within": workload.limit is None or ours <= workload.limit,
        "met": {
            name: (ours / medians[name] >= goal)
            if workload.more_is_better
            else (ours / medians[name] <= goal)
            for name, goal in workload.goals.items()
        },
        "rounds": {name: [float(f"{value:.5g}") for value in values] for name, values in figures.items()},
    }


def machine() -> dict[str, object]:
    """On what the figures were taken."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        **{package: version(package) for package in PACKAGES},
    }
