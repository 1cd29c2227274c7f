"""How many tasks a dask cluster can run at the same time, from what its scheduler says."""

from __future__ import annotations

import pytest

from parallelcfg.backends.dasklink import capacity, spelled

WORKERS = {
    "tcp://10.0.0.1:40001": {"name": "alice", "host": "10.0.0.1", "nthreads": 4, "resources": {"GPU": 2}},
    "tcp://10.0.0.2:40001": {
        "name": "bob",
        "host": "10.0.0.2",
        "nthreads": 8,
        "resources": {"GPU": 1, "tape": 9},
    },
    "tcp://10.0.0.2:40002": {"name": 3, "host": "10.0.0.2", "nthreads": 2},
}


@pytest.mark.parametrize(
    ("only", "resources", "expected"),
    [
        (None, None, 14),
        (["alice"], None, 4),
        (["10.0.0.2"], None, 10),
        (["tcp://10.0.0.2:40001", "alice"], None, 12),
        (["nobody"], None, 0),
        ([3], None, 2),
        (["3"], None, 2),
        (None, {"GPU": 1}, 3),
        (None, {"GPU": 0.5}, 6),
        (None, {"GPU": 1, "tape": 1}, 1),
        (None, {"GPU": 0}, 14),
    ],
)
def test_slots_are_threads_of_the_workers_that_count(only, resources, expected):
    assert capacity(WORKERS, only, resources) == expected


def test_names_are_those_of_the_cluster_whether_numbers_or_texts():
    assert spelled(["3", 3, "bob", "10.0.0.2", 7], WORKERS) == [3, 3, "bob", "10.0.0.2", "7"]
