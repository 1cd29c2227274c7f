"""Wrong values of backends' parameters are told at their place, before any worker starts."""

import inspect
import threading

import pytest

from parallelcfg import ConfigError, Parallel, delayed, parallel_config
from parallelcfg.backends.params import WrongParam
from parallelcfg.backends.pool import Pool
from parallelcfg.backends.registry import BUILT_IN, check_params
from parallelcfg.backends.threads import ThreadsBackend
from parallelcfg.core.outcome import Lost


@pytest.mark.parametrize(
    ("backend", "name", "value", "expected"),
    [
        ("loky", "idle_worker_timeout", -3, "seconds > 0 or none"),
        ("loky", "idle_worker_timeout", 0, "seconds > 0 or none"),
        ("loky", "idle_worker_timeout", "x", "seconds > 0 or none"),
        ("loky", "idle_worker_timeout", float("nan"), "seconds > 0 or none"),
        ("loky", "idle_worker_timeout", True, "seconds > 0 or none"),
        ("loky", "initializer", 3, "a callable or none"),
        ("loky", "initargs", "ab", "a list or none"),
        ("loky", "env", ["A=1"], "a table or none"),
        ("loky", "max_worker_growth", 0, "an integer >= 1 or none"),
        ("loky", "max_worker_growth", 1.5, "an integer >= 1 or none"),
        ("multiprocessing", "maxtasksperchild", "many", "an integer >= 1 or none"),
        ("multiprocessing", "context", "spawn", "a context of multiprocessing"),
        ("multiprocessing", "start_method", "spwn", "one of those that this system has: "),
    ],
)
def test_a_wrong_value_is_an_error_with_name_place_and_remedy(backend, name, value, expected):
    with pytest.raises(ConfigError) as told:
        Parallel(n_jobs=2, backend=backend, **{name: value})
    assert f"{name}={value!r}: expected {expected}" in str(told.value)
    assert f"{__name__.rpartition('.')[2]}.py:" in str(told.value)
    with pytest.raises(ConfigError, match=f"{name}=.*expected"):
        parallel_config(backend, **{name: value})
    with parallel_config(backends={backend: {name: value}}), pytest.raises(ConfigError, match="expected"):
        Parallel(n_jobs=2, backend=backend)


@pytest.mark.parametrize("value", [1e300, float("inf"), None, 3])
def test_a_worker_may_idle_for_as_long_as_anybody_likes(value):
    assert Parallel(n_jobs=2, idle_worker_timeout=value)(delayed(abs)(-x) for x in range(3)) == [0, 1, 2]


@pytest.mark.parametrize(("backend", "value"), [("dask", 3), ("ray", "abc")])
def test_clusters_take_a_list_of_what_to_scatter(backend, value):
    pytest.importorskip("distributed" if backend == "dask" else backend)
    with pytest.raises(WrongParam, match=rf"scatter={value!r}: expected a list or none"):
        check_params(backend, {"scatter": value})


@pytest.mark.parametrize("backend", sorted(BUILT_IN))
def test_the_defaults_of_every_parameter_are_right(backend):
    from parallelcfg.backends.registry import _built_in

    accepted = inspect.signature(_built_in(backend)).parameters
    check_params(backend, {name: one.default for name, one in accepted.items()})


def test_a_thread_that_breaks_ends_in_an_error_and_not_in_a_wait():
    def broken(_ordinal):
        raise OSError("no seat")

    pool = Pool(1, broken, dict)
    told = threading.Event()
    outcomes = []
    pool.submit(0, None, lambda batch_id, outcome: (outcomes.append((batch_id, outcome)), told.set()))
    assert told.wait(30)
    [(batch_id, outcome)] = outcomes
    assert (batch_id, type(outcome), str(outcome.cause)) == (0, Lost, "no seat")
    assert not pool.usable()


def test_the_threading_backend_has_no_parameters():
    with pytest.raises(TypeError, match="'threading' has no parameters of its own"):
        Parallel(n_jobs=2, backend="threading", x=1)
    assert ThreadsBackend().name == "threading"
