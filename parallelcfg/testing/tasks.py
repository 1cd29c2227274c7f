"""What the tasks of the contract do, importable by name in every worker.

Tasks tell a test what happened through files in a folder, the one thing that all workers of a machine
share.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, TypeVar

__all__ = [
    "Awkward",
    "array",
    "config_values",
    "die_first",
    "fail_at",
    "fail_first",
    "make_lock",
    "nested_products",
    "once",
    "pool_sizes",
    "raise_awkward",
    "raise_this",
    "total",
    "wait_for",
]


T = TypeVar("T")


def fail_at(x: int, bad: int) -> int:
    """The number itself; the bad one raises."""
    if x == bad:
        raise ValueError(f"{x} is bad")
    return x


def raise_this(error: BaseException) -> None:
    """Raise an exception."""
    raise error


class Awkward(Exception):
    """Pickles, but does not unpickle: its constructor has more parameters than ``args``."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def raise_awkward() -> None:
    """Raise what can't travel."""
    raise Awkward("something awkward", 3)


def once(folder: str, name: T) -> T:
    """The name itself; raises FileExistsError where it is run again."""
    os.close(os.open(Path(folder, str(name)), os.O_CREAT | os.O_EXCL))
    return name


def fail_first(folder: str, name: str, times: int) -> int:
    """Fail so many times, then say which attempt it is, from 1."""
    attempt = _attempt(folder, name)
    if attempt <= times:
        raise ConnectionError(f"attempt {attempt}")
    return attempt


def die_first(folder: str, name: str, times: int) -> int:
    """End the worker process so many times, then say which attempt it is, from 1."""
    attempt = _attempt(folder, name)
    if attempt <= times:
        os._exit(3)
    return attempt


def _attempt(folder: str, name: str) -> int:
    attempt = 1
    while True:
        try:
            once(folder, f"{name}.{attempt}")
        except FileExistsError:
            attempt += 1
        else:
            return attempt


def wait_for(path: str, seconds: float = 30.0) -> str:
    """The path, as soon as there is such a file."""
    give_up = time.monotonic() + seconds
    while not Path(path).exists():
        if time.monotonic() > give_up:
            raise TimeoutError(path)
        time.sleep(0.005)
    return path


def make_lock() -> Any:
    """What can't be pickled."""
    return threading.Lock()


def config_values(*keys: str) -> tuple[Any, ...]:
    """Values of keys as a task sees them."""
    from parallelcfg import get_config

    config = get_config()
    return tuple(getattr(config, key) for key in keys)


def nested_products(factor: int) -> list[int]:
    """A parallel loop inside of a task."""
    from parallelcfg import Parallel, delayed

    return list(Parallel(n_jobs=2)(delayed(pow)(factor, power) for power in range(4)))


def pool_sizes() -> list[int]:
    """How many threads each native pool of numpy has here."""
    import numpy  # noqa: F401, ICN001 - it brings its pools
    from threadpoolctl import threadpool_info

    return [pool["num_threads"] for pool in threadpool_info()]


def array(length: int, value: float) -> Any:
    """An array of one value."""
    import numpy as np

    return np.full(length, value)


def total(values: Any) -> float:
    """The sum of an array."""
    return float(values.sum())
