"""Two who divide a batch: no task is run by both."""

from __future__ import annotations

import multiprocessing
import random
import threading
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg.transport import claims
from parallelcfg.transport.board import CLAIMED, LocalBoard, SharedBoard
from parallelcfg.transport.claims import claimant, cut, divide, unclaimed


def begun(upto, batch_id=7):
    """The cell of a worker that has begun a batch, and what it claims with."""
    board = LocalBoard()
    cell = board.take_seat(0)
    claim = claimant(board.begin(batch_id), batch_id)
    assert claim(upto) == upto
    return cell, claim


@given(st.integers(0, 100), st.integers(1, 100))
def test_half_of_what_is_not_begun_is_taken_back(upto, more):
    cell, claim = begun(upto)
    size = upto + more
    assert unclaimed(cell, 7, size) == more
    kept = divide(cell, 7, size)
    assert (size - kept, claim(size)) == ((more + 1) // 2, kept)


def test_what_was_divided_can_be_divided_again():
    cell, claim = begun(2)
    assert divide(cell, 7, 10) == 6
    assert divide(cell, 7, 6) == 4
    assert claim(6) == 4


@pytest.mark.parametrize("divided", [False, True])
def test_a_batch_can_be_cut_behind_the_task_that_runs(divided):
    cell, claim = begun(3)
    if divided:
        divide(cell, 7, 10)
    assert cut(cell, 7, position=2)
    assert claim(4) == 3


def test_a_worker_that_has_gone_on_keeps_its_batch():
    cell, claim = begun(4)
    assert not cut(cell, 7, position=2)
    assert claim(10) == 10


def test_a_worker_that_goes_on_meanwhile_says_so(monkeypatch):
    cell, claim = begun(3)
    monkeypatch.setattr(claims, "sleep", lambda _: cell.__setitem__(CLAIMED, 4))  # it has not seen the cut
    assert not cut(cell, 7, position=2)
    assert max(4, claim(5)) == 4  # what it has claimed, and no more


def test_another_batch_than_the_one_that_runs_is_not_cut():
    cell, claim = begun(3)
    assert not cut(cell, 6, position=2)
    assert claim(10) == 10


def test_a_batch_on_its_way_can_be_divided():
    board = LocalBoard()
    cell = board.take_seat(0)
    assert divide(cell, 7, 10) == 5
    claim = claimant(board.begin(7), 7)
    assert (claim(1), claim(10)) == (1, 5)


def test_the_next_batch_is_whole():
    board = LocalBoard()
    cell = board.take_seat(0)
    claimant(board.begin(7), 7)(3)
    divide(cell, 7, 10)
    board.end(7)
    assert claimant(board.begin(8), 8)(10) == 10


def test_a_worker_that_takes_over_a_batch_keeps_to_what_was_agreed():
    board = SharedBoard(1)
    seat = board.seat(0)
    kept = divide(seat.cell, 3, 10)
    seat.clear()  # the first one has died, or had yet to be started
    assert claimant(seat.begin(3), 3)(10) == kept


def test_the_first_batch_of_all_is_whole():
    seat = SharedBoard(1).seat(0)
    assert claimant(seat.begin(0), 0)(10) == 10


def work(connection, seat):
    """Claim the tasks of batches one by one; say how many there were."""
    while (order := connection.recv()) is not None:
        batch_id, size = order
        claim = claimant(seat.begin(batch_id), batch_id)
        done = 0
        while done < size and claim(done + 1) > done:
            done += 1
        seat.end(batch_id)
        connection.send(done)


@contextmanager
def another_process(connection):
    board = SharedBoard(1)
    seat = board.seat(0)
    process = multiprocessing.get_context("spawn").Process(target=work, args=(connection, seat))
    process.start()
    yield seat.cell
    process.join()


@contextmanager
def another_thread(connection):
    board = LocalBoard()
    known = threading.Event()
    cells = []

    def serve():
        cells.append(board.take_seat(0))
        known.set()
        work(connection, board)

    thread = threading.Thread(target=serve)
    thread.start()
    known.wait()
    yield cells[0]
    thread.join()


@pytest.mark.parametrize("worker", [another_process, another_thread])
def test_nothing_is_run_that_was_taken_back_whoever_is_faster(worker):
    ours, theirs = multiprocessing.Pipe()
    chance = random.Random(7)
    divided = 0
    with worker(theirs) as cell:
        for batch_id in range(1500):
            size = chance.randint(2, 400)
            ours.send((batch_id, size))
            for _ in range(chance.randint(0, 400)):
                pass
            kept = size
            for _ in range(chance.randint(1, 3)):
                if unclaimed(cell, batch_id, kept) > 0:
                    kept = divide(cell, batch_id, kept)
            assert ours.recv() <= kept  # what it leaves of that, it reports as not run
            divided += kept < size
        ours.send(None)
    assert divided > 100
