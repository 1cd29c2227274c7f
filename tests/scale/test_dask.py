"""What is dask's own: which cluster runs a call, how much of it is out, and what goes along."""

from __future__ import annotations

import os
import re
import threading
import time

import numpy as np
import pytest

from parallelcfg import (
    BackendUnavailable,
    DeadlineExceeded,
    Parallel,
    SubstitutionWarning,
    cpu_count,
    delayed,
    parallel_config,
)

distributed = pytest.importorskip("distributed")


def where(_=None):
    return distributed.get_worker().address


def scheduler_of(_=None):
    return distributed.get_worker().scheduler.address


# Which cluster


def test_runs_on_the_cluster_at_an_address(address):
    assert set(
        Parallel(n_jobs=2, backend="dask", address=address)(delayed(scheduler_of)(i) for i in range(4))
    ) == {address}


def test_uses_a_given_client_and_leaves_it_open(client, address):
    results = Parallel(n_jobs=2, backend="dask", client=client)(delayed(scheduler_of)(i) for i in range(4))
    assert set(results) == {address}
    assert client.status == "running"


def test_the_address_comes_from_the_environment_alone(address, monkeypatch):
    monkeypatch.setenv("PARALLEL_BACKEND", "dask")
    monkeypatch.setenv("PARALLEL_BACKENDS__DASK__ADDRESS", address)
    assert set(Parallel(n_jobs=2)(delayed(scheduler_of)(i) for i in range(4))) == {address}


def test_dasks_own_configuration_is_asked_next(address):
    import dask

    with dask.config.set({"scheduler-address": address}):
        assert Parallel(n_jobs=2, backend="dask")([delayed(scheduler_of)()]) == [address]


def test_the_default_client_is_asked_last(dask_processes):
    with distributed.Client(dask_processes.address):
        assert Parallel(n_jobs=2, backend="dask")([delayed(scheduler_of)()]) == [dask_processes.address]


@pytest.mark.slow
def test_without_any_cluster_a_local_one_lives_as_long_as_the_call():
    (pid,) = Parallel(n_jobs=2, backend="dask")([delayed(os.getpid)()])
    assert pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ValueError, match="client"):
        distributed.default_client()


def test_one_job_needs_no_cluster():
    assert Parallel(n_jobs=1, backend="dask", address="tcp://127.0.0.1:1")([delayed(os.getpid)()]) == [
        os.getpid()
    ]


def test_a_scheduler_that_does_not_answer_is_named():
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "300ms"}),
        pytest.raises(BackendUnavailable, match=r"tcp://127\.0\.0\.1:1"),
    ):
        Parallel(n_jobs=2, backend="dask", address="tcp://127.0.0.1:1")([delayed(abs)(1)])


