"""joblib's own `Parallel` under parallelcfg."""

import itertools
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import joblib
import pytest

import parallelcfg
from parallelcfg import SubstitutionWarning, explain, parallel_config, worker
from parallelcfg.config.context import using_machine
from parallelcfg.config.machine import Machine
from parallelcfg.integrations.joblib import install, installed, last_call, uninstall


@pytest.fixture(autouse=True)
def _bridge():
    install()
    yield
    uninstall()


def run(*args, tasks=3, **kwargs):
    """Run a `joblib.Parallel` and return what governed it."""
    parallel = joblib.Parallel(*args, **kwargs)
    assert list(parallel(joblib.delayed(abs)(-x) for x in range(tasks))) == list(range(tasks))
    return last_call()


def nested_call():
    inner = joblib.Parallel(n_jobs=-1)
    inner(joblib.delayed(abs)(x) for x in range(3))
    governor = last_call()
    return os.getpid(), governor is not None, joblib.effective_n_jobs(-1)


def test_unset_settings_come_from_parallelcfg():
    with parallel_config(n_jobs=2, backend="threading", batch_size=3):
        governor = run()
    assert (governor.effective_n_jobs, governor.backend_name, governor.config.batch_size) == (
        2,
        "threading",
        3,
    )
    assert governor.report.tasks == 3


def test_what_the_library_says_wins():
    with parallel_config(n_jobs=2, backend="threading", verbose=0):
        governor = run(n_jobs=1, max_nbytes="2K", pre_dispatch="all")
    assert (governor.config.n_jobs, governor.config.max_nbytes, governor.config.pre_dispatch) == (
        1,
        2048,
        "all",
    )


def test_positional_arguments_are_understood():
    governor = run(2, "threading", "generator")
    assert (governor.effective_n_jobs, governor.backend_name) == (2, "threading")
    assert governor.config.return_as == "generator"


@pytest.mark.parametrize("n_jobs", [-1, 2.0, "2"])
def test_jobs_are_what_int_makes_of_them(n_jobs):
    assert run(n_jobs=n_jobs, backend="threading").config.n_jobs == int(n_jobs)


@pytest.mark.filterwarnings("ignore::parallelcfg.errors.SubstitutionWarning")
def test_the_ceiling_holds_where_a_library_takes_all():
    with parallel_config(max_jobs=1):
        assert run(n_jobs=64).effective_n_jobs == 1
        assert joblib.effective_n_jobs(64) == 1


def test_a_ceiling_names_the_line_of_the_library_and_not_joblibs():
    with (
        parallel_config(max_jobs=1),
        pytest.warns(SubstitutionWarning, match=r"bridge\.py:\d+ asked for") as told,
    ):
        joblib.effective_n_jobs(64)
    assert [Path(one.filename).name for one in told] == [Path(__file__).name]


@pytest.mark.filterwarnings("ignore::parallelcfg.errors.ConfigWarning")
def test_a_lock_holds_where_a_library_takes_all(tmp_path):
    system = tmp_path / "system"
    system.mkdir()
    (system / "parallel.toml").write_text('[locked]\nn_jobs = 2\nbackend = "threading"\n')
    machine = Machine(environ={}, cwd=tmp_path, home=tmp_path, system_dir=system, user_dir=tmp_path / "user")
    with using_machine(machine):
        governor = run(n_jobs=64, backend="loky")
        assert (governor.effective_n_jobs, governor.backend_name) == (2, "threading")
        assert joblib.effective_n_jobs(64) == 2


def test_joblibs_own_context_stands_above_parallelcfgs():
    with parallel_config(n_jobs=1), joblib.parallel_config("threading", n_jobs=2):
        governor = run()
        assert (governor.effective_n_jobs, governor.backend_name) == (2, "threading")
        assert run(n_jobs=1).effective_n_jobs == 1
    said = governor.config.sources["n_jobs"]
    assert (said.origin.layer, said.origin.file) == ("parallel_config", "joblib.parallel_config")
    assert [one.value for one in said.history] == [2, 1, None]


def test_parameters_of_the_backend_come_along():
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=1):
        assert run().config.inner_max_num_threads == 1


def test_explain_tells_which_line_of_a_library_decided():
    with parallel_config(n_jobs=3):
        governor = run(n_jobs=1)
    text = str(explain("n_jobs", governor.config))
    assert "test_joblib_bridge.py" in text
    assert "shadowed" in text


def test_shape_and_errors_remain_a_contract_of_the_library():
    with parallel_config(return_as="generator", on_error="return"):
        assert joblib.Parallel()([joblib.delayed(abs)(-1)]) == [1]
        with pytest.raises(ValueError, match="invalid literal"):
            joblib.Parallel()([joblib.delayed(int)("x")])


def test_a_with_block_keeps_its_workers():
    with joblib.Parallel(n_jobs=2) as parallel:
        one, two = ({*parallel(joblib.delayed(os.getpid)() for _ in range(8))} for _ in range(2))
    assert one & two
    assert os.getpid() not in one


def test_generators_stream():
    release = threading.Event()
    parallel = joblib.Parallel(n_jobs=2, backend="threading", return_as="generator", batch_size=1)
    results = parallel([joblib.delayed(abs)(-1), joblib.delayed(release.wait)()])
    assert next(results) == 1
    release.set()
    assert list(results) == [True]


