"""Workers keep the memory that tasks with arrays free, until they are idle."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from parallelcfg import Parallel, delayed, heap, workerprocess

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="concerns glibc")

PAGE = 4096
STEPS, SIZE = 20, 8 << 20


def faults_of_steps(_):
    """Page faults of arrays that come and go, one of them on top of the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(STEPS):
        array = np.ones(SIZE, "u1")
        array = array + 1
        del array
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_arrays_that_come_and_go_fetch_their_pages_once(backend):
    with Parallel(n_jobs=2, backend=backend, batch_size=1) as parallel:
        faults = parallel(delayed(faults_of_steps)(number) for number in range(6))
    assert max(faults) <= 2.5 * SIZE / PAGE


def run(source, **env):
    program = "import numpy as np\nfrom parallelcfg import heap\n" + source
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


RESIDENT = """
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20
"""


def test_an_idle_worker_returns_what_is_free():
    source = f"""{RESIDENT}
heap.keep_freed()
kept = [np.ones(1 << 20, "u1") for _ in range(40)]
used = resident()
del kept
print(used - resident(), heap.holds())
heap.let_go()
print(used - resident(), heap.holds())
"""
    freed, holds, returned, still_holds = run(source)
    assert (holds, still_holds) == ("True", "False")
    assert int(freed) < 5
    assert int(returned) >= 38


@pytest.mark.parametrize(
    "env", [{"MALLOC_TRIM_THRESHOLD_": "0"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4096"}]
)
def test_who_has_tuned_the_heap_keeps_it_so(env):
    assert run("heap.keep_freed(); print(heap.holds())", **env) == ["False"]


class Idle:
    """A connection on which nothing comes."""

    def poll(self, timeout):
        return False

    def recv_bytes(self):
        raise EOFError


def test_a_worker_without_work_lets_go(monkeypatch):
    monkeypatch.setattr(heap, "_may_hold", True)
    workerprocess._Channel(Idle()).serve()
    assert not heap.holds()


def test_without_arrays_there_is_nothing_to_hold(monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy")
    heap.keep_freed()
    assert not heap.holds()
