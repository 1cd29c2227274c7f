"""Clusters on loopback, small ones: two workers with one thread each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import cloudpickle
import pytest

from parallelcfg import shutdown

ENVIRONMENT = {**os.environ, "PARALLEL_NO_CONFIG": "1", "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}


@pytest.fixture(autouse=True, scope="module")
def tasks_by_value(request):
    """Workers can't import test modules."""
    cloudpickle.register_pickle_by_value(request.module)
    yield
    cloudpickle.unregister_pickle_by_value(request.module)


class Processes:
    """A scheduler and workers, each a process of its own, as a user starts them from a shell."""

    def __init__(self, folder):
        self.file = folder / "scheduler.json"
        self.folder = folder
        self.running = {}
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file))
        self.start("scheduler", *options, name="scheduler")
        self.address = self._wait_for_address()

    def start(self, kind, *args, name):
        log = (self.folder / f"{name}.log").open("w")
        command = [sys.executable, "-m", "dask", kind, *args]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT, cwd=self.folder)
        log.close()
        self.running[name] = process

    def add_worker(self, name):
        options = ("--nthreads", "1", "--no-nanny", "--memory-limit", "600MB", "--no-dashboard")
        self.start("worker", self.address, *options, "--name", name, name=name)

    def _wait_for_address(self):
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            with suppress(FileNotFoundError, json.JSONDecodeError):  # not there, or not all of it
                return json.loads(self.file.read_text())["address"]
            time.sleep(0.05)  # another process's file: nothing to wait on
        raise TimeoutError((self.folder / "scheduler.log").read_text())

    def kill(self, name):
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def end(self):
        for name in list(self.running):
            self.kill(name)


@contextmanager
def started(folder, workers=2):
    processes = Processes(folder)
    try:
        for number in range(workers):
            processes.add_worker(f"worker-{number}")
        yield processes
    finally:
        processes.end()


@pytest.fixture(scope="session")
def dask_processes(tmp_path_factory):
    """A scheduler and two workers that tests share and leave as they are."""
    pytest.importorskip("distributed")
    with started(tmp_path_factory.mktemp("dask")) as processes:
        yield processes


@pytest.fixture
def own_dask_processes(tmp_path):
    """A scheduler and two workers for a test that kills some of them."""
    pytest.importorskip("distributed")
    with started(tmp_path) as processes:
        yield processes


@pytest.fixture
def address(dask_processes):
    yield dask_processes.address
    shutdown()


@pytest.fixture
def client(dask_processes):
    import distributed

    with distributed.Client(dask_processes.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def threads_cluster():
    """Workers in this process: quick to start, and good for what needs no process."""
    distributed = pytest.importorskip("distributed")
    options = {"processes": False, "dashboard_address": ":0", "memory_limit": 0}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def ray_cluster():
    """A local ray with two CPUs, to which this process is connected."""
    ray = pytest.importorskip("ray")
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=200 * 2**20,
    )
    yield ray
    ray.shutdown()