@pytest.mark.parametrize("return_as", ["list", "generator"])
def test_a_timeout_is_an_error_that_libraries_catch_and_parallelcfgs_too(return_as):
    event = threading.Event()
    run_out = joblib.Parallel(n_jobs=2, backend="threading", timeout=0.05, return_as=return_as)
    try:
        with pytest.raises(multiprocessing.TimeoutError, match=r"timeout=0\.05 s") as caught:
            list(run_out(joblib.delayed(event.wait)() for _ in range(2)))
    finally:
        event.set()
    assert isinstance(caught.value, parallelcfg.TaskTimeout)
    back = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(back, multiprocessing.TimeoutError)
    assert str(back) == str(caught.value)


def test_a_generator_that_is_dropped_ends_its_call():
    stream = joblib.Parallel(n_jobs=2, backend="threading", return_as="generator")(
        joblib.delayed(abs)(-x) for x in itertools.count()
    )
    assert next(stream) == 0
    report = last_call().report
    del stream
    assert report.ended is not None


def test_subclasses_obey_too():
    class Traced(joblib.Parallel):
        def __call__(self, iterable):
            return super().__call__([task for task in iterable for _ in range(2)])

    with parallel_config(backend="threading"):
        assert Traced(n_jobs=2)([joblib.delayed(abs)(-1)]) == [1, 1]
    assert last_call().backend_name == "threading"


def test_workers_have_the_bridge_and_share_the_cpus():
    found = parallelcfg.Parallel(n_jobs=2)(parallelcfg.delayed(nested_call)() for _ in range(4))
    assert os.getpid() not in {pid for pid, _, _ in found}
    assert {governed for _, governed, _ in found} == {True}
    assert all(count <= max(1, parallelcfg.cpu_count() // 2) for _, _, count in found)


def test_backends_of_others_stay_joblibs():
    class Own(joblib.parallel.SequentialBackend):
        """Registered with joblib by somebody."""

    joblib.register_parallel_backend("own", Own)
    try:
        before = last_call()
        assert joblib.Parallel(backend="own")([joblib.delayed(abs)(-1)]) == [1]
        with joblib.Parallel(backend=Own()) as parallel:
            assert parallel([joblib.delayed(abs)(-2)]) == [2]
        assert last_call() is before
    finally:
        del joblib.parallel.BACKENDS["own"]


def test_objects_from_before_the_bridge_stay_joblibs():
    uninstall()
    parallel = joblib.Parallel(n_jobs=1)
    install()
    assert parallel([joblib.delayed(abs)(-1)]) == [1]
    assert last_call() is None


def test_wrong_values_are_joblibs_errors():
    with pytest.raises(ValueError, match="n_jobs"):
        joblib.Parallel(n_jobs=0)


def test_uninstalling_restores_everything():
    uninstall()
    names = ("__init__", "__call__", "__enter__", "__exit__")
    own = [getattr(joblib.Parallel, name) for name in names], dict(joblib.parallel.BACKENDS)
    install()
    install()
    assert joblib.Parallel.__call__ is not own[0][1]
    uninstall()
    uninstall()
    assert ([getattr(joblib.Parallel, name) for name in names], dict(joblib.parallel.BACKENDS)) == own
    assert (installed(), worker.SETUP, last_call()) == (False, [], None)


def fresh(code, **env):
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_variable_puts_up_the_bridge_when_joblib_comes():
    code = (
        "import sys, parallelcfg\n"
        "print('joblib' in sys.modules, 'numpy' in sys.modules, 'parallelcfg.worker' in sys.modules)\n"
        "import joblib\n"
        "from parallelcfg.integrations.joblib import last_call\n"
        "joblib.Parallel(n_jobs=1)([joblib.delayed(abs)(1)])\n"
        "print(last_call() is not None)\n"
    )
    assert fresh(code, PARALLEL_JOBLIB="1") == ["False", "False", "False", "True"]
    assert fresh(code, PARALLEL_JOBLIB="0")[-1] == "False"


@pytest.mark.parametrize(("variable", "expected"), [("", "2 threading"), ("0", "None")])
def test_run_puts_programs_under_the_bridge(tmp_path, variable, expected):
    program = tmp_path / "program.py"
    program.write_text(
        "import joblib\n"
        "from parallelcfg.integrations.joblib import last_call\n"
        "joblib.Parallel()([joblib.delayed(abs)(1)])\n"
        "last = last_call()\n"
        "print(last and f'{last.effective_n_jobs} {last.backend_name}')\n"
    )
    command = [
        sys.executable,
        "-m",
        "parallelcfg.cli",
        "run",
        "--n-jobs",
        "2",
        "--backend",
        "threading",
        program,
    ]
    env = {**os.environ, "PARALLEL_JOBLIB": variable}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (expected, "")


def test_without_joblib_the_bridge_says_what_to_install():
    code = (
        "import sys\n"
        "sys.path_importer_cache.clear()\n"
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'joblib' else found(name, *rest)\n"
        "from parallelcfg.integrations.joblib import install, installed\n"
        "install(if_available=True)\n"
        "print(installed())\n"
        "try:\n"
        "    install()\n"
        "except ImportError as error:\n"
        "    print('parallelcfg[joblib]' in str(error))\n"
    )
    assert fresh(code) == ["False", "True"]
