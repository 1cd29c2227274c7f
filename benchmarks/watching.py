"""What it costs to watch a call: a function that is told, a bar, a trace."""

from __future__ import annotations

import atexit
import os
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import parallelcfg
from benchmarks.harness import Workload
from benchmarks.speed import JOBS, square

if TYPE_CHECKING:
    from parallelcfg import ProgressEvent

TASKS = range(100_000)


def nothing(event: ProgressEvent) -> None:
    """Be told, and do nothing about it."""


def call(backend: str, **keys: object) -> None:
    # Bars are drawn where nobody sees them: terminals differ in what they take
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        loop = parallelcfg.Parallel(n_jobs=JOBS, backend=backend, **keys)
        loop(parallelcfg.delayed(square)(x) for x in TASKS)


def traced(backend: str, file: str) -> None:
    with parallelcfg.parallel_config(trace=file):
        call(backend)


def workloads() -> list[Workload]:
    folder = mkdtemp()
    atexit.register(rmtree, folder)  # after the trace in it was written, which is registered later
    trace = str(Path(folder) / "trace.json")
    found = []
    for backend in ("loky", "threading", "sequential"):
        for name, watched, goal in (
            ("a function told", partial(call, backend, progress=nothing), 0.99),
            ("a bar", partial(call, backend, progress="tqdm"), 0.99),
            ("a trace", partial(traced, backend, trace), 0.98),
        ):
            contenders = {"parallelcfg": watched, "unwatched": partial(call, backend)}
            title = f"100,000 trivial tasks, {backend}, with {name}"
            found.append(
                Workload(title, "tasks/s", contenders, len(TASKS), rounds=101, goals={"unwatched": goal})
            )
    return found
