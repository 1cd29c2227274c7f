"""Inner threads as tasks see them, on every local backend: NumPy's OpenBLAS and scikit-learn's OpenMP.

Two threads are what these libraries start with here, also where there is a single CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from textwrap import dedent

import pytest

from parallelcfg.threadpools.variables import INHERITED, VARIABLES

pytestmark = pytest.mark.skipif(find_spec("sklearn") is None, reason="scikit-learn is not installed")

BACKENDS = ["loky", "multiprocessing", "threading", "sequential"]

PRELUDE = """
import os, threading
import sklearn.cluster
from parallelcfg import Parallel, delayed
from threadpoolctl import threadpool_info, threadpool_limits

def sizes(_=None):
    import sklearn.cluster
    return sorted({(pool["user_api"], pool["num_threads"]) for pool in threadpool_info()})

def seen(loop):
    found = {tuple(result) for result in loop(delayed(sizes)(i) for i in range(4))}
    return " | ".join(sorted(" ".join(f"{api}={size}" for api, size in result) for result in found))

if __name__ == "__main__":
    threadpool_limits(2)
"""


def program(body: str, **environ: str) -> list[str]:
    """Run a program of its own and give its lines."""
    clean = {name: text for name, text in os.environ.items() if name not in {*VARIABLES, INHERITED}}
    code = PRELUDE + "".join(f"    {line}\n" for line in dedent(body).strip().splitlines())
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=clean | environ,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_explicit_limit_holds_in_tasks_and_ends_with_the_call(backend: str, n_jobs: int) -> None:
    lines = program(f"""
        print(seen(Parallel(n_jobs={n_jobs}, backend={backend!r}, inner_max_num_threads=1)))
        print(sizes())
    """)
    assert lines == ["blas=1 openmp=1", "[('blas', 2), ('openmp', 2)]"]


@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
def test_results_of_every_shape_leave_the_limits_as_they_were(return_as: str) -> None:
    lines = program(f"""
        for backend in ("threading", "sequential"):
            loop = Parallel(n_jobs=2, backend=backend, inner_max_num_threads=1, return_as={return_as!r})
            print(seen(loop))
            for thread in threading.enumerate():  # a generator's driver ends just after its last result
                if thread.name == "parallelcfg-driver":
                    thread.join()
            print(sizes())
    """)
    assert lines == ["blas=1 openmp=1", "[('blas', 2), ('openmp', 2)]"] * 2


def test_a_failing_task_does_not_leave_the_limit_behind() -> None:
    lines = program("""
        for backend in ("threading", "sequential"):
            try:
                Parallel(n_jobs=2, backend=backend, inner_max_num_threads=1)([delayed(int)("x")])
            except ValueError:
                print(sizes())
    """)
    assert lines == ["[('blas', 2), ('openmp', 2)]"] * 2


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_by_default_as_many_tasks_as_cpus_have_one_thread_each(backend: str) -> None:
    lines = program(f"print(seen(Parallel(n_jobs=-1, backend={backend!r})))", OMP_NUM_THREADS="8")
    assert lines == ["blas=1 openmp=1"]


def test_a_warm_loky_worker_changes_its_limit_without_a_restart() -> None:
    lines = program("""
        def born(_):
            return os.getpid()
        pids = set()
        for limit in (2, 1, 2):
            print(seen(Parallel(n_jobs=2, backend="loky", inner_max_num_threads=limit)))
            pids |= set(Parallel(n_jobs=2, backend="loky")(delayed(born)(i) for i in range(8)))
        print(len(pids) <= 2)
    """)
    assert lines == ["blas=2 openmp=2", "blas=1 openmp=1", "blas=2 openmp=2", "True"]
