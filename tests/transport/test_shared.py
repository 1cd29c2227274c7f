"""Arrays born in shared memory."""

import gc
import os
import re
from dataclasses import replace

import numpy as np
import pytest

import parallelcfg
from parallelcfg.config.context import using_machine
from parallelcfg.config.machine import Machine


@pytest.fixture
def shared(tmp_path):
    return lambda *args: parallelcfg.shared_array(*args, temp_folder=str(tmp_path))


def test_it_is_an_array_of_zeros(shared):
    array = shared((3, 4), "i2")
    assert array.shape == (3, 4)
    assert array.dtype == "i2"
    assert array.flags.c_contiguous
    assert not array.any()
    assert shared(np.int64(5)).shape == (5,)
    assert shared(()).shape == ()
    assert shared((0, 3)).shape == (0, 3)


def test_workers_write_into_it_whatever_the_mode(shared, make_sharing, worker):
    def write(part, value):
        part[...] = value

    array = shared((4, 10))
    sharing = make_sharing(mmap_mode="r", max_nbytes=None)
    for row in range(4):
        worker.run(sharing, write, array[row, ::2], row + 1)
    assert array[:, ::2].tolist() == [[row + 1] * 5 for row in range(4)]
    assert not array[:, 1::2].any()


def test_it_comes_back_from_a_worker_as_itself(shared, make_sharing, worker):
    array = shared(1000)
    back = worker.run(make_sharing(), lambda a: a[10:20], array)
    back[0] = 5
    assert array[10] == 5
    assert back.base is array.base


def test_it_costs_nothing_to_send(shared, make_sharing):
    sharing = make_sharing(max_nbytes=1)
    assert len(sharing.dumps(shared(1_000_000))) < 1000
    assert sharing.bytes_shared == 0


def test_it_is_freed_with_its_last_reference(shared, tmp_path):
    array = shared(1000)
    view = array[5:]
    del array
    gc.collect()
    assert len(list(tmp_path.iterdir())) == 1
    assert not view.any()
    del view
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_it_lives_as_long_as_calls_that_use_it(shared, make_sharing, worker, tmp_path):
    sharing = make_sharing()
    data = sharing.dumps((lambda a: (a.sum(), a), (shared(1000),)), user=1)
    gc.collect()
    answer = worker.send(data, sharing.ticket)
    sharing.release(1)
    gc.collect()
    total, array = sharing.loads(answer)
    assert total == 0
    assert not array.any()
    del array
    sharing.close()
    assert list(tmp_path.iterdir()) == []


def test_it_is_freed_with_the_call_that_used_it_and_not_by_the_garbage_collector(
    shared, make_sharing, tmp_path
):
    gc.collect()
    gc.disable()
    try:
        sharing = make_sharing()
        sharing.dumps([shared(1000), np.ones(1000)])
        sharing.close()
        assert list(tmp_path.iterdir()) == []
    finally:
        gc.enable()


def test_one_that_was_born_in_a_worker_comes_back_as_an_ordinary_array(make_sharing, worker, tmp_path):
    def make(folder):
        from parallelcfg.transport.shared import shared_array

        array = shared_array(1000, temp_folder=folder)
        array[:] = 3
        return array

    sharing = make_sharing()
    array = worker.run(sharing, make, str(tmp_path))
    assert type(array) is np.ndarray
    assert (array == 3).all()
    sharing.close()
    assert list(tmp_path.iterdir()) == []


def test_share_copies(tmp_path):
    source = np.arange(6).reshape(2, 3)
    copy = parallelcfg.share(source, temp_folder=str(tmp_path))
    source[:] = 0
    assert copy.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_two_references_in_a_worker_are_one_memory(shared, make_sharing, worker):
    def write(left, right):
        left[0] = 1
        return float(right[0])

    array = shared(1000)
    assert worker.run(make_sharing(), write, array, array[:10]) == 1


def test_python_objects_are_refused(shared):
    with pytest.raises(TypeError, match="can't share Python objects"):
        shared(3, object)


def test_no_room_is_an_error(shared, tmp_path):
    with pytest.raises(OSError, match="no room for 8,000,000,000,000,000 bytes") as caught:
        shared(10**15)
    said = rf"in {re.escape(str(tmp_path))} \(.*test_shared\.py:\d+\): No space left on device; .*Set temp_f"
    assert re.search(said, str(caught.value))


@pytest.fixture
def machine(tmp_path):
    """A made-up machine: what is said there, and `empty` besides."""
    system, empty = tmp_path / "system", tmp_path / "empty"
    system.mkdir()
    empty.mkdir()
    made = Machine({}, cwd=empty, home=tmp_path / "home", system_dir=system, user_dir=empty, uid=os.geteuid())
    with using_machine(made):
        yield made


def test_a_relative_folder_is_that_of_the_moment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = parallelcfg.shared_array(3, temp_folder="here")
    monkeypatch.chdir("/")
    assert len(list((tmp_path / "here").iterdir())) == 1
    del array
    gc.collect()
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("make", [parallelcfg.share, lambda array, **key: parallelcfg.shared_array(3, **key)])
def test_a_folder_is_spelt_as_in_the_configuration(machine, make, tmp_path):
    with using_machine(replace(machine, environ={"JOB": "7"})):
        array = make([1, 2, 3], temp_folder="~/scratch/$JOB")
    assert array.filename.startswith(str(tmp_path / "home" / "scratch" / "7"))
    assert make([1, 2, 3], temp_folder=tmp_path).filename.startswith(str(tmp_path))


def test_it_is_in_the_configured_folder(machine, tmp_path):
    with parallelcfg.parallel_config(temp_folder=tmp_path / "configured"):
        assert parallelcfg.shared_array(3).filename.startswith(str(tmp_path / "configured"))
        assert parallelcfg.share([1], temp_folder=tmp_path / "own").filename.startswith(str(tmp_path / "own"))


def test_a_locked_folder_holds(machine, tmp_path):
    (machine.system_dir / "parallel.toml").write_text(f"[locked]\ntemp_folder = '{tmp_path / 'locked'}'\n")
    with pytest.warns(parallelcfg.ConfigWarning, match="is locked by"):
        array = parallelcfg.shared_array(3, temp_folder=tmp_path / "own")
    assert array.filename.startswith(str(tmp_path / "locked"))
