"""What is ray's own: what tasks are given, where they run, what happens when processes and nodes die."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from parallelcfg import BackendUnavailable, DeadlineExceeded, Parallel, WorkerLost, delayed, get_config
from parallelcfg.backends.ray import register_ray, slots_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ray = pytest.importorskip("ray")


def node(_=None):
    return ray.get_runtime_context().get_node_id()


@pytest.mark.usefixtures("ray_cluster")
class TestLocal:
    def test_minus_one_is_every_cpu_of_the_cluster(self):
        assert Parallel(n_jobs=-1, backend="ray").effective_n_jobs == 2
        args = {"num_cpus": 2}
        assert Parallel(n_jobs=-1, backend="ray", ray_remote_args=args).effective_n_jobs == 1

    def test_tasks_get_the_cpus_that_were_reserved_for_them(self):
        def budget():
            return Parallel(n_jobs=-1).effective_n_jobs, get_config().verbose

        for cpus in (1, 2):
            parallel = Parallel(n_jobs=2, backend="ray", verbose=3, ray_remote_args={"num_cpus": cpus})
            assert parallel([delayed(budget)()]) == [(cpus, 3)]

    def test_a_deadline_ends_a_call_and_its_running_tasks(self, tmp_path):
        def linger(number):
            time.sleep(0 if number == 0 else 5)
            (tmp_path / str(number)).touch()

        parallel = Parallel(n_jobs=2, backend="ray", batch_size=1, deadline=2)
        with pytest.raises(DeadlineExceeded, match="of 4 tasks were done"):
            parallel(delayed(linger)(number) for number in range(4))
        assert Parallel(n_jobs=2, backend="ray")(delayed(abs)(-x) for x in range(3)) == [0, 1, 2]
        assert {path.name for path in tmp_path.iterdir()} <= {"0"}

    def test_a_large_array_is_stored_once_and_mapped_read_only(self, monkeypatch):
        stored = []
        put = ray.put
        monkeypatch.setattr(ray, "put", lambda value: stored.append(value) or put(value))

        def look(array):
            return (
                os.getpid(),
                array.__array_interface__["data"][0],
                array.flags.writeable,
                float(array.sum()),
            )

        array = np.ones(300_000)
        seen = Parallel(n_jobs=2, backend="ray", batch_size=1)(delayed(look)(array) for _ in range(10))
        assert [value is array for value in stored] == [True]
        assert {(writable, total) for *_, writable, total in seen} == {(False, 300_000.0)}
        assert len({memory for _, memory, *_ in seen}) == len({process for process, *_ in seen})

    def test_nested_calls_run_on_the_cpus_of_the_task_that_waits(self):
        def outer(number):
            return sum(Parallel(n_jobs=2, backend="ray")(delayed(pow)(number, power) for power in range(3)))

        assert Parallel(n_jobs=2, backend="ray")(delayed(outer)(n) for n in range(3)) == [1, 3, 7]

    def test_an_abort_stops_what_runs(self, tmp_path):
        def record(path):
            Path(path).write_text(str(os.getpid()))
            time.sleep(60)

        def fail_after(path):
            while not Path(path).exists():
                time.sleep(0.01)  # another process's file: nothing to wait on
            raise KeyError("enough")

        path = tmp_path / "pid"
        with pytest.raises(KeyError):
            Parallel(n_jobs=2, backend="ray", batch_size=1)(
                [delayed(record)(path), delayed(fail_after)(path)]
            )
        assert gone(int(path.read_text()), 20)

    def test_a_killed_worker_costs_a_retry_and_nothing_else(self, tmp_path):
        def die_once(path):
            if not path.exists():
                path.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return "alive"

        assert Parallel(n_jobs=2, backend="ray")(
            [delayed(die_once)(tmp_path / "flag"), delayed(abs)(-1)]
        ) == [
            "alive",
            1,
        ]

    def test_register_ray_is_there_for_programs_that_call_it(self):
        register_ray()
        assert Parallel(n_jobs=2, backend="ray")([delayed(abs)(-1)]) == [1]


def gone(pid, seconds):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)  # a process of somebody else's: nothing to wait on
    return False


@pytest.fixture(scope="module")
def two_nodes():
    """Two nodes on loopback, each a set of processes; the second one has something that the first lacks."""
    if ray.is_initialized():
        ray.shutdown()
    from ray.cluster_utils import Cluster

    memory = 100 * 2**20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": memory},
    )
    cluster.add_node(num_cpus=1, resources={"special": 1}, object_store_memory=memory)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


class TestTwoNodes:
    def test_both_nodes_work(self, two_nodes):
        assert Parallel(n_jobs=-1, backend="ray").effective_n_jobs == 2

        def slow_node():
            time.sleep(0.2)
            return node()

        found = Parallel(n_jobs=-1, backend="ray", batch_size=1)(delayed(slow_node)() for _ in range(20))
        assert len(set(found)) == 2

    def test_resources_and_scheduling_strategies_say_where(self, two_nodes):
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        (special,) = [each["NodeID"] for each in ray.nodes() if each["Resources"].get("special")]
        args = {"resources": {"special": 0.1}}
        found = Parallel(n_jobs=2, backend="ray", ray_remote_args=args)(delayed(node)(i) for i in range(4))
        assert set(found) == {special}
        (other,) = [each["NodeID"] for each in ray.nodes() if not each["Resources"].get("special")]
        args = {"scheduling_strategy": NodeAffinitySchedulingStrategy(other, soft=False)}
        found = Parallel(n_jobs=2, backend="ray", ray_remote_args=args)(delayed(node)(i) for i in range(4))
        assert set(found) == {other}

    def test_the_death_of_a_node_costs_retries_and_nothing_else(self, two_nodes, tmp_path):
        doomed = two_nodes.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        two_nodes.wait_for_nodes()

        def work(number, folder):
            (folder / f"{number}-{node()}").touch()
            time.sleep(0.5)
            return number

        def tasks():
            for number in range(24):
                if number == 9:
                    while not list(tmp_path.glob(f"*-{doomed.node_id}")):
                        time.sleep(0.05)  # another node's file: nothing to wait on
                    two_nodes.remove_node(doomed, allow_graceful=False)
                yield delayed(work)(number, tmp_path)

        assert Parallel(n_jobs=-1, backend="ray", batch_size=1)(tasks()) == list(range(24))


@pytest.fixture
def own_ray():
    """A local ray for a test that shuts it down."""
    if ray.is_initialized():
        ray.shutdown()
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


@pytest.mark.usefixtures("own_ray")
class TestShutDown:
    def test_what_was_out_is_lost_within_seconds_and_no_other_cluster_is_started(self):
        def begun(results):
            assert next(results) == 0
            return results

        def nap(number):
            time.sleep(0 if number == 0 else 60)
            return number

        keys = {"n_jobs": 2, "backend": "ray", "return_as": "generator", "batch_size": 1}
        left, read = (begun(Parallel(**keys)(delayed(nap)(i) for i in range(9))) for _ in range(2))
        ray.shutdown()
        left.close()
        with pytest.raises(WorkerLost, match="the ray cluster was lost"):
            list(read)
        assert not ray.is_initialized()

    def test_the_call_of_another_thread_ends_too(self):
        def tasks():
            yield delayed(time.sleep)(0)
            yield delayed(time.sleep)(60)
            threading.Timer(0.3, ray.shutdown).start()

        with pytest.raises(WorkerLost, match="the ray cluster was lost"):
            Parallel(n_jobs=2, backend="ray")(tasks())


class TestWithoutRay:
    def test_a_missing_package_is_named_with_its_extra(self, monkeypatch):
        monkeypatch.setattr("parallelcfg.backends.ray.find_spec", lambda _: None)
        with pytest.raises(BackendUnavailable, match=r"pip install parallelcfg\[ray\]"):
            Parallel(n_jobs=2, backend="ray")

    def test_slots_are_bounded_by_what_is_scarcest(self):
        cluster = {"CPU": 8.0, "GPU": 2.0, "tape": 1.0}
        assert slots_for(cluster, {"num_cpus": 2}) == 4
        assert slots_for(cluster, {"num_gpus": 0.5}) == 4
        assert slots_for(cluster, {"num_cpus": 0, "resources": {"tape": 1}}) == 1
        assert slots_for(cluster, {"num_gpus": 4}) == 0
