"""Nothing grows: not with calls, failing calls, abandoned generators, aborted loops."""

from __future__ import annotations

import atexit
import gc
import threading
import time
from pathlib import Path

import psutil
import pytest

from parallelcfg import Parallel, delayed, shutdown

BACKENDS = ["loky", "multiprocessing", "threading"]


def double(x):
    return 2 * x


def fail(x):
    if x == 3:
        raise LookupError(x)
    return x


def state(folder):
    """What this process holds."""
    gc.collect()
    shutdown(wait=True)  # how many pools stay warm depends on how many generators were alive at once
    me = psutil.Process()
    return {
        "descriptors": me.num_fds(),
        "threads": threading.active_count(),
        "children": len(me.children(recursive=True)),
        "files": len(list(folder.iterdir())),
        "exit handlers": atexit._ncallbacks() + len(threading._threading_atexits),
        "semaphores": Path("/proc/self/maps").read_text().count("/dev/shm/sem."),
        "shared memory": sum(f"-{me.pid}-" in path.name for path in Path("/dev/shm").iterdir()),
    }


def grown(folder, before):
    """What there is more of than before, once threads and processes that are ending have ended."""
    deadline = time.monotonic() + 5
    while True:
        now = state(folder)
        more = {what: (before[what], now[what]) for what in now if now[what] > before[what]}
        if not more or time.monotonic() > deadline:
            return more
        time.sleep(0.05)


def calls(run, count):
    for _ in range(count):
        assert run(delayed(double)(x) for x in range(2)) == [0, 2]


def failing_calls(run, count):
    for _ in range(count):
        with pytest.raises(LookupError):
            run(delayed(fail)(x) for x in range(8))


def abandoned_generators(run, count):
    for number in range(count):
        stream = run(delayed(double)(x) for x in range(8))
        if number % 3:
            next(stream)
        if number % 2:
            stream.close()
        del stream


KINDS = {
    "calls": (calls, {}),
    "failing calls": (failing_calls, {}),
    "abandoned generators": (abandoned_generators, {"return_as": "generator"}),
    "abandoned unordered generators": (abandoned_generators, {"return_as": "generator_unordered"}),
}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts by Linux's means")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("count", [30, pytest.param(0, marks=pytest.mark.slow, id="many")])
def test_nothing_grows(backend, kind, count, tmp_path, covers):
    repeat, options = KINDS[kind]
    run = Parallel(n_jobs=2, backend=backend, temp_folder=str(tmp_path), **options)
    repeat(run, 10)  # until everything that stays warm is there
    Parallel(n_jobs=2, backend=backend, temp_folder=str(tmp_path))(
        delayed(time.sleep)(0.05) for _ in range(4)
    )
    before = state(tmp_path)
    memory = psutil.Process().memory_info().rss
    repeat(run, count or (2000 if kind == "calls" else 200))
    assert grown(tmp_path, before) == {}
    assert psutil.Process().memory_info().rss - memory < 5 << 20
    covers("leaks", backend, kind)


def total(array):
    return float(array[0]), type(array).__name__


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_one_object_is_called_2000_times_on_one_array(backend, tmp_path, covers):
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(2 << 17)  # 2 MB: over the default threshold, so it is mapped
    run = Parallel(n_jobs=2, backend=backend, temp_folder=str(tmp_path))

    def one_call(number):
        array[0] = number  # each call shall see what the array holds now
        assert run(delayed(total)(array) for _ in range(2)) == [(number, "memmap")] * 2

    for number in range(200):
        one_call(number)
    with run:
        for number in range(200, 2000):
            one_call(number)
    assert list(tmp_path.iterdir()) == []
    covers("2,000 calls", backend, "one object, one mapped array")
