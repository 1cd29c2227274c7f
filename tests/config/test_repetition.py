"""Statements that are executed over and over, and never taken back."""

from __future__ import annotations

import contextvars

import pytest

from parallelcfg import explain, get_config, parallel_config, set_config
from parallelcfg.config import process, state


@pytest.fixture(autouse=True)
def _own_context(world):
    """What is in force without `with` ends with the test."""
    token = state._state.set(state._State())
    yield
    state._state.reset(token)


def layers():
    return len(state._state.get().layers), len(process.current().layers)


def test_contexts_of_one_place_that_nobody_can_end_count_once():
    for number in range(1, 50):
        parallel_config(n_jobs=number)
    assert get_config().n_jobs == 49
    assert layers() == (1, 0)
    assert [step.value for step in explain("n_jobs").steps] == [49, None]


def test_settings_of_one_place_that_nobody_can_reset_count_once():
    for number in range(1, 50):
        set_config(n_jobs=number)
    assert get_config().n_jobs == 49
    assert layers() == (0, 1)
    handle = set_config(n_jobs=50)
    handle.reset()
    assert get_config().n_jobs == 49


def test_contexts_that_can_be_ended_are_kept():
    opened = [parallel_config(n_jobs=number) for number in range(1, 4)]
    assert layers() == (3, 0)
    opened[2].unregister()
    opened[0].unregister()
    assert get_config().n_jobs == 2


def test_blocks_of_one_place_may_be_nested():
    def nested(depth):
        with parallel_config(n_jobs=depth):
            assert get_config().n_jobs == depth
            if depth > 1:
                nested(depth - 1)
            assert get_config().n_jobs == depth

    nested(5)
    assert layers() == (0, 0)


def test_what_another_place_said_stays_and_is_explained():
    parallel_config(n_jobs=2, verbose=1)
    parallel_config(n_jobs=3)
    assert (get_config().n_jobs, get_config().verbose) == (3, 1)
    assert [step.value for step in explain("n_jobs").steps] == [3, 2, None]


def test_what_is_not_said_again_stays():
    for keys in ({"n_jobs": 2, "verbose": 5}, {"n_jobs": 3}):
        parallel_config(**keys)
    assert (get_config().n_jobs, get_config().verbose) == (3, 5)


def test_a_copied_context_has_its_own():
    parallel_config(n_jobs=2)
    seen = contextvars.copy_context().run(lambda: (parallel_config(n_jobs=3), get_config().n_jobs)[1])
    assert (seen, get_config().n_jobs) == (3, 2)
