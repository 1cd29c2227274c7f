"""Clusters of two workers: ``python -m benchmarks.scale [dask] [ray] [simulate] [--quick] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np

import parallelcfg
from benchmarks import harness, simulator
from benchmarks.harness import Workload
from parallelcfg import Parallel, delayed

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 2
SLEEPS, SECONDS = 1_000, 0.01
TRIVIAL = 10_000
MEGABYTES, USERS = 100, 100
IDEAL = SLEEPS * SECONDS / WORKERS


def sleep(_: int) -> None:
    time.sleep(SECONDS)


def square(x: int) -> int:
    return x * x


def total(array: np.ndarray, column: int) -> float:
    return float(array[column])


def ours(backend: str, function, arguments, **keys) -> list:
    return Parallel(n_jobs=-1, backend=backend, **keys)(delayed(function)(x) for x in arguments)


@contextmanager
def dask_client() -> Iterator:
    """A scheduler and two workers, each a process, and a default client."""
    from distributed import Client
    from distributed.deploy.subprocess import SubprocessCluster

    options = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": "ERROR"}
    worker = {"memory_limit": "800MB"}
    with (
        SubprocessCluster(n_workers=WORKERS, worker_kwargs=worker, **options) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(WORKERS)
        yield client


def dask_workloads(client) -> list[Workload]:
    def plain(function, amount: int) -> list:
        return client.gather(client.map(function, range(amount), pure=False))

    def theirs() -> list:
        with joblib.parallel_config("dask"):
            return joblib.Parallel(n_jobs=-1)(joblib.delayed(sleep)(x) for x in range(SLEEPS))

    sleeps = {
        "parallelcfg": lambda: ours("dask", sleep, range(SLEEPS)) and None,
        "client.map": lambda: plain(sleep, SLEEPS) and None,
        "joblib": lambda: theirs() and None,
    }
    trivial = {
        "parallelcfg": lambda: ours("dask", square, range(TRIVIAL)) and None,
        "client.map": lambda: plain(square, TRIVIAL) and None,
    }
    return [
        Workload("dask: 1,000 tasks of 10 ms", "share of ideal", sleeps, IDEAL, 5, {"client.map": 1.0}),
        Workload("dask: 10,000 trivial tasks", "tasks/s", trivial, TRIVIAL, 3, {"client.map": 10.0}),
    ]


@contextmanager
def local_ray() -> Iterator:
    """A local ray of two CPUs."""
    import ray

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, object_store_memory=400 * 2**20)
    try:
        yield ray
    finally:
        ray.shutdown()


def ray_workloads(ray) -> list[Workload]:
    def plain(function, amount: int) -> list:
        remote = ray.remote(function)
        return ray.get([remote.remote(x) for x in range(amount)])

    sleeps = {
        "parallelcfg": lambda: ours("ray", sleep, range(SLEEPS)) and None,
        "ray.get": lambda: plain(sleep, SLEEPS) and None,
    }
    trivial = {
        "parallelcfg": lambda: ours("ray", square, range(TRIVIAL)) and None,
        "ray.get": lambda: plain(square, TRIVIAL) and None,
    }
    return [
        Workload("ray: 1,000 tasks of 10 ms", "share of ideal", sleeps, IDEAL, 5, {"ray.get": 1.0}),
        Workload("ray: 10,000 trivial tasks", "tasks/s", trivial, TRIVIAL, 3, {"ray.get": 10.0}),
    ]


def one_large_argument(backend: str) -> dict[str, float]:
    """What crosses when many tasks use the same array, and how long it takes."""
    array = np.ones(MEGABYTES * 2**20 // 8)
    parallel = Parallel(n_jobs=-1, backend=backend, batch_size=1)
    before, began = _loopback(), time.perf_counter()
    parallel(delayed(total)(array, column) for column in range(USERS))
    return {
        "seconds": time.perf_counter() - began,
        "MB put": parallel.report.traffic.shared / 2**20,
        "MB over loopback": (_loopback() - before) / 2**20,
    }


def _loopback() -> int:
    """Bytes that this machine has sent to itself over TCP so far."""
    lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in lines if line.strip().startswith("lo:")]
    return int(line.split()[1])


def per_batch(backend: str, batches: int = 2_000) -> float:
    """Seconds of the parent's CPU that one batch costs, with everything done for it in this process."""
    ours(backend, square, range(10))
    began = time.process_time()
    ours(backend, square, range(batches), batch_size=1)
    return (time.process_time() - began) / batches


def per_task(tasks: int = 300_000) -> float:
    """Seconds of the parent's CPU that one more task in a batch costs: pulled, packed, unpacked."""
    ours("loky", square, range(10))
    began = time.process_time()
    ours("loky", square, range(tasks), batch_size=5_000)
    return (time.process_time() - began) / tasks


def on_dask(rounds: int | None) -> dict[str, object]:
    with dask_client() as client:
        results = _measured(dask_workloads(client), rounds)
        return {
            "results": results,
            "one large argument": one_large_argument("dask"),
            "seconds per batch": per_batch("dask"),
        }


def on_ray(rounds: int | None) -> dict[str, object]:
    with local_ray() as ray:
        results = _measured(ray_workloads(ray), rounds)
        return {
            "results": results,
            "one large argument": one_large_argument("ray"),
            "seconds per batch": per_batch("ray"),
        }


def _measured(workloads: list[Workload], rounds: int | None) -> list[dict[str, object]]:
    results = []
    for workload in workloads:
        results.append(harness.summary(workload, harness.measure(workload, rounds or workload.rounds)))
        print(json.dumps(results[-1]), flush=True)
    return results


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    options.add_argument("what", nargs="*", default=["dask", "ray", "simulate"])
    options.add_argument("--quick", action="store_true", help="one round of everything")
    options.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    asked = options.parse_args()
    rounds = 1 if asked.quick else None
    figures: dict[str, object] = {"machine": harness.machine()}
    costs = {"loky": simulator.Costs(per_batch("loky"), per_task())}
    for name, measure in (("dask", on_dask), ("ray", on_ray)):
        if name in asked.what:
            found = measure(rounds)
            figures[name] = found
            costs[name] = simulator.Costs(found["seconds per batch"], costs["loky"].task)
            print(
                name, json.dumps({key: value for key, value in found.items() if key != "results"}), flush=True
            )
    parallelcfg.shutdown()
    figures["costs"] = {name: [cost.batch, cost.task] for name, cost in costs.items()}
    if "simulate" in asked.what:
        for task in (SECONDS, 1.0):
            print(f"\ntasks of {task:g} s\n\n{simulator.table(costs, task)}")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
