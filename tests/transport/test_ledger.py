"""Which files are kept for what may come again, and which make room."""

from __future__ import annotations

import numpy as np
import pytest

from parallelcfg.transport import ledger
from parallelcfg.transport.ledger import Ledger


@pytest.fixture(autouse=True)
def _room_for_two(monkeypatch):
    monkeypatch.setattr(ledger, "_WAITING", 200)


@pytest.fixture
def book():
    return Ledger()


def passed(book, array, user):
    """Pass an array to one batch, which ends; whether it had to be written, and what is removed then."""
    entry = book.find(id(array), array)
    written = entry is None
    if entry is None:
        entry = book.add(id(array), None, f"file of {user}", array, 100, weak=True)
    book.use(entry, user)
    book.release(user)
    return written, list(book.obsolete())


def test_files_of_one_batch_make_room_the_oldest_first(book):
    arrays = [np.zeros(1) for _ in range(4)]
    removed = [passed(book, array, number)[1] for number, array in enumerate(arrays)]
    assert removed == [[], [], ["file of 0"], ["file of 1"]]


def test_an_array_that_came_twice_stays(book):
    twice, others = np.zeros(1), [np.zeros(1) for _ in range(9)]
    passed(book, twice, "a")
    passed(book, twice, "b")
    removed = [name for number, other in enumerate(others) for name in passed(book, other, number)[1]]
    assert "file of a" not in removed
    assert passed(book, twice, "c") == (False, [])


def test_an_array_is_written_twice_at_the_most(book):
    arrays = [np.zeros(1) for _ in range(6)]
    written = 0
    for turn in range(5):
        for number, array in enumerate(arrays):
            written += passed(book, array, (turn, number))[0]
    assert written <= 2 * len(arrays)


def test_files_that_tasks_may_write_into_never_make_room():
    book, arrays = Ledger(written=True), [np.zeros(1) for _ in range(9)]
    for turn in range(2):
        for number, array in enumerate(arrays):
            assert passed(book, array, (turn, number)) == (turn == 0, [])
    del array
    arrays.pop()
    assert list(book.obsolete()) == ["file of (0, 8)"]


def test_files_in_use_never_make_room(book):
    arrays = [np.zeros(1) for _ in range(5)]
    for number, array in enumerate(arrays):
        book.use(book.add(id(array), None, f"file of {number}", array, 100, weak=True), number)
        assert list(book.obsolete()) == []


def test_another_array_at_the_same_place_is_not_taken_for_the_one_that_was_there(book):
    first, second = np.zeros(1), np.zeros(1)
    for _ in range(3):
        book.use(book.add("place", None, "file", first, 100, weak=True), 1)
        book.release(1)
        list(book.obsolete())
    assert not book.add("place", None, "file", second, 100, weak=True).again
