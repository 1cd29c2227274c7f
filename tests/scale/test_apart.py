"""What is taken out of a pickle for a cluster's store, and what a task sees of it."""

from __future__ import annotations

import gc
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from parallelcfg import ConfigError, get_config
from parallelcfg.core.tasks import Batch
from parallelcfg.transport import parcels
from parallelcfg.transport.apart import Apart

BIG = 200_000  # numbers of eight bytes: more than 1 MB


class Store:
    """Keeps what is put as long as its handle lives; contents are pickled on the way, as clusters do."""

    def __init__(self, **keys):
        self.put_count = 0
        self.alive = set()
        self.apart = Apart(get_config(**keys), self.put)

    def put(self, value):
        self.put_count += 1
        handle = Handle(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), self.alive)
        self.alive.add(id(handle))
        return handle

    def through(self, obj, user=None):
        parcel, handles = self.apart.dumps(obj, user=user)
        return parcels.loads(pickle.loads(pickle.dumps(parcel)), [pickle.loads(one.data) for one in handles])


class Handle:
    def __init__(self, data, alive):
        self.data = data
        self._alive = alive

    def __del__(self):
        self._alive.discard(id(self))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(BIG, dtype="f8"),
        np.arange(BIG * 2, dtype="f8")[::2],
        np.arange(BIG, dtype="f8").reshape(-1, 2).T,
        np.zeros((2, BIG), dtype=">i4"),
        np.zeros(BIG, dtype=[("a", "i4"), ("b", "f8")]),
        np.broadcast_to(np.arange(1000.0), (BIG // 1000, 1000)),
        np.arange(BIG).astype("M8[s]"),
    ],
    ids=["plain", "gaps", "transposed", "swapped", "records", "broadcast", "dates"],
)
def test_arrays_of_every_layout_come_through_read_only(array):
    store = Store()
    got = store.through([array, array])
    assert got[0].dtype == array.dtype
    np.testing.assert_array_equal(got[0], array)
    assert got[0] is got[1]
    assert not got[0].flags.writeable
    assert store.put_count == 1


@pytest.mark.parametrize("mode", ["c", None])
def test_copies_are_the_tasks_own(mode):
    got = Store(mmap_mode=mode).through(np.zeros(BIG))
    got[0] = 1
    assert type(got) is np.ndarray


def test_small_arrays_and_arrays_of_objects_stay_in_the_pickle():
    store = Store()
    got = store.through([np.arange(3), np.full(BIG, None)])
    assert got[0].flags.writeable
    assert store.put_count == 0


def test_without_a_threshold_nothing_is_stored():
    store = Store(max_nbytes=None)
    store.through(np.zeros(BIG))
    assert store.put_count == 0


def test_mapped_files_arrive_as_plain_arrays(tmp_path):
    array = np.memmap(tmp_path / "data", "f8", "w+", shape=BIG)
    array[:] = 3
    store = Store()
    large, small = store.through([array, array[:5]])
    assert type(large) is type(small) is np.ndarray
    assert large.sum() == 3 * BIG
    assert store.put_count == 1


def test_buffers_of_other_types_come_through_as_writable_as_they_were():
    writable, constant = bytearray(2**21), b"x" * 2**21
    store = Store()
    got = store.through([pickle.PickleBuffer(writable), pickle.PickleBuffer(constant)])
    assert [memoryview(one).readonly for one in got] == [False, True]
    assert [bytes(one) for one in got] == [bytes(writable), constant]


def test_an_array_is_stored_once_per_call_and_as_it_was_when_it_was_met():
    store, array = Store(), np.zeros(BIG)
    store.through(array)
    array[0] = 1
    assert store.through({"again": array})["again"][0] == 0
    assert store.put_count == 1


def test_what_a_lost_batch_needed_is_stored_anew_and_nothing_else():
    store, lost, kept = Store(), np.zeros(BIG), np.ones(BIG)
    store.through([lost], user=1)
    store.through([lost], user=2)
    store.through([kept], user=3)
    for number in (1, 3):
        store.apart.release(number)
    store.apart.forget(2)
    store.apart.release(2)
    assert store.through([kept, lost], user=4)[1].sum() == 0
    assert store.put_count == 3
    store.apart.forget(2)  # it needed what was there before
    store.through([lost], user=5)
    assert store.put_count == 3


def test_what_is_stored_goes_with_its_array_or_with_the_call():
    store = Store()
    first, second = np.zeros(BIG), np.ones(BIG)
    store.through([first, second])
    del first
    gc.collect()
    assert len(store.alive) == 1
    store.apart.close()
    gc.collect()
    assert not store.alive


def test_another_array_at_the_same_place_is_not_taken_for_the_first():
    store = Store()
    for number in range(20):
        assert store.through(np.full(BIG, number))[0] == number
    assert store.put_count == 20


def test_chosen_arguments_of_any_type_are_stored_once_and_arrive_as_they_are():
    chosen = {"some": ["thing"]}
    store = Store()
    store.apart = Apart(get_config(), store.put, [chosen])
    batch = Batch(range(2), (print,), ((chosen, chosen), (1, 2)), ({"key": chosen}, {"key": 3}))
    got = store.through(store.apart.folded(batch))
    assert got.arguments == ((chosen, chosen), (1, 2))
    assert got.kwargs == ({"key": chosen}, {"key": 3})
    assert store.put_count == 1


@pytest.mark.parametrize("mode", ["r+", "w+"])
def test_shared_writing_is_refused(mode):
    with pytest.raises(ConfigError, match="copies of the tasks' own"):
        Store(mmap_mode=mode)


def test_results_come_back_writable_and_alone_with_their_memory():
    source = np.arange(BIG)
    values = [source, source[:3], SimpleNamespace(inner=source[::2])]
    bundle = parcels.dumps(values)
    got = Store().apart.loads(bundle)
    np.testing.assert_array_equal(got[0], source)
    got[0][0] = 7
    assert source[0] == 0
    assert got[1].flags.writeable


def test_small_results_are_bytes():
    assert isinstance(parcels.dumps([1, 2]), bytes)
    assert Store().apart.loads(parcels.dumps([1, 2])) == [1, 2]


def test_traffic_is_counted():
    store = Store()
    store.through(np.zeros(BIG))
    assert store.apart.bytes_shared == 8 * BIG
    assert 0 < store.apart.bytes_pickled < 1000
