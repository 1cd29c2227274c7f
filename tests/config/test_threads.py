"""Threads that change the configuration, or ask for it, at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from parallelcfg import get_config, set_config
from parallelcfg.config import resolve, surroundings


@pytest.fixture
def pause(monkeypatch):
    """Makes threads of the pool stop where they come by for the first time, and the rest pass."""

    def pause(owner, name):
        real, here, on = getattr(owner, name), threading.Event(), threading.Event()

        def paused(*args):
            result = real(*args)
            if threading.current_thread() is not threading.main_thread() and not here.is_set():
                here.set()
                on.wait(20)
            return result

        monkeypatch.setattr(owner, name, paused)
        return here, on

    return pause


def test_who_resolves_late_does_not_hide_what_was_said_meanwhile(world, pause):
    here, on = pause(resolve, "build")
    with ThreadPoolExecutor(1) as pool, set_config(verbose=3):
        late = pool.submit(get_config)
        assert here.wait(20)
        with set_config(retries=2):
            assert get_config().retries == 2
            on.set()
            assert late.result().verbose == 3
            assert (get_config().verbose, get_config().retries) == (3, 2)


def test_who_looks_at_the_environment_meets_no_half_of_a_change(world, pause):
    get_config()
    here, on = pause(surroundings.Surroundings, "still")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(get_config)
        assert here.wait(20)
        with set_config(seed=1):
            world.environ["PARALLEL_VERBOSE"] = "2"
            assert (get_config().seed, get_config().verbose) == (1, 2)
            on.set()
            assert asked.result().n_jobs is None
            assert (get_config().seed, get_config().verbose) == (1, 2)


@pytest.mark.filterwarnings("ignore:.* is for an unknown backend")
def test_handles_of_many_threads_all_hold(world):
    start = threading.Barrier(4)

    def say(number):
        start.wait(20)
        return [set_config(backends={f"backend{number}": {f"key{n}": n}}) for n in range(20)]

    with ThreadPoolExecutor(4) as pool:
        handles = [handle for some in pool.map(say, range(4)) for handle in some]
        tables = get_config().backends
    assert {name: dict(table) for name, table in tables.items()} == {
        f"backend{number}": {f"key{n}": n for n in range(20)} for number in range(4)
    }
    for handle in handles:
        handle.reset()
    assert get_config().backends == {}
