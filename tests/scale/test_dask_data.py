"""What crosses to the workers of a dask cluster, how often, and what the tasks see of it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from parallelcfg import ConfigError, Parallel, delayed

distributed = pytest.importorskip("distributed")


def where():
    return distributed.get_worker().address


class Heavy(list):
    """Counts how often it is pickled."""

    pickled = 0

    def __reduce__(self):
        type(self).pickled += 1
        return Heavy, (list(self),)


def identity_of(array):
    return where(), array.__array_interface__["data"][0], float(array[-1]), array.flags.writeable


def test_a_large_array_crosses_to_each_worker_once(client):
    array = np.arange(300_000.0)
    parallel = Parallel(n_jobs=2, backend="dask", client=client, batch_size=1)
    seen = parallel(delayed(identity_of)(array) for _ in range(20))
    copies = {(place, memory) for place, memory, _, _ in seen}
    assert len(copies) == len({place for place, _ in copies})  # one in each worker's memory
    assert {last for _, _, last, _ in seen} == {299_999.0}
    assert {writable for *_, writable in seen} == {False}
    assert parallel.report.traffic.shared == array.nbytes


def test_what_was_stored_is_freed_after_the_call(client):
    array = np.ones(300_000)
    Parallel(n_jobs=2, backend="dask", client=client)(delayed(np.sum)(array) for _ in range(4))
    limit = time.monotonic() + 10
    while any(client.has_what().values()) and time.monotonic() < limit:
        time.sleep(0.05)  # the scheduler's state: nothing to wait on
    assert not any(client.has_what().values())


def test_each_array_goes_as_it_was_when_it_was_met(client):
    def tasks():
        for number in range(3):
            yield delayed(np.max)(np.full(200_000, number))

    assert Parallel(n_jobs=2, backend="dask", client=client, batch_size=1)(tasks()) == [0, 1, 2]


def test_workers_in_this_process_do_not_see_later_changes(threads_cluster):
    array = np.zeros(200_000)

    def tasks():
        for _ in range(3):
            yield delayed(np.max)(array)
            array[:] += 1

    with distributed.Client(threads_cluster) as client:
        keys = {"n_jobs": 2, "backend": "dask", "client": client, "batch_size": 1}
        assert Parallel(**keys)(tasks()) == [0, 0, 0]


def test_copies_of_their_own_may_be_written(client):
    def write(array):
        array[0] = 7
        return array[0]

    array = np.zeros(200_000)
    keys = {"n_jobs": 2, "backend": "dask", "client": client, "mmap_mode": "c"}
    assert Parallel(**keys)(delayed(write)(array) for _ in range(3)) == [7, 7, 7]
    assert array[0] == 0


def test_writing_into_the_callers_array_is_refused(client):
    with pytest.raises(ConfigError, match="hosts of a cluster share no memory"):
        Parallel(n_jobs=2, backend="dask", client=client, mmap_mode="r+")([delayed(abs)(1)])


def test_scatter_sends_objects_of_any_type_once(client):
    heavy = Heavy(range(10))
    Heavy.pickled = 0
    parallel = Parallel(n_jobs=2, backend="dask", client=client, batch_size=1, scatter=[heavy])
    assert parallel(delayed(sum)(heavy, number) for number in range(10)) == [
        45 + number for number in range(10)
    ]
    assert Heavy.pickled <= 2  # dask pickles twice what it has to send by value


def test_scatter_takes_a_list(client):
    with pytest.raises(ConfigError, match="scatter=3: expected a list"):
        Parallel(n_jobs=2, backend="dask", client=client, scatter=3)
