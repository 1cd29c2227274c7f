"""Where `multiprocessing`, its semaphores or threads are missing: what runs instead, and who is told."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

#: Each makes one thing impossible, in a process of its own.
MISSING = {
    "multiprocessing": """
        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in {"multiprocessing", "_multiprocessing"}:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Blocker())
    """,
    "its C half": "sys.modules['_multiprocessing'] = None",
    "the class of semaphores": "import _multiprocessing; del _multiprocessing.SemLock",
    "sem_open": """
        import _multiprocessing, errno, os
        def refuse(*args):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        _multiprocessing.SemLock = refuse
    """,
}

#: The children of WebAssembly: no thread can be started either.
NO_THREADS = """
    import _thread, sysconfig, threading
    sysconfig.get_config_vars()  # while it can still find its data
    def refuse(*args, **kwargs):
        raise RuntimeError("can't start new thread")
    sys.platform = "emscripten"
    _thread.start_new_thread = threading._start_new_thread = threading._start_joinable_thread = refuse
"""

PRELUDE = """
import sys, warnings
warnings.simplefilter("always")
{missing}
from parallelcfg import ConfigError, Parallel, SubstitutionWarning, delayed, effective_n_jobs, parallel_config

def one(parallel):
    (substitution,) = parallel.report.substitutions
    return substitution

def run(**keys):
    with warnings.catch_warnings(record=True) as caught:
        parallel = Parallel(**keys)
        assert list(parallel(delayed(pow)(x, 2) for x in range(4))) == [0, 1, 4, 9]
    assert all(w.category is SubstitutionWarning for w in caught), caught
    return parallel, [str(w.message) for w in caught]
"""


def program(missing: str, body: str) -> list[str]:
    """Run a program where something is missing, and give its lines."""
    code = PRELUDE.format(missing=dedent(missing).strip()) + dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("missing", MISSING.values(), ids=MISSING)
def test_the_default_is_threads_without_a_warning(missing: str) -> None:
    lines = program(
        missing,
        """
        for return_as in ("list", "generator"):
            parallel, warned = run(n_jobs=2, return_as=return_as)
            print(parallel.backend_name, parallel.effective_n_jobs, one(parallel).asked, warned)
        print(effective_n_jobs(3))
        """,
    )
    assert lines == ["threading 2 loky []"] * 2 + ["3"]


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
@pytest.mark.parametrize("missing", MISSING.values(), ids=MISSING)
def test_a_process_backend_falls_back_with_one_warning_that_says_why(missing: str, backend: str) -> None:
    asked, again, report, strict = program(
        missing,
        f"""
        parallel, warned = run(n_jobs=2, backend={backend!r})
        print(parallel.backend_name, parallel.effective_n_jobs, *warned)
        print(run(n_jobs=2, backend={backend!r})[1])
        print(one(parallel).explicit, one(parallel))
        try:
            Parallel(n_jobs=2, backend={backend!r}, strict=True)
        except ConfigError as error:
            print(error.problems[0])
        """,
    )
    assert asked.startswith(f"threading 2 backend is threading in place of {backend}: ")
    assert "multiprocessing" in asked.partition(": ")[2]
    assert again == "[]"
    assert report == "True " + asked.removeprefix("threading 2 ")
    assert asked.removeprefix("threading 2 ") in strict


@pytest.mark.parametrize("nothing", ["None", "''"])
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_a_python_without_an_executable_falls_back_and_names_the_remedy(backend: str, nothing: str) -> None:
    warned, after = program(
        f"own, sys.executable = sys.executable, {nothing}",
        f"""
        parallel, warned = run(n_jobs=2, backend={backend!r})
        print(parallel.backend_name, *warned)
        import multiprocessing
        sys.executable = own
        multiprocessing.set_executable(own)
        print(run(n_jobs=2, backend={backend!r})[0].backend_name)
        """,
    )
    assert warned.startswith(f"threading backend is threading in place of {backend}: ")
    assert "set sys.executable, and call multiprocessing.set_executable" in warned
    assert after == backend


def test_the_standard_library_may_know_an_executable_that_sys_does_not() -> None:
    lines = program(
        """
        import multiprocessing
        multiprocessing.set_executable(sys.executable)
        sys.executable = None
        """,
        """
        for backend in ("loky", "multiprocessing"):
            print(run(n_jobs=2, backend=backend)[0].backend_name)
        """,
    )
    assert lines == ["threading", "multiprocessing"]


def test_parameters_of_a_process_backend_are_still_checked() -> None:
    lines = program(
        MISSING["multiprocessing"],
        """
        with parallel_config("loky", n_jobs=2, idle_worker_timeout=5):
            print(run()[0].backend_name)
        try:
            Parallel(backend="loky", idle_timeout=5)
        except TypeError as error:
            print("has the parameters idle_worker_timeout" in str(error))
        """,
    )
    assert lines == ["threading", "True"]


def test_nothing_on_the_way_imports_multiprocessing() -> None:
    lines = program(
        "",
        """
        for backend in ("threading", "sequential"):
            run(n_jobs=2, backend=backend)
        run(n_jobs=2, prefer="threads")
        print([name for name in sys.modules if name.partition(".")[0] in {"multiprocessing", "loky"}])
        """,
    )
    assert lines == ["[]"]


def test_without_threads_the_default_is_sequential_and_quiet() -> None:
    lines = program(
        NO_THREADS,
        """
        for key, value in [
            ("n_jobs", 1), ("return_as", "generator"), ("require", "sharedmem"), ("prefer", "threads")
        ]:
            parallel, warned = run(**{key: value})
            print(parallel.backend_name, parallel.effective_n_jobs, one(parallel).got, warned)
        """,
    )
    assert lines == ["sequential 1 sequential []"] * 4


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_without_threads_whoever_names_a_backend_is_warned_once(backend: str) -> None:
    warned, recorded, strict = program(
        NO_THREADS,
        f"""
        parallel, warned = run(n_jobs=2, backend={backend!r})
        print(warned + run(n_jobs=2, backend={backend!r})[1])
        print([(s.key, s.asked, s.got) for s in parallel.report.substitutions])
        try:
            Parallel(n_jobs=2, backend={backend!r}, strict=True)
        except ConfigError as error:
            print(error.problems[0])
        """,
    )
    assert warned.count("in place of") == 1
    assert f"backend is sequential in place of {backend}: " in warned
    assert "this build of Python starts no threads" in warned
    assert recorded == str([("backend", backend, "sequential"), ("n_jobs", "2", "1")])
    assert "strict = true" in strict


def test_without_threads_two_jobs_become_one_and_say_so() -> None:
    warned, strict, minus_one = program(
        NO_THREADS,
        """
        print(run(n_jobs=2)[1])
        try:
            Parallel(n_jobs=2, strict=True)
        except ConfigError as error:
            print(error.problems[0])
        print(run(n_jobs=-1, strict=True)[0].effective_n_jobs)
        """,
    )
    assert warned == str(["n_jobs is 1 in place of 2: the backend 'sequential' runs no more here"])
    assert "n_jobs is 1 in place of 2" in strict
    assert minus_one == "1"
