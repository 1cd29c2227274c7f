"""The contract that every backend keeps, held against those that need nothing but this machine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from parallelcfg import ParallelBackendBase
from parallelcfg.testing import BackendContract, Delay, FakeBackend, Run


class TestLoky(BackendContract):
    backend = "loky"


class TestMultiprocessing(BackendContract):
    backend = "multiprocessing"


class TestThreading(BackendContract):
    backend = "threading"


class TestSequential(BackendContract):
    backend = "sequential"
    concurrent = False


class TestFake(BackendContract):
    backend = FakeBackend
    concurrent = False


def out_of_order():
    return FakeBackend(lambda number: Run() if number % 3 else Delay(2), settle=0.01)


class TestFakeOutOfOrder(BackendContract):
    backend = staticmethod(out_of_order)
    concurrent = False
    prompt = False


class Hooks(ParallelBackendBase):
    supports_retrieve_callback = True

    def effective_n_jobs(self, n_jobs):
        return n_jobs

    def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
        self.pool = ThreadPoolExecutor(n_jobs)
        return n_jobs

    def submit(self, func, callback=None):
        future = self.pool.submit(func)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out):
        return out.result()

    def terminate(self):
        self.pool.shutdown(wait=False, cancel_futures=True)


class TestHooks(BackendContract):
    backend = Hooks
