"""The contract that every backend keeps, on a scheduler and two workers in processes of their own."""

from __future__ import annotations

import pytest

from parallelcfg import shutdown
from parallelcfg.testing import BackendContract

pytest.importorskip("distributed")


class TestDask(BackendContract):
    backend = "dask"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def cluster(cls, dask_processes):
        cls.params = {"address": dask_processes.address}
        yield
        shutdown()
