"""How many tasks there are, known before any is taken."""

import pytest

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
