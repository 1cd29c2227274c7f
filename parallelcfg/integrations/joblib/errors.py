"""A call on behalf of `joblib.Parallel`: its errors are those that code written for joblib catches."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

from parallelcfg.errors import TaskTimeout, WorkerLost

try:
    from joblib.externals.loky.process_executor import TerminatedWorkerError
except ImportError:  # where no processes can be had, none is lost
    TerminatedWorkerError = RuntimeError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from parallelcfg.errors import ParallelError
    from parallelcfg.parallel import Parallel

__all__ = ["TimeoutForJoblib", "WorkerLostForJoblib", "run"]


class TimeoutForJoblib(TaskTimeout, multiprocessing.TimeoutError):
    """A task ran longer than ``timeout`` seconds: joblib raises the `TimeoutError` of `multiprocessing`."""


class WorkerLostForJoblib(WorkerLost, TerminatedWorkerError):  # type: ignore[misc]  # joblib has no types
    """A worker died: joblib raises an error of loky's, which is a `BrokenProcessPool` too."""


_FOR_JOBLIB: dict[type, type[ParallelError]] = {
    TaskTimeout: TimeoutForJoblib,
    WorkerLost: WorkerLostForJoblib,
}


def run(governor: Parallel[Any], tasks: Iterable[Any]) -> Any:
    """Run tasks as `governor` does.

    Parameters
    ----------
    governor : Parallel
        What governs the call.
    tasks : iterable
        What `joblib.delayed` made.

    Returns
    -------
    list or generator
        The results.
    """
    __tracebackhide__ = True
    try:
        results = governor(tasks)
    except (TaskTimeout, WorkerLost) as error:
        _adopt(error)
        raise
    return results if isinstance(results, list) else _stream(results)


def _stream(results: Iterable[Any]) -> Generator[Any, None, None]:
    __tracebackhide__ = True
    try:
        yield from results
    except (TaskTimeout, WorkerLost) as error:
        _adopt(error)
        raise


def _adopt(error: ParallelError) -> None:
    """Make it joblib's error too; another one in its place would have a traceback of its own."""
    error.__class__ = _FOR_JOBLIB.get(type(error), type(error))
