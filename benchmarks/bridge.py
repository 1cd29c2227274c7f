"""joblib with the bridge and without: ``python -m benchmarks.bridge [--rounds N]``.

Each run has a process of its own and warms up once: what is compared are calls, not starts of workers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from time import perf_counter

import joblib
import numpy as np

from benchmarks import harness

JOBS = 2


def trivial_tasks():
    joblib.Parallel(n_jobs=JOBS)(joblib.delayed(abs)(x) for x in range(20_000))


def small_calls():
    for _ in range(50):
        joblib.Parallel(n_jobs=JOBS)(joblib.delayed(abs)(x) for x in range(4))


def large_arrays():
    array = np.ones(4_000_000)
    joblib.Parallel(n_jobs=JOBS)(joblib.delayed(np.sum)(array) for _ in range(20))


def grid_search():
    from sklearn.datasets import make_classification
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    x, y = make_classification(n_samples=2000, random_state=0)
    grid = {"max_depth": [2, 4, 6, 8], "min_samples_leaf": [1, 3, 5, 7]}
    GridSearchCV(DecisionTreeClassifier(random_state=0), grid, n_jobs=JOBS, cv=5).fit(x, y)


def random_forest():
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier

    x, y = make_classification(n_samples=3000, random_state=0)
    RandomForestClassifier(n_estimators=60, random_state=0, n_jobs=JOBS).fit(x, y)


def nested_forests():
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_validate

    x, y = make_classification(n_samples=1000, random_state=0)
    cross_validate(RandomForestClassifier(n_estimators=30, random_state=0, n_jobs=-1), x, y, n_jobs=JOBS)


WORKLOADS = (trivial_tasks, small_calls, large_arrays, grid_search, random_forest, nested_forests)


def in_a_process(workload: str, bridged: bool) -> float:
    """Seconds of a warm run in a fresh interpreter."""
    command = [sys.executable, "-m", "benchmarks.bridge", "--once", workload, *(["--bridge"] * bridged)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def once(workload: str, bridged: bool) -> None:
    """Run a workload twice, and print how long the second run took."""
    if bridged:
        from parallelcfg.integrations.joblib import install

        install()
    run = next(one for one in WORKLOADS if one.__name__ == workload)
    run()
    began = perf_counter()
    run()
    print(perf_counter() - began)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.bridge", description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--once", help=argparse.SUPPRESS)
    options.add_argument("--bridge", action="store_true", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.once:
        once(asked.once, asked.bridge)
        return
    print(f"{harness.machine()}\n\n| workload | bridge | joblib | ratio |\n|---|---|---|---|")
    for one in WORKLOADS:
        contenders = {
            name: partial(in_a_process, one.__name__, name == "bridge") for name in ("bridge", "joblib")
        }
        workload = harness.Workload(one.__name__.replace("_", " "), "ms", contenders)
        result = harness.summary(workload, harness.measure(workload, asked.rounds))
        bridge, bare = result["medians"].values()
        print(f"| {workload.name} | {bridge:.1f} ms | {bare:.1f} ms | {bridge / bare:.2f} |", flush=True)


if __name__ == "__main__":
    main()
