"""Folders for results are made when a worker asks for one: most calls need none."""

import os
from pathlib import Path

import numpy as np
import pytest

from parallelcfg import Parallel, delayed
from parallelcfg.transport import arena, load
from parallelcfg.transport.reduce import Sharing

PROCESSES = pytest.mark.parametrize("backend", ["loky", "multiprocessing"])


@pytest.fixture
def made(monkeypatch):
    """The folders made since."""
    found = []
    make = arena.make_owned_folder

    def noted(base):
        found.append(make(base))
        return found[-1]

    monkeypatch.setattr(arena, "make_owned_folder", noted)
    return found


@PROCESSES
def test_a_call_without_large_data_makes_no_folder(backend, made):
    assert Parallel(n_jobs=2, backend=backend)(delayed(abs)(-x) for x in range(100)) == list(range(100))
    assert made == []


@PROCESSES
def test_large_results_make_one_folder_for_the_call(backend, made, tmp_path):
    parallel = Parallel(n_jobs=2, backend=backend, max_nbytes=1000, temp_folder=str(tmp_path), batch_size=1)
    results = parallel(delayed(np.full)(1000, x) for x in range(20))
    assert [int(result.sum()) for result in results] == [1000 * x for x in range(20)]
    assert parallel.report.bytes_shared == 20 * 8000
    assert len(made) == 1
    assert list(tmp_path.iterdir()) == []


@PROCESSES
def test_the_next_call_has_a_folder_of_its_own(backend, made):
    parallel = Parallel(n_jobs=2, backend=backend, max_nbytes=1000)
    for _ in range(3):
        assert len(parallel(delayed(np.ones)(1000) for _ in range(4))) == 4
    assert len(set(made)) == 3


def nested_in_threads(size):
    """A loop inside a task, both with large results."""
    inner = Parallel(n_jobs=2, backend="threading")(delayed(np.ones)(size) for _ in range(2))
    return np.concatenate(inner)


def test_a_folder_for_arguments_serves_results_too(made):
    parallel = Parallel(n_jobs=2, max_nbytes=1000)
    results = parallel(delayed(np.add)(np.ones(1000), x) for x in range(4))
    assert [int(result[0]) for result in results] == [1, 2, 3, 4]
    assert len(made) == 1


@PROCESSES
def test_nested_loops_and_later_calls_in_the_same_workers_agree_on_folders(backend):
    parallel = Parallel(n_jobs=2, backend=backend, max_nbytes=1000)
    for _ in range(2):
        results = parallel(delayed(nested_in_threads)(1000) for _ in range(4))
        assert [result.size for result in results] == [2000] * 4


def test_a_worker_asks_once_for_a_call(make_sharing, monkeypatch):
    sharing, asked = make_sharing(), []

    def answer():
        asked.append(1)
        return sharing.folders()

    monkeypatch.setattr(load, "_expected", None)
    monkeypatch.setattr(load, "_ask", answer)
    for value in (1, 2):
        load.expect(sharing.open_ticket._replace(folders=None))
        packed = load.dumps(np.full(1000, value), sharing.open_ticket._replace(folders=None))
        assert sharing.loads(packed)[0] == value
    assert len(asked) == 1
    assert sharing.bytes_shared == 2 * 8000


def test_the_answer_of_a_call_that_is_over_is_that_nobody_waits(make_sharing, monkeypatch, tmp_path):
    sharing = make_sharing()
    ticket = sharing.open_ticket
    sharing.close()
    monkeypatch.setattr(load, "_expected", None)
    monkeypatch.setattr(load, "_ask", sharing.folders)
    assert sharing.folders() == ()
    assert sharing.loads(load.dumps(np.ones(1000), ticket)).sum() == 1000
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_with_an_answer_is_logged_and_ends_nothing(monkeypatch, caplog):
    def fail(self):
        raise RuntimeError("no folder today")

    monkeypatch.setattr(Sharing, "folders", fail)
    parallel = Parallel(n_jobs=2, max_nbytes=1000, batch_size=1)
    for _ in range(2):
        assert [result.size for result in parallel(delayed(np.ones)(1000) for _ in range(4))] == [1000] * 4
    assert parallel.report.bytes_shared == 0
    assert "no folder today" in caplog.text


def test_whose_parent_can_not_be_asked_pickles(make_sharing, monkeypatch):
    sharing = make_sharing()
    monkeypatch.setattr(load, "_expected", None)
    monkeypatch.setattr(load, "_ask", None)
    assert sharing.loads(load.dumps(np.ones(1000), sharing.open_ticket)).sum() == 1000
    assert sharing.bytes_shared == 0


def test_the_worker_knows_where_to_sweep_once_it_was_answered(make_sharing, monkeypatch, tmp_path):
    sharing = make_sharing()
    monkeypatch.setattr(load, "_expected", None)
    monkeypatch.setattr(load, "_bases", set())
    monkeypatch.setattr(load, "_ask", sharing.folders)
    sharing.loads(load.dumps(np.ones(1000), sharing.open_ticket))
    assert str(tmp_path) in load._bases


@pytest.mark.skipif(os.name != "posix", reason="folders are shared on POSIX systems")
def test_folders_are_private_whoever_asks(made, tmp_path):
    seen = []
    parallel = Parallel(
        n_jobs=2,
        max_nbytes=1000,
        temp_folder=str(tmp_path),
        batch_size=1,
        progress=lambda _: seen.extend(Path(folder).stat().st_mode & 0o777 for folder in made),
    )
    parallel(delayed(np.ones)(1000) for _ in range(4))
    assert set(seen) == {0o700}
