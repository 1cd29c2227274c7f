"""Views of the user's memory-mapped files: by reference where that gives the same array, else by value."""

import mmap

import numpy as np
import pytest

from parallelcfg.transport import load

VIEWS = {
    "whole": lambda m: m,
    "transposed": lambda m: m.T,
    "reversed": lambda m: m[::-1],
    "reversed both ways": lambda m: m[::-1, ::-1],
    "sliced": lambda m: m[3:17:2, 1::3],
    "sliced backwards": lambda m: m[17:3:-2, ::-3],
    "a column": lambda m: m[:, 4],
    "an element": lambda m: m[2, 3, ...],
    "reshaped": lambda m: m.reshape(5, -1),
    "other dtype": lambda m: m.view("u1"),
    "new axis": lambda m: m[:, None],
    "broadcast": lambda m: np.broadcast_to(m[1], (6, m.shape[1])),
    "plain array": np.asarray,
    "read-only": lambda m: np.asarray(m)[1:].view(),
    "beyond a page": lambda m: m[-1:],
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "user.dat"
    np.arange(20 * 1000, dtype=">f8").reshape(20, 1000).tofile(path)
    return path


def _open(path, mode, offset=0):
    return np.memmap(path, ">f8", mode, offset=offset, shape=(20 - offset // 8000, 1000))


@pytest.mark.parametrize("offset", [0, 8000, 16000])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_views_of_files_travel_by_reference_with_their_mode(
    view, mode, offset, path, make_sharing, arena_files
):
    sent = VIEWS[view](_open(path, mode, offset))
    if view == "read-only":
        sent.flags.writeable = False
    sharing = make_sharing(max_nbytes=1)
    got = load.loads(sharing.dumps([sent]))[0]
    assert type(got) is np.memmap
    assert got.mode == mode
    assert got.dtype == sent.dtype
    assert got.strides == sent.strides
    assert got.flags.writeable == sent.flags.writeable
    assert np.array_equal(got, sent)
    assert arena_files() == []
    assert len(sharing.dumps(sent)) < 1000


@pytest.mark.parametrize("view", VIEWS)
def test_references_can_be_sent_on_and_back(view, path, make_sharing):
    sent = VIEWS[view](_open(path, "r", 8000))
    sharing = make_sharing(max_nbytes=1)
    there = load.loads(sharing.dumps(sent))
    further = load.loads(make_sharing(max_nbytes=1).dumps(np.atleast_1d(there)[::-1]))
    assert np.array_equal(further, np.atleast_1d(sent)[::-1])
    back = sharing.loads(load.dumps(there, sharing.ticket))
    assert type(back) is np.memmap
    assert path.samefile(back.filename)
    assert np.array_equal(back, sent)


@pytest.mark.parametrize("view", VIEWS)
def test_private_maps_that_were_written_into_are_copied(view, path, make_sharing, arena_files):
    mapped = _open(path, "c")
    mapped[...] += 1
    sent = VIEWS[view](mapped)
    got = load.loads(make_sharing(max_nbytes=1).dumps(sent))
    assert np.array_equal(got, sent)
    assert len(arena_files()) == 1


def test_writes_through_a_reference_reach_the_file(path, make_sharing, worker):
    def write(array):
        array[0, 0] = -1

    mapped = _open(path, "r+")
    worker.run(make_sharing(max_nbytes=None), write, mapped)
    assert mapped[0, 0] == -1


def test_a_new_file_is_not_emptied_by_sending_it(tmp_path, make_sharing):
    mapped = np.memmap(tmp_path / "new.dat", "i4", "w+", shape=(10, 10))
    mapped[:] = 7
    got = load.loads(make_sharing().dumps(mapped))
    assert got.mode == "r+"
    assert (got == 7).all()
    got[0] = 8
    assert (mapped[0] == 8).all()


def test_small_views_travel_by_reference_too(path, make_sharing):
    sharing = make_sharing(max_nbytes=None, mmap_mode=None)
    assert type(load.loads(sharing.dumps(_open(path, "r")[0, :2]))) is np.memmap


def test_a_file_that_is_gone_is_copied(path, make_sharing, arena_files):
    mapped = _open(path, "r")
    path.unlink()
    got = load.loads(make_sharing().dumps(mapped))
    assert np.array_equal(got, mapped)
    assert len(arena_files()) == 1


def test_a_file_of_the_same_name_is_not_taken_for_it(path, tmp_path, make_sharing):
    mapped = _open(path, "r")
    other = tmp_path / "other.dat"
    np.zeros((20, 1000)).tofile(other)
    other.replace(path)
    assert np.array_equal(load.loads(make_sharing().dumps(mapped)), mapped)


def test_a_file_that_moved_is_found(path, tmp_path, make_sharing, arena_files):
    mapped = _open(path, "r")
    path.rename(tmp_path / "moved name.dat")
    assert np.array_equal(load.loads(make_sharing().dumps(mapped)), mapped)
    assert arena_files() == []


def test_a_small_view_of_a_file_that_is_gone_arrives_as_an_ordinary_array(path, make_sharing):
    mapped = _open(path, "r")
    path.unlink()
    got = load.loads(make_sharing().dumps(mapped[0, :3]))
    assert type(got) is np.ndarray
    assert got.tolist() == [0, 1, 2]


def test_what_was_computed_from_a_file_is_no_view_of_it(path, make_sharing, arena_files):
    mapped = _open(path, "r")
    computed = [mapped + 1, mapped.copy(), mapped[[3, 1, 2]]]
    got = load.loads(make_sharing().dumps(computed))
    for sent, arrived in zip(computed, got, strict=True):
        assert np.array_equal(sent, arrived)
    assert len(arena_files()) == 3


def test_maps_without_a_file_name_are_copied(path, make_sharing):
    with path.open("rb") as file:
        raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    array = np.frombuffer(raw, ">f8")
    assert np.array_equal(load.loads(make_sharing().dumps(array)), array)


def test_arrays_loaded_by_numpy_travel_by_reference(tmp_path, make_sharing, arena_files):
    np.save(tmp_path / "saved.npy", np.arange(1000.0).reshape(10, 100).T)
    mapped = np.load(tmp_path / "saved.npy", mmap_mode="r")
    got = load.loads(make_sharing().dumps(mapped[5:]))
    assert np.array_equal(got, mapped[5:])
    assert got.strides == mapped.strides
    assert arena_files() == []
