"""Calls from many places at once, and from strange ones: they work, or say clearly why not; none hangs."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from parallelcfg import Parallel, delayed, parallel_config, shutdown

BACKENDS = ["loky", "multiprocessing", "threading"]
PROCESSES = ["loky", "multiprocessing"]


def double(x):
    return 2 * x


def fail(x):
    raise LookupError(x)


def one_call(number, folder):
    backend = BACKENDS[number % 3]
    run = Parallel(n_jobs=1 + number % 4, backend=backend, temp_folder=str(folder))
    expected = [2 * x for x in range(20)]
    return all(run(delayed(double)(x) for x in range(20)) == expected for _ in range(5))


def failing_call(number):
    with pytest.raises(LookupError):
        Parallel(n_jobs=2, backend=BACKENDS[number % 3])(delayed(fail)(x) for x in range(6))
    return True


def test_threads_with_different_settings(tmp_path, within, covers):
    with within(30), ThreadPoolExecutor(8) as threads:
        good = [threads.submit(one_call, number, tmp_path / str(number % 2)) for number in range(8)]
        bad = [threads.submit(failing_call, number) for number in range(3)]
        assert all(call.result() for call in good + bad)
    covers("8 threads", "all", "different n_jobs, temp_folder, backend; some fail")


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_object_from_many_threads(backend, within):
    run = Parallel(n_jobs=2, backend=backend)
    with within(20), ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(run, [delayed(double)(x) for x in range(10)]) for _ in range(8)]
        assert all(call.result() == [2 * x for x in range(10)] for call in calls)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_with_block_from_two_threads_is_an_error(backend):
    entered, leave = threading.Event(), threading.Event()

    def source():
        entered.set()
        leave.wait(20)
        yield delayed(double)(1)

    with Parallel(n_jobs=2, backend=backend) as run, ThreadPoolExecutor(1) as threads:
        first = threads.submit(run, source())
        entered.wait(20)
        with pytest.raises(RuntimeError, match="runs another call"):
            run([delayed(double)(2)])
        leave.set()
        assert first.result() == [2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_asyncio(backend, within, covers):
    async def call(n_jobs):
        with parallel_config(n_jobs=n_jobs, backend=backend):
            run = Parallel()
            assert run.effective_n_jobs == n_jobs
            return await asyncio.to_thread(run, [delayed(double)(x) for x in range(10)])

    async def main():
        return await asyncio.gather(call(2), call(3))

    with within(10):
        assert asyncio.run(main()) == [[2 * x for x in range(10)]] * 2
    covers("asyncio", backend, "two tasks, two contexts")


@pytest.fixture
def printed(program, within):
    """What a program prints that ends well and in time, and leaves no process behind."""

    def run(seconds, source, *args, **variables):
        one = program(source, *args, **variables)
        with within(seconds):
            code, output, errors = one.end()
        assert code == 0, errors
        assert "Traceback" not in errors
        assert one.gone_after(2)
        return output.strip()

    return run


FORKED = """
import os, sys
from parallelcfg import Parallel, delayed
backend = os.environ["BACKEND"]
def call():
    return Parallel(n_jobs=2, backend=backend)(delayed(abs)(-x) for x in range(8))
call()
child = os.fork()
if child == 0:
    os._exit(0 if call() == list(range(8)) else 3)
status = os.waitpid(child, 0)[1]
if os.fork() == 0:
    sys.exit(0)  # exit handlers run: they must not touch the parent's workers
os.wait()
assert call() == list(range(8))
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs os.fork")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forked_child(printed, backend, covers):
    assert printed(5, FORKED, BACKEND=backend) == "0"
    covers("os.fork after use", backend, "child calls, parent goes on")


DAEMON = """
import multiprocessing, os, warnings
from parallelcfg import Parallel, delayed
warnings.simplefilter("ignore")
made_before = Parallel(n_jobs=2, backend=os.environ["BACKEND"])
def call(queue):
    made_inside = Parallel(n_jobs=2, backend=os.environ["BACKEND"])
    results = made_inside(delayed(abs)(-x) for x in range(8))
    queue.put(results if made_before(delayed(abs)(-x) for x in range(8)) == results else "differ")
context = multiprocessing.get_context("fork")
queue = context.Queue()
daemon = context.Process(target=call, args=(queue,), daemon=True)
daemon.start()
print(queue.get(timeout=5))
daemon.join(5)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs os.fork")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_daemon_of_multiprocessing(printed, backend, covers):
    assert printed(8, DAEMON, BACKEND=backend) == str(list(range(8)))
    covers("daemon process", backend, "inside")


SPAWNED = """
import multiprocessing, os
from parallelcfg import Parallel, delayed
class Point:
    def __init__(self, x):
        self.x = x
def moved(point):
    return Point(point.x + 1)
def call(queue):
    points = Parallel(n_jobs=2, backend=os.environ["BACKEND"])(delayed(moved)(Point(x)) for x in range(4))
    queue.put([point.x for point in points if type(point) is Point])
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=call, args=(queue,))
    child.start()
    child.join()
    print(queue.get(timeout=5))
"""


@pytest.mark.parametrize("backend", PROCESSES)
def test_a_spawned_child_of_multiprocessing(printed, tmp_path, backend, covers):
    file = tmp_path / "spawned.py"
    file.write_text(SPAWNED)
    assert printed(8, "", str(file), BACKEND=backend) == "[1, 2, 3, 4]"
    covers("spawned process", backend, "inside")


FORKED_IN_A_BLOCK = """
import os
from parallelcfg import Parallel, delayed
with Parallel(n_jobs=2, backend=os.environ["BACKEND"]) as parallel:
    def call():
        return parallel(delayed(abs)(-x) for x in range(8)) == list(range(8))
    assert call()
    child = os.fork()
    if child == 0:
        with parallel:
            done = call() and call()
        os._exit(0 if done else 3)
    status = os.waitpid(child, 0)[1]
    assert call()
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs os.fork")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_child_forked_inside_of_a_with_block(printed, backend, covers):
    assert printed(5, FORKED_IN_A_BLOCK, BACKEND=backend) == "0"
    covers("os.fork in a with block", backend, "child calls, parent goes on")


def nest(depth, backend):
    if depth == 0:
        return [os.getpid()]
    parts = Parallel(n_jobs=2, backend=backend)(delayed(nest)(depth - 1, backend) for _ in range(2))
    return [os.getpid(), *(pid for part in parts for pid in part)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_three_levels_deep(backend, within, covers):
    with within(20):
        pids = nest(3, backend)
    assert len(pids) == 1 + 2 + 4 + 8
    assert len(set(pids)) > 3 or backend == "threading"
    covers("nested calls", backend, "three levels")


@pytest.mark.parametrize("backend", PROCESSES)
def test_shutdown_ends_idle_workers(backend):
    import psutil

    pids = set(Parallel(n_jobs=2, backend=backend, batch_size=1)(delayed(os.getpid)() for _ in range(20)))
    shutdown(wait=True)
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    assert Parallel(n_jobs=2, backend=backend)([delayed(double)(1)]) == [2]


def slow(x):
    time.sleep(0.05)
    return x


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_generators_at_once(backend, within):
    streams = [
        Parallel(n_jobs=2, backend=backend, return_as="generator")(delayed(slow)(x) for x in range(4))
        for _ in range(4)
    ]
    with within(15):
        for results in zip(*streams, strict=True):
            assert len(set(results)) == 1


def test_processes_are_hidden_from_others():
    Parallel(n_jobs=2)(delayed(double)(x) for x in range(4))
    assert not [p for p in multiprocessing.active_children() if "Loky" in p.name]
