"""Workloads of the transport: large arguments and results, next to plain writing of the same bytes."""

from __future__ import annotations

import os
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import joblib
import numpy as np
from loky import get_reusable_executor

import parallelcfg
from benchmarks.harness import Workload

JOBS = 2
COUNT = 40
LENGTH = 5_000_000  # 40 MB


def _first(array) -> float:
    return float(array[0])


def _total(array) -> float:
    return float(array.sum())


def _filled(value: int):
    return np.full(LENGTH, value, float)


def _with(package, function, arguments, **keys) -> list:
    return package.Parallel(n_jobs=JOBS, **keys)(package.delayed(function)(x) for x in arguments)


def _loky(function, arguments) -> list:
    executor = get_reusable_executor(max_workers=JOBS)
    return [future.result() for future in [executor.submit(function, x) for x in arguments]]


def _pool(pool, function, arguments) -> list:
    return pool.map(function, arguments, chunksize=1)


def _timed(call, arguments) -> float:
    """Seconds of a call, without those for making and freeing what goes in and out of it."""
    began = perf_counter()
    results = call(arguments)
    took = perf_counter() - began
    del results
    return took


def _write_files(arrays) -> None:
    """What sharing costs at least: the bytes of each array written into a file there."""
    name = Path(f"/dev/shm/benchmark-{os.getpid()}")
    for array in arrays:
        with name.open("xb", buffering=0) as file:
            file.write(array.data)
        name.unlink()


def workloads() -> list[Workload]:
    """Distinct arguments, one argument for many tasks, results, and many small calls."""
    pool = get_context("forkserver").Pool(JOBS)
    return [*_arguments(pool), *_results(pool), _calls()]


def _arguments(pool) -> list[Workload]:
    distinct = [np.random.default_rng(number).random(LENGTH) for number in range(COUNT)]
    one = [np.ones(10 * LENGTH)] * 100

    def contenders(function, arrays, others):
        return {
            "parallelcfg": lambda: _timed(lambda a: _with(parallelcfg, function, a), arrays),
            "joblib": lambda: _timed(lambda a: _with(joblib, function, a), arrays),
            **others,
        }

    plain = {
        "file": lambda: _timed(_write_files, distinct),
        "loky": lambda: _timed(lambda a: _loky(_first, a), distinct),
        "multiprocessing": lambda: _timed(lambda a: _pool(pool, _first, a), distinct),
    }
    return [
        Workload(
            "40 arguments of 40 MB", "s", contenders(_first, distinct, plain), rounds=5,
            goals={"joblib": 1 / 1.5, "file": 1 / 0.8},
        ),
        Workload(
            "one argument of 400 MB, 100 tasks", "s", contenders(_total, one, {}), rounds=5,
            goals={"joblib": 0.7},
        ),
    ]  # fmt: skip


def _results(pool) -> list[Workload]:
    values = range(COUNT)
    contenders = {
        "parallelcfg": lambda: _timed(lambda v: _with(parallelcfg, _filled, v), values),
        "joblib": lambda: _timed(lambda v: _with(joblib, _filled, v), values),
        "loky": lambda: _timed(lambda v: _loky(_filled, v), values),
        "multiprocessing": lambda: _timed(lambda v: _pool(pool, _filled, v), values),
    }
    return [Workload("40 results of 40 MB", "s", contenders, rounds=5, goals={"joblib": 1 / 8})]


def _calls() -> Workload:
    array = np.ones(250_000)

    def many(package, times: int = 10):
        def run() -> float:
            began = perf_counter()
            for _ in range(times):
                _with(package, _first, [array] * 2)
            return (perf_counter() - began) / times

        return run

    contenders = {"parallelcfg": many(parallelcfg), "joblib": many(joblib)}
    return Workload("call with an argument of 2 MB", "ms", contenders, rounds=5)
