"""What runs with joblib alone runs under the bridge."""

import inspect
import math
import multiprocessing
import os
import pickle
from concurrent.futures.process import BrokenProcessPool

import joblib
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from parallelcfg import WorkerLost, parallel_config
from parallelcfg.backends.threads import ThreadsBackend
from parallelcfg.integrations.joblib import install, last_call, uninstall

takes_params = pytest.mark.skipif(
    "backend_kwargs" not in inspect.signature(joblib.Parallel).parameters,
    reason="this joblib takes no parameters of backends",
)


@pytest.fixture(autouse=True)
def _bridge():
    install()
    yield
    uninstall()


@pytest.fixture
def cluster():
    """A backend without shared memory that somebody has registered with joblib."""

    class Cluster(joblib.parallel.LokyBackend):
        pass

    joblib.register_parallel_backend("cluster", Cluster)
    yield "cluster"
    del joblib.parallel.BACKENDS["cluster"]


def governed(**said):
    """Run a `joblib.Parallel` and return what governed it."""
    assert joblib.Parallel(**said)(joblib.delayed(abs)(-x) for x in range(3)) == [0, 1, 2]
    return last_call()


def test_shared_memory_is_had_of_threads_where_the_backend_around_has_none(cluster):
    with joblib.parallel_config(cluster, n_jobs=-1):
        one, two = governed(require="sharedmem"), governed(require="sharedmem", n_jobs=2)
        with parallel_config(n_jobs=3):
            three = governed(require="sharedmem")
    assert [call.effective_n_jobs for call in (one, two, three)] == [1, 2, 3]
    assert (two.backend_name, three.backend_name) == ("threading", "threading")
    with joblib.parallel_config(cluster, n_jobs=2, require="sharedmem"):
        assert governed().effective_n_jobs == 1


def test_a_call_that_names_its_backend_takes_the_number_that_stands_around_it(cluster):
    with joblib.parallel_config(cluster, n_jobs=2):
        call = governed(backend="threading")
    assert (call.backend_name, call.effective_n_jobs) == ("threading", 2)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("verbose", -1, 0),
        ("timeout", math.inf, None),
        ("batch_size", True, 1),
        ("pre_dispatch", 2.5, 2),
        ("pre_dispatch", "1e3", 1000),
        ("pre_dispatch", "n_jobs**2", "n_jobs**2"),
        ("mmap_mode", "copyonwrite", "c"),
        ("max_nbytes", 2.5, 2),
        ("max_nbytes", -1, 0),
        ("max_nbytes", math.inf, None),
        ("max_nbytes", "0.1M", 104857),
    ],
)
def test_values_that_joblib_takes_are_taken(name, value, expected):
    assert getattr(governed(backend="threading", **{name: value}).config, name) == expected


def test_values_that_joblib_takes_around_a_call_are_taken():
    with joblib.parallel_config("threading", verbose=-1):
        assert governed().config.verbose == 0


@takes_params
def test_parameters_go_to_the_backend_that_has_them():
    with parallel_config(backend="loky"):
        config = governed(n_jobs=1, idle_worker_timeout=7, maxtasksperchild=7).config
    assert config.backend_params == {"idle_worker_timeout": 7}
    config = governed(n_jobs=1, backend=multiprocessing.get_context("spawn"), maxtasksperchild=7).config
    assert config.backend_params == {"maxtasksperchild": 7}


@takes_params
@pytest.mark.parametrize(
    "configured",
    ["threading", "sequential", ThreadsBackend, ThreadsBackend()],
    ids=["threading", "sequential", "class", "instance"],
)
def test_parameters_that_the_configured_backend_does_not_have_are_no_errors(configured):
    with parallel_config(backend=configured):
        config = governed(n_jobs=2, idle_worker_timeout=7, initializer=int).config
    assert (config.backend, config.backend_params) == (configured, {})


@takes_params
def test_parameters_that_the_named_backend_does_not_have_are_no_errors():
    assert governed(backend="threading", idle_worker_timeout=7).config.backend_params == {}
    assert governed(require="sharedmem", idle_worker_timeout=7).config.backend_params == {}
    with joblib.parallel_config("threading", idle_worker_timeout=7):
        assert governed().config.backend_params == {}


@pytest.mark.parametrize("return_as", ["list", "generator"])
def test_a_lost_worker_is_an_error_that_libraries_catch_and_parallelcfgs_too(return_as):
    with pytest.raises(TerminatedWorkerError, match="exit code 3") as caught:
        list(joblib.Parallel(n_jobs=2, return_as=return_as)([joblib.delayed(os._exit)(3)]))
    assert isinstance(caught.value, BrokenProcessPool)
    assert isinstance(caught.value, WorkerLost)
    back = pickle.loads(pickle.dumps(caught.value))
    assert (type(back), str(back)) == (type(caught.value), str(caught.value))


class Own(WorkerLost):
    """A task's own error."""


def lose():
    raise Own("a boat")


def test_a_tasks_own_kind_of_error_stays_what_it_is():
    with pytest.raises(WorkerLost) as caught:
        joblib.Parallel(n_jobs=1)([joblib.delayed(lose)()])
    assert type(caught.value) is Own