def test_a_cluster_without_workers_is_an_error_after_a_while():
    options = {"processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(n_workers=0, **options) as cluster, distributed.Client(cluster) as client:
        parallel = Parallel(n_jobs=2, backend="dask", client=client, wait_for_workers_timeout=0.2)
        with pytest.raises(BackendUnavailable, match=r"no worker after 0\.2 s"):
            parallel([delayed(abs)(1)])


@pytest.mark.parametrize("keys", [{"resources": {"GPU": 1}}, {"workers": ["nowhere"]}])
@pytest.mark.parametrize("n_jobs", [2, -1])
def test_workers_none_of_which_fits_are_an_error_after_a_while(n_jobs, keys, threads_cluster):
    ((name, value),) = keys.items()
    wish = re.escape(f"no worker that fits {name}={value!r} after 0.2 s")
    with distributed.Client(threads_cluster) as client:
        keys = {"n_jobs": n_jobs, "backend": "dask", "client": client, **keys}
        with pytest.raises(BackendUnavailable, match=wish):
            Parallel(**keys, wait_for_workers_timeout=0.2)([delayed(abs)(1)])


def test_waits_for_the_first_worker_that_fits(threads_cluster):
    with distributed.Client(threads_cluster) as client:
        timer = threading.Timer(0.2, threads_cluster.scale, [3])
        timer.start()
        found = Parallel(n_jobs=2, backend="dask", client=client, workers=["2"])([delayed(where)()])
        timer.join()
        assert found == [threads_cluster.workers[2].address]


def test_waits_for_the_first_worker():
    options = {"processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(n_workers=0, **options) as cluster, distributed.Client(cluster) as client:
        timer = threading.Timer(0.2, cluster.scale, [1])
        timer.start()
        assert Parallel(n_jobs=2, backend="dask", client=client)([delayed(abs)(-1)]) == [1]
        timer.join()


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("parallelcfg.backends.dask.find_spec", lambda _: None)
    with pytest.raises(BackendUnavailable, match=r"pip install parallelcfg\[dask\]"):
        Parallel(n_jobs=2, backend="dask")


# How much is out


def most_at_once(spans):
    edges = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    running = np.cumsum([step for _, step in edges])
    return running.max()


def span(_):
    start = time.monotonic()
    time.sleep(0.05)
    return start, time.monotonic()


def test_no_more_than_n_jobs_run_on_a_larger_cluster():
    options = {"processes": False, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=8, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        keys = {"n_jobs": 2, "backend": "dask", "client": client, "batch_size": 1}
        assert most_at_once(Parallel(**keys)(delayed(span)(i) for i in range(12))) == 2
        assert most_at_once(Parallel(**keys, pre_dispatch="all")(delayed(span)(i) for i in range(12))) == 2
        assert most_at_once(Parallel(**{**keys, "n_jobs": -1})(delayed(span)(i) for i in range(24))) > 4


def test_minus_one_is_every_thread_and_max_jobs_the_ceiling(client):
    assert Parallel(n_jobs=-1, backend="dask", client=client).effective_n_jobs == 2
    assert Parallel(n_jobs=-2, backend="dask", client=client).effective_n_jobs == 1
    with pytest.warns(SubstitutionWarning, match="max_jobs is the ceiling"):
        assert Parallel(n_jobs=-1, backend="dask", client=client, max_jobs=1).effective_n_jobs == 1
    assert Parallel(n_jobs=-1, backend="dask", client=client, workers=["worker-0"]).effective_n_jobs == 1


def test_minus_one_follows_workers_that_come(threads_cluster):
    with distributed.Client(threads_cluster) as client:
        parallel = Parallel(n_jobs=-1, backend="dask", client=client, batch_size=1, pre_dispatch="n_jobs")
        met = set()

        def tasks():
            for number in range(400):
                if number == 4:
                    threads_cluster.scale(3)
                if len(met) == 3:
                    return
                yield delayed(slow_where)(0.05)

        for place in Parallel(
            n_jobs=-1,
            backend="dask",
            client=client,
            batch_size=1,
            pre_dispatch="n_jobs",
            return_as="generator",
        )(tasks()):
            met.add(place)
        assert parallel.effective_n_jobs == 2
        assert len(met) == 3


def slow_where(seconds):
    time.sleep(seconds)
    return where()


# What goes along


def test_resources_and_workers_say_where(threads_cluster):
    with distributed.Client(threads_cluster) as client:
        first, _ = threads_cluster.workers.values()
        chosen = Parallel(n_jobs=2, backend="dask", client=client, workers=[first.address])
        assert set(chosen(delayed(where)(i) for i in range(6))) == {first.address}


@pytest.mark.parametrize("name", [1, "1"])
def test_a_worker_is_found_by_the_number_that_it_has_for_a_name(name, threads_cluster):
    with distributed.Client(threads_cluster) as client:
        chosen = Parallel(n_jobs=2, backend="dask", client=client, workers=[name])
        array = np.ones(200_000)
        assert set(chosen(delayed(where)(array) for _ in range(6))) == {threads_cluster.workers[1].address}


def test_workers_of_a_host_get_large_arrays(client):
    chosen = Parallel(n_jobs=2, backend="dask", client=client, workers=["127.0.0.1"])
    assert chosen(delayed(np.sum)(array) for array in [np.ones(200_000)] * 3) == [200_000] * 3


def test_priority_retries_and_resources_reach_dask(threads_cluster, monkeypatch):
    seen = []
    submit = distributed.Client.submit

    def spy(self, *args, **keys):
        seen.append(keys)
        return submit(self, *args, **keys)

    monkeypatch.setattr(distributed.Client, "submit", spy)
    with distributed.Client(threads_cluster) as client:
        table = {"dask": {"retries": 3, "priority": 7}}
        with parallel_config(backends=table):
            Parallel(n_jobs=2, backend="dask", client=client)([delayed(abs)(1)])
    assert {(keys["retries"], keys["priority"]) for keys in seen} == {(3, 7)}


# Nested calls


def inner(depth):
    if depth == 0:
        return {where()}
    return set().union(*Parallel(n_jobs=2)(delayed(inner)(depth - 1) for _ in range(3)))


def test_nested_calls_use_the_same_cluster_without_deadlock(client):
    results = Parallel(n_jobs=2, backend="dask", client=client)(delayed(inner)(2) for _ in range(4))
    assert set().union(*results) <= set(client.scheduler_info()["workers"])
    assert all(results)


def test_an_aborted_call_leaves_the_cluster_usable(client):
    def fail():
        raise KeyError("first")

    parallel = Parallel(n_jobs=2, backend="dask", client=client, batch_size=1)
    with pytest.raises(KeyError):
        parallel([delayed(fail)(), *(delayed(time.sleep)(0.2) for _ in range(50))])
    assert parallel([delayed(abs)(-1)]) == [1]


# Limits


def test_a_task_has_one_cpu_of_its_worker(address):
    def budget():
        return cpu_count(), Parallel(n_jobs=-1, backend="threading").effective_n_jobs

    with Parallel(n_jobs=2, backend="dask", address=address) as parallel:
        assert parallel(delayed(budget)() for _ in range(3)) == [(1, 1)] * 3


def test_a_deadline_ends_a_call_and_leaves_the_cluster_usable(address):
    parallel = Parallel(n_jobs=2, backend="dask", address=address, batch_size=1, deadline=1)
    with pytest.raises(DeadlineExceeded, match="tasks were done"):
        parallel(delayed(time.sleep)(0 if number == 0 else 3) for number in range(4))
    assert Parallel(n_jobs=2, backend="dask", address=address)(delayed(abs)(-x) for x in range(3)) == [
        0,
        1,
        2,
    ]


def test_a_batch_that_the_scheduler_forgot_is_sent_again_at_no_cost():
    from types import SimpleNamespace

    from parallelcfg.backends.dasksession import DaskSession

    session = object.__new__(DaskSession)
    session._link = SimpleNamespace(usable=lambda: True)
    forgotten = distributed.client.FutureCancelledError("key", "already forgotten")
    assert session._explain(forgotten).innocent
    assert not session._explain(ValueError("else")).innocent
