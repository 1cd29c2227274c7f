"""Workloads of the engine: latency, throughput, efficiency, cold start, overheads of configuration."""

from __future__ import annotations

import compileall
import random
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import joblib
from loky import get_reusable_executor

import parallelcfg
from benchmarks.harness import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = 2

#: Tasks in a chunk of a map, as in the measurements that the goal was set by.
#: Where all are known to be trivial, a map is fastest in few large chunks, which are measured beside it.
CHUNK = 200


def square(x: int) -> int:
    return x * x


def spin(seconds: float) -> float:
    """Use the CPU for so long."""
    end = process_time() + seconds
    while process_time() < end:
        pass
    return seconds


def _ours(backend: str, function, arguments, **keys) -> list:
    with_settings = parallelcfg.Parallel(n_jobs=JOBS, backend=backend, **keys)
    return with_settings(parallelcfg.delayed(function)(x) for x in arguments)


def _joblib(backend: str, function, arguments) -> list:
    return joblib.Parallel(n_jobs=JOBS, backend=backend)(joblib.delayed(function)(x) for x in arguments)


def _unknown(arguments: list) -> Iterator:
    """The arguments, by an iterator that does not tell how many there are."""
    yield from arguments


def _chunk(function, arguments: list) -> list:
    return [function(x) for x in arguments]


def _loky_map(function, arguments, chunk: int) -> list:
    executor = get_reusable_executor(max_workers=JOBS)
    return list(executor.map(function, arguments, chunksize=chunk))


class Pools:
    """The standard library's pools, warm, as a user would keep them."""

    def __init__(self) -> None:
        self.executor = ProcessPoolExecutor(JOBS, mp_context=get_context("forkserver"))
        self.pool = get_context("forkserver").Pool(JOBS)

    def close(self) -> None:
        self.executor.shutdown()
        self.pool.terminate()
        self.pool.join()


def warm_call(pools: Pools) -> list[Workload]:
    two = range(2)

    def submit_pair() -> None:
        executor = get_reusable_executor(max_workers=JOBS)
        for future in [executor.submit(square, x) for x in two]:
            future.result()

    def many(call, times: int = 20):
        def run() -> float:
            began = perf_counter()
            for _ in range(times):
                call()
            return (perf_counter() - began) / times

        return run

    loky = {
        "parallelcfg": many(partial(_ours, "loky", square, two)),
        "joblib": many(partial(_joblib, "loky", square, two)),
        "executor.submit": many(submit_pair),
        "ProcessPoolExecutor": many(lambda: list(pools.executor.map(square, two))),
    }
    threads = {
        "parallelcfg": many(partial(_ours, "threading", square, two)),
        "joblib": many(partial(_joblib, "threading", square, two)),
    }
    return [
        Workload("warm call of 2 tasks, loky", "ms", loky, goals={"joblib": 1 / 15, "executor.submit": 1.3}),
        Workload("warm call of 2 tasks, threading", "ms", threads, limit=0.15),
    ]


def throughput(pools: Pools) -> list[Workload]:
    found = []
    for count, goal in ((100_000, 4.0), (10_000, 5.0)):
        numbers = range(count)
        largest = count // (JOBS * 4)
        found.append(
            Workload(
                f"{count:,} trivial tasks, loky",
                "tasks/s",
                {
                    "parallelcfg": partial(_discard, _ours, "loky", square, numbers),
                    "joblib": partial(_discard, _joblib, "loky", square, numbers),
                    f"loky map in chunks of {CHUNK}": partial(_discard, _loky_map, square, numbers, CHUNK),
                    "loky map in 8 chunks": partial(_discard, _loky_map, square, numbers, largest),
                    "ProcessPoolExecutor map in 8 chunks": lambda n=numbers, c=largest: _discard(
                        list, pools.executor.map(square, n, chunksize=c)
                    ),
                    "Pool.map in 8 chunks": lambda n=numbers, c=largest: _discard(
                        pools.pool.map, square, n, c
                    ),
                },
                amount=count,
                goals={"joblib": goal, f"loky map in chunks of {CHUNK}": 1.2, "loky map in 8 chunks": 1.2},
            )
        )
    numbers = range(20_000)
    found.append(
        Workload(
            "20,000 trivial tasks, threading",
            "tasks/s",
            {
                "parallelcfg": partial(_discard, _ours, "threading", square, numbers),
                "joblib": partial(_discard, _joblib, "threading", square, numbers),
            },
            amount=len(numbers),
            goals={"joblib": 25},
        )
    )
    numbers = range(100_000)
    found.append(
        Workload(
            "100,000 trivial tasks, multiprocessing",
            "tasks/s",
            {
                "parallelcfg": partial(_discard, _ours, "multiprocessing", square, numbers),
                "joblib": partial(_discard, _joblib, "multiprocessing", square, numbers),
            },
            amount=len(numbers),
            goals={"joblib": 3},
        )
    )

    def comprehension() -> None:
        [f(*a, **k) for f, a, k in (parallelcfg.delayed(square)(x) for x in numbers)]

    found.append(
        Workload(
            "100,000 trivial tasks, sequential",
            "tasks/s",
            {
                "parallelcfg": partial(_discard, _ours, "sequential", square, numbers),
                "joblib": partial(_discard, _joblib, "sequential", square, numbers),
                "list comprehension": comprehension,
            },
            amount=len(numbers),
            goals={"list comprehension": 1 / 1.3},
        )
    )
    return found


