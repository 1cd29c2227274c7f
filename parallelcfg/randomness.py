"""`task_rng`: each task's own random numbers, the same wherever and in whatever company it runs.

A task's stream depends on the key ``seed`` and on the task's index alone: not on backend, workers, batch
size or retries. A nested call that inherits its seed continues the key of the task that makes it.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from parallelcfg.config.context import current_scope, get_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

    from parallelcfg.config.snapshot import Config
    from parallelcfg.core.tasks import Batch, Call

__all__ = ["Root", "numbered", "root_of", "task_rng"]

#: Where the streams of a call start: a seed, and the key of the task that makes the call.
Root = tuple[int, tuple[int, ...]]


class _Stream:
    """The stream of the task that runs now."""

    __slots__ = ("index", "rng", "root")

    def __init__(self, root: Root) -> None:
        self.root = root
        self.index = 0
        self.rng: tuple[int, Generator] | None = None

    def follow(self, batch: Batch) -> Iterator[Call]:
        for self.index, call in zip(batch.indices, batch.calls(), strict=True):
            yield call

    @property
    def key(self) -> tuple[int, ...]:
        return (*self.root[1], self.index)


_stream: ContextVar[_Stream | None] = ContextVar("parallelcfg_stream", default=None)


def root_of(config: Config) -> Root | None:
    """Where the streams of a call start; None where its tasks have none.

    Parameters
    ----------
    config : Config
        The call's settings.
    """
    if config.seed is None:
        return None
    outer, scope = _stream.get(), current_scope()
    inherited = scope is not None and scope.config.sources.get("seed") == config.sources.get("seed")
    return config.seed, outer.key if outer is not None and inherited else ()


@contextmanager
def numbered(batch: Batch, root: Root) -> Iterator[Iterator[Call]]:
    """The calls of a batch; while one of them runs, `task_rng` knows which.

    Parameters
    ----------
    batch : Batch
        The tasks.
    root : tuple
        What `root_of` gave.
    """
    stream = _Stream(root)
    token = _stream.set(stream)
    try:
        yield stream.follow(batch)
    finally:
        _stream.reset(token)


def task_rng() -> Generator:
    """The random numbers of the task that calls this.

    Under the key ``seed`` this is a generator on ``SeedSequence(seed, spawn_key=(index,))``, ``index`` being
    the task's position among all tasks: the same numbers on every backend, with any number of workers and any
    batch size. Within a task, every call gives the same generator, which goes on where it was. Without a seed
    the numbers differ from run to run; outside of tasks they are those of the seed itself.

    Returns
    -------
    numpy.random.Generator
        Not to be shared with other tasks.

    Examples
    --------
    >>> from parallelcfg import Parallel, delayed, task_rng
    >>> def dice():
    ...     return int(task_rng().integers(1, 7))
    >>> one = Parallel(n_jobs=1, seed=42)(delayed(dice)() for _ in range(5))
    >>> two = Parallel(n_jobs=2, seed=42, backend="threading")(delayed(dice)() for _ in range(5))
    >>> one == two
    True
    """
    from numpy.random import SeedSequence, default_rng

    stream = _stream.get()
    if stream is None:
        return default_rng(get_config().seed)
    if stream.rng is None or stream.rng[0] != stream.index:
        seed, _ = stream.root
        stream.rng = stream.index, default_rng(SeedSequence(seed, spawn_key=stream.key))
    return stream.rng[1]
