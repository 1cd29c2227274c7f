"""What runs with joblib alone runs under the bridge."""

import joblib
import pytest

from parallelcfg import parallel_config
from parallelcfg.integrations.joblib import install, last_call, uninstall


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
