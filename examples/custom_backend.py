"""A backend of your own: threads that never start more than so many tasks per second.

    python examples/custom_backend.py
    PARALLEL_BACKENDS__POLITE__PER_SECOND=40 python examples/custom_backend.py

A service allows ten requests a second. That is no matter for the loop, nor for the function, but for whoever
runs the tasks: a backend. Once it has a name, code, files and variables can choose it and set its parameters.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from parallelcfg import Parallel, ParallelBackendBase, delayed, parallel_config, register_parallel_backend


class Polite(ParallelBackendBase):
    """Threads with a speed limit. The names of the methods are joblib's, so this class could serve both.

    Parameters
    ----------
    per_second : float
        How many tasks may start per second.
    """

    supports_retrieve_callback = True  # `submit` calls back with something `retrieve_result_callback` takes
    supports_sharedmem = uses_threads = True  # so tasks are handed over as they are, without pickling

    def __init__(self, per_second: float = 10.0) -> None:
        super().__init__()
        self._pause = 1 / per_second
        self._next = 0.0
        self._lock = threading.Lock()

    def effective_n_jobs(self, n_jobs: int) -> int:
        """What a request means here: more threads than CPUs are fine, they wait most of the time."""
        return 8 if n_jobs < 0 else n_jobs

    def configure(self, n_jobs: int = 1, parallel: object = None, **_params: object) -> int:
        """A call begins: get the workers ready, and say how many there are."""
        self.parallel = parallel
        self._pool = ThreadPoolExecutor(n_jobs)
        return n_jobs

    def compute_batch_size(self) -> int:
        """Every task by itself: the limit counts tasks."""
        return 1

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Future[Any]:
        """Run ``func()`` somewhere, and call back when it has ended."""
        future = self._pool.submit(self._when_allowed, func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """From what the callback got to the result; raises what went wrong."""
        return out.result()

    def terminate(self) -> None:
        """The call is over."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _when_allowed(self, func: Callable[[], Any]) -> Any:
        with self._lock:
            start = max(self._next, time.monotonic())
            self._next = start + self._pause
        time.sleep(max(0.0, start - time.monotonic()))
        return func()


def request(number: int) -> tuple[int, float]:
    """Stands in for a request to the service."""
    return number, time.monotonic()


def main() -> None:
    """Make ten requests in no more than ten per second."""
    register_parallel_backend("polite", Polite)  # an installed package would ship an entry point instead

    with parallel_config("polite", n_jobs=4):  # PARALLEL_BACKEND=polite would do as well, or a file
        loop = Parallel()
        started = [when for _, when in loop(delayed(request)(number) for number in range(10))]

    print(f"{loop.backend_name}: {len(started)} requests by {loop.effective_n_jobs} threads")
    print(f"{max(started) - min(started):.1f} seconds from the first to the last")


if __name__ == "__main__":
    main()
