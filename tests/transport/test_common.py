"""What comes with every task is pickled once for a call."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from parallelcfg import Parallel, delayed
from parallelcfg.core.gathering import columns
from parallelcfg.core.tasks import Batch
from parallelcfg.errors import TaskNotPicklable
from parallelcfg.transport import load
from parallelcfg.transport.common import Common


class Counted:
    """Knows how often it was pickled, and weighs enough to be worth a file."""

    pickled = 0

    def __init__(self, size=200_000):
        self.content = bytes(size)

    def __getstate__(self):
        type(self).pickled += 1
        return self.__dict__


@pytest.fixture(autouse=True)
def _none_so_far():
    Counted.pickled = 0


def size_of(counted, *_):
    return len(counted.content)


def size_of_named(_, *, settings):
    return len(settings.content)


@pytest.fixture
def fold(make_sharing):
    sharing = make_sharing()
    common = Common(sharing)

    def through(*tasks):
        data = common.dumps(columns(0, list(tasks)), user=0)
        return data, [
            function(*args, **kwargs) for function, args, kwargs in Batch.of(*load.loads(data)).calls()
        ]

    return through


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_an_argument_of_every_task_is_pickled_once(backend, batch_size):
    value = Counted()
    parallel = Parallel(n_jobs=2, backend=backend, batch_size=batch_size)
    assert parallel(delayed(size_of)(value, i) for i in range(30)) == [200_000] * 30
    assert Counted.pickled == 1


def test_a_keyword_argument_of_every_task_is_pickled_once():
    value = Counted()
    parallel = Parallel(n_jobs=2, batch_size=3)
    assert parallel(delayed(size_of_named)(i, settings=value) for i in range(30)) == [200_000] * 30
    assert Counted.pickled == 1


def test_keyword_arguments_keep_their_order(fold):
    _, results = fold((names, (), {"a": 1, "b": 2}), (names, (), {"b": 2, "a": 1}))
    assert results == [["a", "b"], ["b", "a"]]


def names(**kwargs):
    return list(kwargs)


def test_without_shared_memory_it_is_pickled_once_too():
    value = Counted()
    parallel = Parallel(n_jobs=2, batch_size=3, max_nbytes=None)
    assert parallel(delayed(size_of)(value, i) for i in range(30)) == [200_000] * 30
    assert Counted.pickled == 1


def test_a_closure_is_pickled_once():
    value = Counted()

    def inner(number):
        return len(value.content) + number

    parallel = Parallel(n_jobs=2, batch_size=2)
    assert parallel(delayed(inner)(i) for i in range(20)) == [200_000 + i for i in range(20)]
    assert Counted.pickled == 1


def test_it_travels_by_reference(fold):
    value = Counted()
    data, results = fold((size_of, (value,), {}), (size_of, (value,), {}))
    assert results == [200_000, 200_000]
    assert len(data) < 1000


def test_each_batch_has_a_copy_of_its_own(fold):
    value = {number: str(number) for number in range(20_000)}
    assert fold((dict.popitem, (value,), {}))[1] == [(19_999, "19999")]
    assert fold((dict.popitem, (value,), {}))[1] == [(19_999, "19999")]


def test_tasks_with_data_of_their_own_pay_for_one_look(fold):
    for _ in range(5):
        fold((size_of, (Counted(),), {}))
    assert Counted.pickled == 5


@pytest.mark.parametrize("holds", ["pickle", "array"])
def test_of_a_stream_only_some_are_kept(make_sharing, tmp_path, holds):
    sharing = make_sharing(temp_folder=tmp_path)
    common, living = Common(sharing), weakref.WeakSet()
    size = 16 << 20
    for number in range(0, 60, 2):
        value = Counted(size) if holds == "pickle" else Holder(np.zeros(size, dtype="u1"))
        living.add(value)
        for user in (number, number + 1):  # two tasks have it in common, one after the other
            common.dumps(columns(number, [(id, (value,), {})]), user=user)
            common.release(user)
            sharing.release(user)
    del value
    assert len(living) * size <= 10 << 24
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) <= 12 << 24


def test_what_is_on_its_way_is_kept(make_sharing):
    sharing = make_sharing()
    common = Common(sharing)
    values = [Counted(16 << 20) for _ in range(12)]
    sent = [common.dumps(columns(2 * n, [(size_of, (v,), {})] * 2), user=n) for n, v in enumerate(values)]
    for data in sent:
        assert [f(*a, **k) for f, a, k in Batch.of(*load.loads(data)).calls()] == [16 << 20] * 2


def test_a_stream_may_be_closed_while_its_batch_is_pickled(make_sharing):
    common, value = Common(make_sharing()), Counted()

    class Known(dict):
        """Is forgotten as soon as somebody has looked, as by another thread."""

        def get(self, *args):
            common.forget()
            return super().get(*args)

        def pop(self, *args):
            common.forget()
            return super().pop(*args)

    for user in range(3):
        data = common.dumps(columns(2 * user, [(size_of, (value,), {})] * 2), user=user)
        assert [f(*a, **k) for f, a, k in Batch.of(*load.loads(data)).calls()] == [200_000] * 2
        common._known = Known(common._known)


def test_what_one_batch_uses_is_kept_together(make_sharing):
    common = Common(make_sharing())
    values = tuple(Counted(16 << 20) for _ in range(12))
    data = common.dumps(columns(0, [(sizes_of, values, {})] * 2), user=0)
    assert [f(*a, **k) for f, a, k in Batch.of(*load.loads(data)).calls()] == [[16 << 20] * 12] * 2


def sizes_of(*all_of_them):
    return [len(each.content) for each in all_of_them]


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_a_stream_that_was_read_keeps_nothing(backend):
    value = Counted()
    alive = weakref.ref(value)
    stream = Parallel(n_jobs=2, backend=backend, return_as="generator")(
        delayed(size_of)(each, i) for each in [value] for i in range(4)
    )
    del value
    assert list(stream) == [200_000] * 4
    gc.collect()
    assert alive() is None


class Holder:
    def __init__(self, array):
        self.array = array


def test_small_arguments_stay_in_the_batch(fold):
    shared = {"a": 1}
    _, (first, second) = fold((tuple, ([shared, 1],), {}), (tuple, ([shared, 2],), {}))
    assert first[0] is second[0]


def test_arguments_within_an_object_stay_mapped():
    def kind(table):
        return type(table["array"]).__name__, float(table["array"][0])

    table = {"array": np.ones(500_000)}
    assert Parallel(n_jobs=2, batch_size=2)(delayed(kind)(table) for _ in range(8)) == [("memmap", 1.0)] * 8


def test_a_frame_that_comes_with_every_task_is_written_once():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": np.arange(500_000.0)})
    parallel = Parallel(n_jobs=2, batch_size=2)
    assert parallel(delayed(_total)(frame) for _ in range(12)) == [frame["x"].sum()] * 12
    assert parallel.report.traffic.shared < 1.5 * frame["x"].nbytes


def _total(frame):
    return float(frame["x"].sum())


def test_what_cannot_be_pickled_is_still_its_tasks_error():
    table = {"lock": threading.Lock()}
    with pytest.raises(TaskNotPicklable, match=r"args\[0\]\['lock'\]"):
        Parallel(n_jobs=2, batch_size=2)(delayed(id)(table) for _ in range(4))


def test_a_file_that_is_not_what_was_written_is_refused(make_sharing):
    sharing = make_sharing()
    data = Common(sharing).dumps(columns(0, [(size_of, (Counted(),), {})]), user=0)
    (path,) = Path(sharing.ticket.folders[0]).glob("common-*")
    path.write_bytes(pickle.dumps("something else"))
    with pytest.raises(PermissionError, match="not what the caller wrote"):
        load.loads(data)
