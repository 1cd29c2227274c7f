"""Loops in loops over BLAS: what parallelcfg makes of them, next to assignments by hand."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import joblib
import numpy as np
from loky import ProcessPoolExecutor

import parallelcfg
from benchmarks.harness import Workload

JOBS = 2
OUTER, INNER, SIDE = 4, 4, 1_000

BLAS_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

#: (processes, threads in each, BLAS threads in each of these): what makes sense on two CPUs, and a bit more.
BY_HAND = [(2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 1), (2, 1, 2)]


@cache
def matrix() -> np.ndarray:
    """The same in every process, and made once in each."""
    return np.random.default_rng(0).random((SIDE, SIDE))


def product(factor: int) -> float:
    return float((matrix() @ (matrix() * factor))[0, 0])


def ours(start: int) -> list[float]:
    return parallelcfg.Parallel(n_jobs=-1)(parallelcfg.delayed(product)(start + i) for i in range(INNER))


def joblibs(start: int) -> list[float]:
    return joblib.Parallel(n_jobs=-1)(joblib.delayed(product)(start + i) for i in range(INNER))


def by_hand(threads: int, start: int) -> list[float]:
    numbers = range(start, start + INNER)
    if threads == 1:
        return [product(number) for number in numbers]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(product, numbers))


class HandTuned:
    """A pool of processes for each assignment, with the variables that limit its BLAS."""

    def __init__(self) -> None:
        self._pools = {
            (processes, threads, blas): ProcessPoolExecutor(
                processes, env={**os.environ, **dict.fromkeys(BLAS_VARIABLES, str(blas))}
            )
            for processes, threads, blas in BY_HAND
        }

    def run(self, assignment: tuple[int, int, int]) -> None:
        list(self._pools[assignment].map(partial(by_hand, assignment[1]), range(OUTER)))

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown()


def nested_loops(hand_tuned: HandTuned) -> list[Workload]:
    def with_package(package, inner) -> None:
        package.Parallel(n_jobs=JOBS)(package.delayed(inner)(start) for start in range(OUTER))

    contenders = {
        "parallelcfg": partial(with_package, parallelcfg, ours),
        "joblib": partial(with_package, joblib, joblibs),
    }
    goals = {"joblib": 1.0}
    for assignment in BY_HAND:
        name = "{} processes x {} threads x {} of BLAS".format(*assignment)
        contenders[name] = partial(hand_tuned.run, assignment)
        goals[name] = 1.1  # of each: the best one among them
    amount = f"{OUTER} x {INNER} products of {SIDE:,} x {SIDE:,}"
    return [Workload(f"nested loops, {amount}", "s", contenders, rounds=28, goals=goals)]
