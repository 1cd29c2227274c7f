"""Processes of a dask cluster that die in the middle of a call."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from parallelcfg import Parallel, WorkerLost, delayed, shutdown
from parallelcfg.backends.dasksession import DaskSession
from tests.scale.conftest import started

distributed = pytest.importorskip("distributed")


def die_once(path):
    flag = Path(path)
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@pytest.mark.slow
def test_a_worker_killed_mid_task_costs_a_retry_and_nothing_else(own_dask_processes, tmp_path):
    keys = {"n_jobs": 2, "backend": "dask", "address": own_dask_processes.address, "batch_size": 1}
    array = np.ones(200_000)
    with Parallel(**keys) as parallel:
        assert parallel(delayed(abs)(i) for i in range(4)) == [0, 1, 2, 3]
        tasks = [delayed(np.sum)(array) for _ in range(5)] + [delayed(die_once)(str(tmp_path / "flag"))]
        results = parallel(tasks + [delayed(np.sum)(array) for _ in range(5)])
    assert results == [200_000] * 5 + ["alive"] + [200_000] * 5
    shutdown()


@pytest.mark.slow
def test_data_that_were_lost_with_the_only_worker_that_had_them_are_sent_again(tmp_path):
    with started(tmp_path, workers=1) as processes:
        keys = {"backend": "dask", "address": processes.address, "batch_size": 1, "pre_dispatch": 1}
        array = np.ones(200_000)

        def tasks():
            yield delayed(np.sum)(array)
            processes.add_worker("another")
            with distributed.Client(processes.address, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
            processes.kill("worker-0")
            for _ in range(3):
                yield delayed(np.sum)(array)

        assert Parallel(n_jobs=2, **keys)(tasks()) == [200_000] * 4
        shutdown()


@pytest.mark.slow
def test_a_lost_scheduler_is_an_error_within_seconds(own_dask_processes):
    parallel = Parallel(n_jobs=2, backend="dask", address=own_dask_processes.address)

    def tasks():
        yield delayed(time.sleep)(0)
        yield delayed(time.sleep)(60)
        threading.Timer(0.3, own_dask_processes.kill, ["scheduler"]).start()

    with pytest.raises(WorkerLost, match=r"the dask scheduler at tcp://\S+ was lost"):
        parallel(tasks())
    shutdown()


@pytest.mark.parametrize("retries", [0, 2])
def test_a_client_that_is_closed_in_the_middle_is_an_error_within_seconds(retries, threads_cluster):
    client = distributed.Client(threads_cluster, set_as_default=False)

    def tasks():
        yield delayed(time.sleep)(0)
        yield delayed(time.sleep)(5)
        threading.Timer(0.2, client.close).start()

    with pytest.raises(WorkerLost, match="was lost"):
        Parallel(n_jobs=2, backend="dask", client=client, retries=retries)(tasks())


@pytest.fixture
def sessions(monkeypatch):
    """Those that were opened."""
    opened = []
    put_together = DaskSession.__init__

    def spy(self, *args):
        opened.append(self)
        put_together(self, *args)

    monkeypatch.setattr(DaskSession, "__init__", spy)
    return opened


def test_nobody_looks_after_a_client_that_was_closed_in_the_middle(threads_cluster, sessions):
    client = distributed.Client(threads_cluster, set_as_default=False)

    def tasks():
        yield delayed(time.sleep)(0)
        client.close()
        yield delayed(time.sleep)(0)

    with pytest.raises(WorkerLost):
        Parallel(n_jobs=2, backend="dask", client=client, batch_size=1)(tasks())
    distributed.utils.sync(threads_cluster.loop, asyncio.sleep, 0)  # whatever was asked of the loop is done
    assert [session._looks.is_running() for session in sessions] == [False]


def test_nobody_looks_after_a_client_that_was_closed_between_two_calls(threads_cluster, sessions):
    client = distributed.Client(threads_cluster, set_as_default=False)
    with Parallel(n_jobs=2, backend="dask", client=client) as parallel:
        assert parallel([delayed(abs)(-1)]) == [1]
        client.close()
        (session,) = sessions
        distributed.utils.sync(threads_cluster.loop, session._look)
        assert not session._looks.is_running()
