"""Limits on NumPy's OpenBLAS, scikit-learn's OpenMP and others, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from parallelcfg.threadpools.variables import INHERITED, VARIABLES, environment_for

PRELUDE = """
import os, sys, threading
from parallelcfg.threadpools.limits import apply_limit, limited, limited_thread

def sizes(*kinds):
    from threadpoolctl import threadpool_info
    return {pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] in kinds or not kinds}

def in_thread(function, *args):
    out = []
    thread = threading.Thread(target=lambda: out.append(function(*args)))
    thread.start()
    thread.join()
    return out[0]
"""


def python(code: str, **environ: str) -> list[str]:
    """Run code in a fresh process and give what it printed, line by line."""
    clean = {name: text for name, text in os.environ.items() if name not in {*VARIABLES, INHERITED}}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        capture_output=True,
        text=True,
        check=False,
        env=clean | environ,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(module) is None, reason=f"{module} is not installed")


@needs("numpy")
def test_openblas_of_a_warm_worker_follows_every_new_limit() -> None:
    code = """
apply_limit(2)
import numpy  # by a task
print(sizes())
for limit in (1, 3, 2):
    apply_limit(limit, explicit=True)
    print(sizes("openblas"))
"""
    assert python(code, **environment_for(2, {})) == ["{2}", "{1}", "{3}", "{2}"]


@needs("numpy")
def test_a_library_imported_after_a_change_of_the_limit_obeys_it_at_once() -> None:
    code = """
apply_limit(1)
import numpy
print(sizes())
"""
    assert python(code, **environment_for(4, {}, explicit=True)) == ["{1}"]


@needs("sklearn")
def test_openmp_and_openblas_of_scikit_learn_are_limited_together() -> None:
    code = """
import sklearn.cluster
for limit in (1, 3):
    apply_limit(limit, explicit=True)
    print(sizes("openmp"), sizes("openblas"))
with limited(2, explicit=True):
    print(sizes("openmp"), sizes("openblas"))
    def task():
        with limited_thread(2, explicit=True):
            return sizes("openmp"), sizes("openblas")
    print(*in_thread(task))
print(sizes("openmp"), sizes("openblas"))
"""
    assert python(code) == ["{1} {1}", "{3} {3}", "{3} {2}", "{2} {2}", "{3} {3}"]


@needs("numpy")
def test_two_threads_with_overlapping_limits_leave_openblas_as_it_was() -> None:
    code = """
import numpy
apply_limit(3, explicit=True)
first, second = limited(2), limited(1)
first.__enter__()
in_thread(second.__enter__)
print(sizes())
first.__exit__(None, None, None)
print(sizes())
in_thread(second.__exit__, None, None, None)
print(sizes())
"""
    assert python(code) == ["{1}", "{1}", "{3}"]


@needs("numpy")
def test_the_users_own_threads_may_size_openblas_after_a_call() -> None:
    code = """
import numpy
from threadpoolctl import threadpool_limits
def own_limit():
    with threadpool_limits(1):
        return sizes()
apply_limit(3, explicit=True)
with limited(2):
    pass
print(in_thread(own_limit), sizes())
"""
    assert python(code) == ["{1} {3}"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only threadpoolctl can tell")
def test_a_worker_without_native_pools_imports_no_threadpoolctl() -> None:
    code = """
apply_limit(2)
with limited(1), limited_thread(1):
    pass
print({"threadpoolctl", "numpy", "ctypes", "pathlib"} & set(sys.modules))
"""
    assert python(code) == ["set()"]


@needs("polars")
def test_polars_is_born_with_the_limit() -> None:
    code = "import polars; print(polars.thread_pool_size())"
    assert python(code, **environment_for(1, {"POLARS_MAX_THREADS": "7"})) == ["1"]


@needs("numexpr")
def test_numexpr_follows_the_limit() -> None:
    code = """
import numexpr
print(numexpr.get_num_threads())
apply_limit(1)
print(numexpr.get_num_threads())
"""
    assert python(code, **environment_for(2, {})) == ["2", "1"]


@needs("pyarrow")
def test_pyarrow_follows_the_limit() -> None:
    code = """
import pyarrow
print(pyarrow.cpu_count())
apply_limit(1)
print(pyarrow.cpu_count())
"""
    assert python(code, **environment_for(2, {})) == ["2", "1"]


@needs("numba")
def test_numba_compiles_on_after_a_change_and_never_exceeds_its_start() -> None:
    code = """
import numba, numpy
@numba.njit(parallel=True)
def total(x):
    s = 0.0
    for i in numba.prange(x.size):
        s += x[i]
    return s
total(numpy.ones(10))
for limit in (1, 4, 2):
    apply_limit(limit, explicit=True)
    print(numba.get_num_threads(), numba.njit(lambda x: x + 1)(1))
"""
    assert python(code, **environment_for(2, {})) == ["1 2", "2 2", "2 2"]
