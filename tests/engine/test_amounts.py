"""How many: tasks there are, known before any is taken; batches ahead."""

import pytest

from parallelcfg import ConfigError, Parallel, delayed
from parallelcfg.engine.amounts import total_of


def generator():
    yield from range(3)


@pytest.mark.parametrize(
    ("tasks", "total"),
    [
        ([1, 2, 3], 3),
        ({1: 2}, 1),
        (iter([1, 2, 3]), 3),
        ((x for x in range(4)), 4),
        ((abs(x) for x in (y for y in [1, 2])), 2),
        ((abs(x or 1) for x in range(4)), None),
        ((x for x in range(4) if x), None),
        (((x, y) for x in range(4) for y in range(2)), None),
        ((x for x in generator()), None),
        (generator(), None),
        (map(abs, [1, 2]), None),
        (enumerate([1]), None),
    ],
)
def test_totals(tasks, total):
    assert total_of(tasks) == total
    if not isinstance(tasks, (list, dict)):
        rest = len(list(tasks))
        assert total is None or rest == total


def test_a_begun_generator_tells_what_is_left():
    tasks = (x for x in range(5))
    next(tasks)
    assert total_of(tasks) == 4
    list(tasks)
    assert total_of(tasks) is None


@pytest.mark.parametrize(
    ("jobs", "said", "reason"),
    [(4, "100 / (n_jobs - 4)", "divides by zero when n_jobs is 4"), (200, "n_jobs ** 3", "up to 1,000,000")],
)
def test_an_expression_that_fails_for_this_number_of_jobs_is_told_with_its_place(jobs, said, reason):
    parallel = Parallel(n_jobs=jobs, backend="threading", pre_dispatch=said)
    with pytest.raises(ConfigError) as told:
        parallel([delayed(abs)(-1)])
    assert f"pre_dispatch='{said}': " in str(told.value)
    assert reason in str(told.value)
    assert "test_amounts.py:" in str(told.value)
