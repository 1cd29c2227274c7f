"""Arrays to a worker and back: the right values, the right type, written once, nothing left."""

import dataclasses
import gc
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from parallelcfg import Parallel, delayed
from parallelcfg.transport import ledger, load

RNG = np.random.default_rng(0)


def _values(dtype, shape):
    kind = np.dtype(dtype)
    count = int(np.prod(shape))
    raw = RNG.integers(0, 255, count * kind.itemsize, dtype="u1")
    if kind.kind == "b":
        raw %= 2
    if kind.kind in "US":
        return np.array(
            [f"é{i % 90}" if kind.kind == "U" else f"{i % 90}" for i in range(count)], kind
        ).reshape(shape)
    return raw.view(kind).reshape(shape)


RECORD = np.dtype([("a", "<i4"), ("b", ">f8"), ("c", "S3"), ("d", "u1", (2, 2))])
PADDED = np.dtype([("x", "u1"), ("y", "f8")], align=True)
DTYPES = [
    "?", "u1", "i2", "<i8", ">i4", "e", "f", "<f8", ">f8", "g", "F", "D", ">c16", "S5", "U4", "V7",
    "M8[ns]", "m8[us]", ">M8[D]", RECORD, PADDED,
]  # fmt: skip


def _unaligned(array):
    room = np.zeros(array.nbytes + 1, "u1")
    view = room[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


VIEWS = {
    "C": lambda a: a,
    "F": np.asfortranarray,
    "transposed": lambda a: a.transpose(2, 0, 1),
    "reversed": lambda a: a[::-1, :, ::-1],
    "reversed and transposed": lambda a: a.T[:, ::-1],
    "sliced": lambda a: a[1:-1, ::2, 3:],
    "sliced backwards": lambda a: a[::-2, :, ::-3],
    "one axis": lambda a: a[:, 1, 2],
    "broadcast": lambda a: np.broadcast_to(a[0, :, :], (7, *a.shape[1:])),
    "broadcast and sliced": lambda a: np.broadcast_to(a[::2, None, :, 1], (3, 4, a.shape[1])),
    "axes of length one": lambda a: a[:, None, :, None, ::1],
    "windows": lambda a: sliding_window_view(a, 3, axis=2),
    "unaligned": _unaligned,
    "read-only": lambda a: _frozen(a.copy()),
    "no axis": lambda a: a[0, 0, 0, ...],
    "empty": lambda a: a[:0],
}


def _frozen(array):
    array.flags.writeable = False
    return array


def _same(left, right):
    assert left.shape == right.shape
    assert left.dtype == right.dtype
    # Field by field, because copies of records leave out what is between the fields.
    for name in left.dtype.names or [...]:
        assert np.array(left[name], order="C").tobytes() == np.array(right[name], order="C").tobytes()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("mode", ["r", "c", "r+", "w+"])
def test_arguments_and_results_have_the_values_that_were_sent(dtype, view, mode, make_sharing):
    array = VIEWS[view](_values(dtype, (6, 5, 12)))
    if array.size == 0 and array.dtype.kind in "mM":
        array = array.astype(
            array.dtype.newbyteorder("=")
        )  # numpy's own pickles of small ones forget the order
    sharing = make_sharing(max_nbytes=1, mmap_mode=mode)

    (argument,) = load.loads(sharing.dumps((array,)))
    _same(argument, array)
    if array.size:
        assert type(argument) is np.memmap
        assert argument.flags.writeable == (mode != "r" and array.flags.writeable)

    (result,) = sharing.loads(load.dumps((argument,), sharing.ticket))
    _same(result, array)
    assert type(result) is np.ndarray
    if array.size:
        assert result.flags.writeable
        result[...] = np.zeros((), array.dtype)
        _same(argument, array)


@pytest.mark.parametrize("view", ["C", "F", "transposed", "reversed", "sliced"])
def test_order_of_axes_in_memory_is_kept(view, make_sharing):
    array = VIEWS[view](_values("f8", (6, 5, 12)))
    argument = load.loads(make_sharing(max_nbytes=1).dumps(array))
    order = [sorted(range(3), key=lambda axis: a.strides[axis]) for a in map(_absolute, (array, argument))]
    assert order[0] == order[1]
    if array.flags.contiguous or array.flags.f_contiguous:
        assert argument.strides == array.strides


def _absolute(array):
    return as_strided(array[tuple(slice(None, None, -1 if s < 0 else 1) for s in array.strides)])


@pytest.mark.parametrize("dtype", ["f8", "V0", []], ids=str)
def test_nothing_at_all_is_never_large(dtype, make_sharing, arena_files):
    sharing = make_sharing(max_nbytes=0)
    array = np.zeros((0, 3) if dtype == "f8" else (2, 3), dtype)
    sent = [array, array.copy().view(Tagged), pickle.PickleBuffer(b"")]
    there = load.loads(sharing.dumps(sent))
    back = sharing.loads(load.dumps(there, sharing.ticket))
    for got in (there, back):
        assert [got[0].shape, got[0].dtype, type(got[1])] == [array.shape, array.dtype, Tagged]
        assert bytes(got[2]) == b""
    assert arena_files() == []


def test_broadcast_arrays_take_the_room_of_what_they_repeat(make_sharing):
    sharing = make_sharing()
    argument = load.loads(sharing.dumps(np.broadcast_to(np.arange(100.0), (1000, 100))))
    assert sharing.bytes_shared == 800
    assert argument.strides == (0, 8)


class Tagged(np.ndarray):
    """A subclass with whatever state of its own."""


def test_object_arrays_and_subclasses_are_pickled(make_sharing):
    sharing = make_sharing()
    objects = np.array([None, "x", 3] * 1000, object)
    tagged = np.ones((50, 50)).view(Tagged)
    got_objects, got_tagged = load.loads(sharing.dumps((objects, tagged)))
    assert got_objects.tolist() == objects.tolist()
    assert type(got_tagged) is Tagged
    assert sharing.bytes_shared == 0


def test_masked_arrays_stay_masked(make_sharing, worker):
    masked = np.ma.masked_greater(np.arange(1000.0), 500)
    got = worker.run(make_sharing(), lambda m: (type(m).__name__, m.mask.sum(), m + 1), masked)
    assert got[:2] == ("MaskedArray", 499)
    assert got[2].sum() == (masked + 1).sum()


@dataclasses.dataclass
class Holder:
    array: np.ndarray


def test_arrays_are_found_wherever_they_are_nested(make_sharing):
    array = np.arange(1000.0)
    sharing = make_sharing()
    sent = ([{"a": (array,)}], Holder(array), lambda: array)
    ([first], second, third) = load.loads(sharing.dumps(sent))
    assert sharing.bytes_shared == array.nbytes
    for got in (first["a"][0], second.array, third()):
        assert type(got) is np.memmap
        _same(got, array)


def test_the_threshold_is_the_size_from_which_arrays_are_shared(make_sharing):
    sharing = make_sharing(max_nbytes=80)
    below, at = load.loads(sharing.dumps((np.zeros(9), np.zeros(10))))
    assert type(below) is np.ndarray
    assert type(at) is np.memmap


@pytest.mark.parametrize("off", [{"max_nbytes": None}, {"mmap_mode": None}], ids=str)
def test_nothing_is_shared_where_sharing_is_off(off, make_sharing, arena_files, tmp_path):
    sharing = make_sharing(**off)
    argument = load.loads(sharing.dumps(np.arange(10_000)))
    result = sharing.loads(load.dumps(np.arange(10_000), sharing.ticket))
    assert type(argument) is type(result) is np.ndarray
    assert argument.flags.writeable
    assert list(tmp_path.iterdir()) == []
    assert sharing.bytes_shared == 0
    assert sharing.bytes_pickled > 160_000


def test_one_array_in_many_batches_is_written_once(make_sharing, arena_files):
    array = np.arange(1000.0)
    sharing = make_sharing()
    for batch in range(20):
        sharing.dumps([array, (array,)], user=batch)
    assert len(arena_files()) == 1
    assert sharing.bytes_shared == array.nbytes


def test_a_file_goes_when_neither_batches_nor_the_parent_need_its_array(make_sharing, arena_files):
    sharing = make_sharing()
    array = np.arange(1000.0)
    sharing.dumps(array, user=1)
    sharing.dumps(array, user=2)
    sharing.release(1)
    assert len(arena_files()) == 1
    sharing.release(2)
    assert len(arena_files()) == 1  # the array may come again
    sharing.dumps(array, user=3)
    del array
    gc.collect()
    sharing.dumps("anything", user=4)
    assert len(arena_files()) == 1
    sharing.release(3)
    assert arena_files() == []


def test_an_array_that_takes_the_place_of_a_dead_one_is_not_mistaken_for_it(make_sharing):
    sharing = make_sharing()
    for value in range(50):
        array = np.full(1000, value)
        got = load.loads(sharing.dumps(array, user=value))
        assert got[0] == value
        sharing.release(value)
        del array, got


def test_every_call_captures_anew(make_sharing):
    array = np.zeros(1000)
    assert load.loads(make_sharing().dumps(array))[0] == 0
    array[:] = 1
    assert load.loads(make_sharing().dumps(array))[0] == 1


def test_within_a_call_an_array_is_captured_when_it_is_first_met(make_sharing):
    array = np.zeros(1000)
    sharing = make_sharing()
    sharing.dumps(array)
    array[:] = 1
    assert load.loads(sharing.dumps(array))[0] == 0


def test_results_come_from_a_worker_as_ordinary_arrays_and_leave_no_file(make_sharing, worker, arena_files):
    sharing = make_sharing()
    array = np.arange(1000.0)
    got = worker.run(sharing, lambda a: {"doubled": 2 * a, "same": a, "part": a[::2]}, array)
    _same(got["doubled"], 2 * array)
    _same(got["same"], array)
    _same(got["part"], array[::2])
    assert {type(value) for value in got.values()} == {np.ndarray}
    assert len(arena_files()) == 1  # the argument
    assert all("argument" in path for path in arena_files())


def test_a_result_that_occurs_twice_is_one_object_and_one_file(make_sharing):
    sharing = make_sharing()
    array = np.arange(1000.0)
    first, second = sharing.loads(load.dumps([array, array], sharing.ticket))
    assert first is second
    assert sharing.bytes_shared == array.nbytes


def test_a_result_that_cannot_be_pickled_leaves_no_file(make_sharing, arena_files):
    sharing = make_sharing()
    with pytest.raises(Exception, match=r"can't pickle result\[1\]: cannot pickle 'generator'"):
        load.dumps([np.arange(1000), (i for i in ())], sharing.ticket)
    assert arena_files() == []


def test_a_worker_that_comes_too_late_pickles_and_makes_no_folder(make_sharing, tmp_path):
    sharing = make_sharing()
    ticket = sharing.ticket
    sharing.close()
    late = load.dumps(np.arange(1000), ticket)
    assert list(tmp_path.iterdir()) == []
    _same(sharing.loads(late), np.arange(1000))


def test_what_is_sent_after_closing_is_pickled(make_sharing, tmp_path):
    sharing = make_sharing()
    sharing.close()
    _same(load.loads(sharing.dumps(np.arange(1000))), np.arange(1000))
    assert list(tmp_path.iterdir()) == []


def test_results_nobody_asked_for_go_with_the_call(make_sharing, worker, arena_files, tmp_path):
    sharing = make_sharing()
    worker.send(sharing.dumps((lambda: np.zeros(1000), ())), sharing.ticket)
    assert len(arena_files()) == 1
    sharing.close()
    sharing.close()
    assert list(tmp_path.iterdir()) == []


def test_writing_into_a_read_only_argument_says_what_to_do(make_sharing, worker):
    def write(array):
        array[0] = 1

    with pytest.raises(RuntimeError, match=r"read-only.*set mmap_mode='c' for private writable copies"):
        worker.run(make_sharing(), write, np.zeros(1000))


def test_writes_go_where_the_mode_says(make_sharing, worker):
    def write(array):
        array[0] = 1
        return array[0]

    array = np.zeros(1000)
    private = make_sharing(mmap_mode="c")
    assert worker.run(private, write, array) == 1
    assert worker.run(private, lambda a: a[0], array) == 0
    common = make_sharing(mmap_mode="r+")
    assert worker.run(common, write, array) == 1
    assert worker.run(common, lambda a: a[0], array) == 1
    assert array[0] == 0


def test_what_tasks_wrote_stays_however_much_other_tasks_get(make_sharing, monkeypatch):
    monkeypatch.setattr(ledger, "_WAITING", 10_000)
    sharing = make_sharing(mmap_mode="r+")
    arrays = [np.zeros(1000) for _ in range(5)]
    for number, array in enumerate(arrays):
        load.loads(sharing.dumps(array, user=number))[0] = 1
        sharing.release(number)
    assert [load.loads(sharing.dumps(array))[0] for array in arrays] == [1] * 5


def test_a_call_without_large_data_touches_no_folder(make_sharing, tmp_path):
    sharing = make_sharing()
    sharing.dumps([1, "two", np.arange(3)])
    assert list(tmp_path.iterdir()) == []


def _descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_many_rounds_leave_no_descriptors_or_mappings(make_config, tmp_path):
    from parallelcfg.transport.reduce import Sharing

    def round_trip():
        sharing = Sharing(make_config())
        got = load.loads(sharing.dumps(np.arange(1000)))
        sharing.loads(load.dumps(got + 1, sharing.ticket))
        sharing.close()

    def counts():
        mapped = Path("/proc/self/maps").read_text().count("parallelcfg-")
        return _descriptors(), mapped, len(list(tmp_path.iterdir()))

    round_trip()
    before = counts()
    for _ in range(200):
        round_trip()
    assert counts() == before


def test_many_results_alive_at_once_do_not_exhaust_descriptors(make_sharing, monkeypatch):
    from parallelcfg.transport import mapping

    monkeypatch.setattr(mapping, "_limit", lambda: 5)
    sharing = make_sharing()
    before = _descriptors()
    results = [sharing.loads(load.dumps(np.full(1000, i), sharing.ticket)) for i in range(20)]
    assert _descriptors() <= before + 5
    assert [int(array[-1]) for array in results] == list(range(20))
    results[-1][0] = 7
    assert all(array.flags.writeable for array in results)


def _first_of(array):
    return float(array[0])


def _mapped_here(array):
    from parallelcfg.transport import mapping

    return [key[0] == array.filename for key in mapping._again]


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_an_array_that_comes_again_is_mapped_once_by_a_worker(mode):
    array = np.ones(500_000)
    with Parallel(n_jobs=2, batch_size=1, mmap_mode=mode) as parallel:
        assert parallel(delayed(_first_of)(array) for _ in range(20)) == [1.0] * 20
        held = parallel(
            delayed(_mapped_here)(array) for _ in range(8)
        )  # one worker has at least four of them
    assert ([True] in held) == (mode != "c")
    assert all(one in ([], [True]) for one in held)  # nothing of the call before


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not tell what is mapped")
def test_an_idle_worker_keeps_nothing_mapped():
    array = np.ones(500_000)
    with Parallel(n_jobs=2, batch_size=1) as parallel:
        workers = set(parallel(delayed(_worker_of)(array) for _ in range(20)))
        deadline = time.monotonic() + 10
        while any(map(_maps, workers)):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _worker_of(array):
    assert array[0] == 1.0
    return os.getpid()


def _maps(pid):
    """Whether a process has a file of the arena mapped."""
    return "argument-" in Path(f"/proc/{pid}/maps").read_text(encoding="ascii", errors="replace")