def _discard(call, *args, **kwargs) -> None:
    call(*args, **kwargs)


def efficiency() -> list[Workload]:
    """Share of the ideal: CPU seconds of the tasks over the workers, by the wall clock."""
    rng = random.Random(0)
    heavy = [min(0.2, 0.0005 * rng.paretovariate(1.2)) for _ in range(1000)]
    uneven = [0.002] * 800
    for at in (100, 300, 500, 700):
        uneven.insert(at, 0.2)
    mixes = {
        "2,000 tasks of 1 ms": ([0.001] * 2000, {"ideal": 0.97}),
        "800 tasks of 2 ms around 4 of 200 ms": (uneven, {"ideal": 0.95}),
        "1,000 heavy-tailed tasks": (heavy, {}),
        "the same, shortest first": (sorted(heavy), {}),
        "the same, longest first": (sorted(heavy, reverse=True), {}),
    }
    found = []
    for name, (lengths, goals) in mixes.items():
        ideal = sum(lengths) / JOBS
        for told, goals_then in (("", goals), (", number not known", {})):
            hand_out = _unknown if told else list
            found.append(
                Workload(
                    name + told,
                    "share of ideal",
                    {
                        "parallelcfg": lambda hand_out=hand_out, lengths=lengths: _discard(
                            _ours, "loky", spin, hand_out(lengths)
                        ),
                        "joblib": lambda hand_out=hand_out, lengths=lengths: _discard(
                            _joblib, "loky", spin, hand_out(lengths)
                        ),
                        "ideal": lambda ideal=ideal: ideal,
                    },
                    amount=ideal,
                    goals={"joblib": 1.0, **goals_then},
                )
            )
    return found


_COLD = {
    "parallelcfg": (
        "from parallelcfg import Parallel, delayed\n"
        "if __name__ == '__main__': assert Parallel(n_jobs=2)(delayed(abs)(x) for x in (-1, -2)) == [1, 2]"
    ),
    "joblib": (
        "from joblib import Parallel, delayed\n"
        "if __name__ == '__main__': assert Parallel(n_jobs=2)(delayed(abs)(x) for x in (-1, -2)) == [1, 2]"
    ),
    "loky map": (
        "from loky import ProcessPoolExecutor\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(2) as e: assert list(e.map(abs, (-1, -2))) == [1, 2]"
    ),
}


def cold() -> list[Workload]:
    # As pip does when it installs the others, whatever PYTHONDONTWRITEBYTECODE says
    compileall.compile_dir(Path(parallelcfg.__file__).parent, quiet=1)
    contenders = {
        name: partial(_discard, subprocess.run, [sys.executable, "-c", program], check=True)
        for name, program in _COLD.items()
    }
    return [
        Workload(
            "cold: import, start, 2 tasks, stop",
            "s",
            contenders,
            rounds=5,
            goals={"joblib": 0.5, "loky map": 1.2},
        )
    ]


def configuration() -> list[Workload]:
    def nested(package) -> float:
        with (
            package.parallel_config(backend="threading"),
            package.parallel_config(n_jobs=2),
            package.parallel_config(verbose=0),
        ):
            package.Parallel()
            began = perf_counter()
            for _ in range(200):
                package.Parallel()
            return (perf_counter() - began) / 200

    def jobs(package) -> float:
        package.effective_n_jobs()
        began = perf_counter()
        for _ in range(200):
            package.effective_n_jobs()
        return (perf_counter() - began) / 200

    both = {"parallelcfg": parallelcfg, "joblib": joblib}
    return [
        Workload(
            "Parallel() under three contexts",
            "us",
            {name: partial(nested, package) for name, package in both.items()},
            limit=30,
        ),
        Workload(
            "effective_n_jobs()",
            "us",
            {name: partial(jobs, package) for name, package in both.items()},
            limit=15,
        ),
    ]
