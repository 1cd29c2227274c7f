"""Sizes of native thread pools in a process that runs already.

Three ways in, for three places where tasks run:

* `apply_limit`: a worker process, before each batch. The limit stays until the next one; where neither it
  nor the number of loaded modules has changed, the call costs half a microsecond.
* `limited`: the caller's own process, around a whole call. Concerns the pools that all threads share.
* `limited_thread`: a thread of the caller's process, around each batch. Concerns the pools that count by
  thread, as OpenMP does; and shared pools that a task has loaded since the call began come under its limit.

A limit that was not asked for by name (``explicit``) only ever lowers a size that somebody else has set.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from parallelcfg.threadpools.found import Found, find_pools
from parallelcfg.threadpools.variables import environment_for, size_in, sizes_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from parallelcfg.threadpools.found import Pool

__all__ = ["apply_limit", "limited", "limited_thread"]


def apply_limit(limit: int, *, explicit: bool = False) -> None:
    """Limit the inner threads of this worker process from now on.

    For processes that run one batch at a time. Libraries that a task imports later read the limit from the
    environment, which is changed too.

    Parameters
    ----------
    limit : int
        Threads that one task may use.
    explicit : bool, default False
        The limit was asked for by name: it beats the environment that the process was born with.
    """
    _worker.apply(limit, explicit)


@contextmanager
def limited(limit: int, *, explicit: bool = False) -> Iterator[None]:
    """Limit the pools that all threads of this process share, for as long as the block lasts.

    Blocks may overlap, in any order and in any threads, and one may be left in another thread than it was
    entered in. While several are open, the newest explicit limit rules, or else the smallest; when the last
    one is left, every pool is as it was before the first.

    Parameters
    ----------
    limit : int
        Threads that one task may use.
    explicit : bool, default False
        The limit was asked for by name, so it may also raise a size.
    """
    block = object()
    _process.enter(block, limit, explicit)
    try:
        yield
    finally:
        _process.leave(block)


def limited_thread(limit: int, *, explicit: bool = False) -> AbstractContextManager[None]:
    """Limit the pools whose size belongs to the calling thread, for as long as the block lasts.

    Parameters
    ----------
    limit : int
        Threads that one task may use.
    explicit : bool, default False
        The limit was asked for by name, so it may also raise a size.
    """
    pools = [pool for pool in _process.found().pools if pool.by_thread]
    return _thread_limited(pools, limit, explicit=explicit) if pools else nullcontext()


@contextmanager
def _thread_limited(pools: list[Pool], limit: int, *, explicit: bool) -> Iterator[None]:
    changed = []
    try:
        for pool in pools:
            size = pool.size()
            target = limit if explicit else min(limit, size)
            if target != size:
                changed.append((pool, size))
                pool.resize(target)
        yield
    finally:
        for pool, size in changed:
            pool.resize(size)


class _Process:
    """The pools of this process, the limits in force on the shared ones, and their sizes before."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._modules = -1
        self._found = Found()
        self._blocks: dict[object, tuple[int, bool]] = {}
        self._before: dict[str, int] = {}

    def unchanged(self) -> bool:
        """Whether no module was imported since the last search."""
        return self._modules == len(sys.modules)

    def found(self) -> Found:
        """The pools, searched again when modules were imported; open limits extend to new ones."""
        if self.unchanged():
            return self._found
        with self._lock:
            self._found = find_pools()
            self._modules = len(sys.modules)
            if self._blocks:
                self._enforce()
            return self._found

    def enter(self, block: object, limit: int, explicit: bool) -> None:
        with self._lock:
            self.found()
            self._blocks[block] = limit, explicit
            self._enforce()

    def leave(self, block: object) -> None:
        with self._lock:
            if self._blocks.pop(block, None) is None:
                return  # the process was forked inside the block, and this is the child
            if self._blocks:
                self._enforce()
            else:
                self._restore()

    def _enforce(self) -> None:
        limit, explicit = self._ruling()
        sizes = {}
        for pool in self._found.pools:
            if not pool.by_thread:
                before = self._before.setdefault(pool.name, pool.size())
                sizes[pool.name] = limit if explicit else min(limit, before)
        self._found.resize(sizes)

    def _ruling(self) -> tuple[int, bool]:
        explicit = [block for block in self._blocks.values() if block[1]]
        return explicit[-1] if explicit else min(self._blocks.values())

    def _restore(self) -> None:
        self._found.resize(self._before)
        self._before.clear()


class _Worker:
    """What `apply_limit` has done, in a process that is a worker."""

    def __init__(self) -> None:
        self._applied: tuple[int, bool, int] | None = None
        self._ceilings: dict[str, int] = {}

    def apply(self, limit: int, explicit: bool) -> None:
        wanted = (limit, explicit, threading.get_ident())
        if wanted == self._applied and _process.unchanged():
            return
        found = _process.found()
        self._note_ceilings(found)
        if wanted != self._applied:
            _change_environment(limit, explicit)
        sizes = sizes_for(limit, os.environ, explicit=explicit)
        ceilings = {} if explicit else self._ceilings
        found.resize({p.name: min(sizes[p.variable], ceilings.get(p.name, sys.maxsize)) for p in found.pools})
        self._applied = wanted

    def _note_ceilings(self, found: Found) -> None:
        """A pool that is smaller than its variable says was made so by code, an initializer for example."""
        for pool in found.pools:
            if pool.name not in self._ceilings:
                size, declared = pool.size(), size_in(os.environ.get(pool.variable, ""))
                self._ceilings[pool.name] = size if size < declared else sys.maxsize


def _change_environment(limit: int, explicit: bool) -> None:
    variables = environment_for(limit, os.environ, explicit=explicit)
    if "numba" in sys.modules:
        del variables["NUMBA_NUM_THREADS"]  # numba re-reads it, and refuses a change once its threads run
    os.environ.update(variables)


_process = _Process()
_worker = _Worker()


def _start_afresh() -> None:
    global _process, _worker  # a forked child has neither the parent's threads nor its open blocks
    _process, _worker = _Process(), _Worker()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_start_afresh)
