"""The loop in which tasks run: what it notes, where it stops, what it makes of failures."""

from __future__ import annotations

import pytest

from parallelcfg import loop
from parallelcfg.core.gathering import columns
from parallelcfg.loop import run
from parallelcfg.orders import Orders
from parallelcfg.transport.board import BATCH, CLAIMED, DIVIDED, POSITION, SINCE
from parallelcfg.transport.claims import divide


class OneCell:
    """A board that tasks of the same process can read."""

    ordinal = None

    def __init__(self, *, outlives=True):
        self.outlives = outlives
        self.cell = [0.0] * 7
        self.cell[DIVIDED] = -1

    def begin(self, batch_id):
        self.cell[BATCH], self.cell[CLAIMED] = batch_id, 0
        return self.cell

    def end(self, batch_id):
        pass


class Clock:
    """Time that passes when a task says so."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(loop, "monotonic", lambda: self.now)

    def work(self, seconds):
        self.now += seconds
        return seconds


@pytest.fixture
def board():
    return OneCell()


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def orders(**keys):
    return Orders(None, **keys)


def with_one(function, count):
    return columns(0, [(function, (index,), {}) for index in range(count)])


@pytest.fixture(params=[True, False], ids=["read later", "read by nobody"])
def any_board(request):
    return OneCell(outlives=request.param)


def with_two(function, count):
    return columns(0, [(function, (index, None), {}) for index in range(count)])


def with_keywords(function, count):
    return columns(0, [(function, (), {"index": index}) for index in range(count)])


@pytest.mark.parametrize("batch_of", [with_one, with_two, with_keywords])
@pytest.mark.parametrize("stream", [None, (7, ())])
def test_every_task_finds_its_own_position_noted(board, batch_of, stream):
    def position(index, *_):
        if index % 7 == 3:
            raise KeyError(board.cell[POSITION])
        return board.cell[POSITION]

    results = run(board, 1, batch_of(position, 100), orders(stop=False, stream=stream), 60)
    seen = dict(enumerate(results.values)) | {at: error.args[0] for at, error in results.failures}
    assert seen == {index: index for index in range(100)}


def test_what_is_timed_finds_its_own_start_noted(board, clock):
    def since(seconds):
        began = board.cell[SINCE] == clock.now
        clock.work(seconds)
        return began

    batch = columns(0, [(since, (1e-9,), {})] * 50)
    board.cell[SINCE] = clock.now
    assert run(board, 1, batch, orders(timed=True), 60).values == [True] * 50


def test_nothing_is_begun_when_patience_is_over(any_board, clock):
    batch = columns(0, [(clock.work, (1.0,), {})] * 50)
    assert run(any_board, 1, batch, orders(), 4.5).values == [1.0] * 5


def test_tasks_that_grow_long_overstep_patience_by_a_few(any_board, clock):
    lengths = [1e-9] * 100 + [10.0] * 100
    batch = columns(0, [(clock.work, (length,), {}) for length in lengths])
    ran = len(run(any_board, 1, batch, orders(), 1.0).values)
    assert 100 < ran <= 100 + loop._MANY


def test_the_task_after_a_failure_never_seems_to_run_since_that_one_began(board, clock):
    seen = []

    class Cell(list):
        def __setitem__(self, at, value):
            super().__setitem__(at, value)
            if self[POSITION] == 1:
                seen.append(self[SINCE])

    def work_and_fail(index):
        clock.work(5)
        if index == 0:
            raise LookupError

    board.cell = Cell(board.cell)
    run(board, 7, with_one(work_and_fail, 2), orders(stop=False, timed=True), None)
    assert seen[0] == 5


@pytest.mark.parametrize("batch_of", [with_one, with_two])
def test_stop_iteration_is_a_failure_like_any_other(any_board, batch_of):
    def stop_at_three(index, *_):
        if index == 3:
            raise StopIteration(index)
        return index

    results = run(any_board, 1, batch_of(stop_at_three, 6), orders(stop=False), None)
    assert results.values == [0, 1, 2, None, 4, 5]
    assert [(at, type(error)) for at, error in results.failures] == [(3, StopIteration)]


def test_a_failure_ends_a_batch_whose_call_it_ends(any_board):
    results = run(any_board, 1, columns(0, [(int, (text,), {}) for text in ("1", "x", "2")]), orders(), None)
    assert results.values == [1, None]
    assert len(results.failures) == 1


def test_where_nobody_reads_it_no_position_is_noted_unless_tasks_are_timed():
    board = OneCell(outlives=False)
    board.cell[POSITION] = -1
    run(board, 1, with_one(abs, 5), orders(), None)
    assert board.cell[POSITION] == -1
    run(board, 1, with_one(abs, 5), orders(timed=True), None)
    assert board.cell[POSITION] == 4


def test_a_batch_goes_on_after_a_failure_whoever_reads(any_board):
    def fail_at_odd(index):
        if index % 2:
            raise KeyError(index)
        return index

    results = run(any_board, 1, with_one(fail_at_odd, 6), orders(stop=False), None)
    assert results.values == [0, None, 2, None, 4, None]
    assert [at for at, _ in results.failures] == [1, 3, 5]


def test_a_batch_that_is_divided_ends_where_it_was_divided(any_board, clock):
    def task(index):
        if index == 3:
            left.append(divide(any_board.cell, 1, 100))
        return clock.work(1.0)

    left = []
    assert run(any_board, 1, with_one(task, 100), orders(), 1000).values == [1.0] * left[0]
    assert left == [52]  # half of the 96 that were not begun


def test_a_batch_that_fails_everywhere_ends_where_it_was_divided(any_board):
    def task(index):
        if index == 3:
            left.append(divide(any_board.cell, 1, 100))
        raise KeyError(index)

    left = []
    results = run(any_board, 1, with_one(task, 100), orders(stop=False), 1000)
    assert [at for at, _ in results.failures] == list(range(left[0]))
    assert results.values == [None] * left[0]
