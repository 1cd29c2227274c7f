"""Each task's random numbers: a function of seed and index, and of nothing else."""

import numpy as np
import pytest

from parallelcfg import Parallel, delayed, parallel_config, set_config, task_rng

SEED = 7


def draw():
    return float(task_rng().random())


def draw_twice():
    return draw(), draw()


def nested(backend=None):
    return Parallel(n_jobs=2, backend=backend)(delayed(draw)() for _ in range(3))


def nested_with_its_own_seed():
    return Parallel(seed=1)(delayed(draw)() for _ in range(3))


def flaky(failures, x):
    number = draw()
    if x not in failures:
        failures.add(x)
        raise OSError(number)
    return number


def expected(index, count=1):
    sequence = np.random.SeedSequence(SEED, spawn_key=(index,))
    return tuple(np.random.default_rng(sequence).random(count))


@pytest.mark.parametrize("keys", [
    {},
    {"n_jobs": 2, "backend": "threading"},
    {"n_jobs": 2, "backend": "loky"},
    {"n_jobs": 3, "backend": "loky", "batch_size": 7},
    {"n_jobs": 2, "backend": "multiprocessing", "batch_size": 1},
])  # fmt: skip
def test_numbers_depend_on_seed_and_index_alone(keys):
    drawn = Parallel(seed=SEED, **keys)(delayed(draw_twice)() for _ in range(30))
    assert drawn == [expected(index, 2) for index in range(30)]


def test_a_retry_draws_the_same_numbers():
    parallel = Parallel(n_jobs=2, backend="threading", retries=1, seed=SEED)
    failures = set()
    assert parallel(delayed(flaky)(failures, x) for x in range(5)) == [expected(x)[0] for x in range(5)]


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky"])
def test_tasks_of_nested_calls_have_streams_of_their_own(backend):
    drawn = Parallel(n_jobs=2, backend=backend, seed=SEED)(delayed(nested)() for _ in range(3))
    assert len({number for numbers in drawn for number in numbers}) == 9
    sequence = np.random.SeedSequence(SEED, spawn_key=(2, 1))
    assert drawn[2][1] == np.random.default_rng(sequence).random()


def test_a_nested_seed_starts_afresh():
    one, two = Parallel(seed=SEED)(delayed(nested_with_its_own_seed)() for _ in range(2))
    assert one == two


def test_a_sequential_call_gives_its_task_back():
    def around():
        before = draw()
        Parallel()(delayed(draw)() for _ in range(3))
        return before, draw()

    assert Parallel(seed=SEED)([delayed(around)()]) == [expected(0, 2)]


def test_the_seed_may_come_from_any_layer():
    with parallel_config(seed=SEED):
        assert Parallel()([delayed(draw)()]) == [expected(0)[0]]
    handle = set_config(seed=SEED)
    try:
        assert Parallel()([delayed(draw)()]) == [expected(0)[0]]
        assert task_rng().random() == np.random.default_rng(SEED).random()
    finally:
        handle.reset()


def test_without_a_seed_numbers_differ():
    one, two = Parallel()(delayed(draw)() for _ in range(2))
    assert one != two
    assert task_rng().random() != task_rng().random()
