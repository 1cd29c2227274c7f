"""How many tasks travel together: measured, not guessed.

A batch should be long enough that its overhead vanishes and short enough that no worker waits for another's
last batch. Two times are measured apart, both per task: what the worker computes (reported by the worker
itself) and what the parent spends on feeding it (pulling from the iterator and packing). The size is what
keeps both below a target; the first batches have one task each, so that long tasks are not lumped together
before anything is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Batcher"]

#: Work per batch, as a multiple of the overhead of one batch: 2 % is lost to it.
_OVERHEAD_RATIO = 50.0
#: Bounds of a batch's computing time, in seconds.
_SHORTEST, _LONGEST = 0.01, 0.2
#: The lower bound rises to the first of these where an idle worker can have a part of a batch that runs, and
#: to the second where the end is in sight, since batches shrink towards it; else as slowly as the third, a
#: share of the time so far, which is lost if the end comes just after a worker began a batch.
_DIVISIBLE, _STEADY, _AT_STAKE = 0.1, 0.05, 0.04
#: What the parent may spend on one batch, in seconds: below it, workers start early and finish together.
_FEED = 0.005
#: What handing batches over may take of the parent's time, where many workers live on one parent. Taking them
#: back takes about as much.
_HANDING = 0.25
#: Work that is not worth dividing among workers at the end of a call, in seconds.
_FINEST = 0.001
#: A batch may outgrow the largest one measured so far by this factor; should it be too much, patience ends.
_GROWTH = 256
#: Before anything is known, a batch is this share of what a worker has waiting: whatever the tasks turn out
#: to be, it is a small part of the work, and a long queue is no long row of single tasks.
_UNKNOWN = 1 / 16
#: A worker returns an automatic batch unfinished after this many times its planned computing time.
_PATIENCE = 2.0
#: What older measurements still weigh after each new one.
_FADING = 0.7


class Batcher:
    """Chooses batch sizes from what was measured.

    Parameters
    ----------
    batch_size : int, callable or "auto"
        A number fixes the size; a function says it, anew for each batch; ``"auto"`` follows the measurements.
    workers : int
        How many batches can run at once.
    ceiling : int or None
        No automatic batch is larger, where something else bounds it (unread results).
    end_in_sight : bool
        Whether `size` will be told how many tasks remain.
    divides : bool
        Whether an idle worker can have a part of a batch that another one runs.

    Examples
    --------
    >>> batcher = Batcher("auto", workers=2)
    >>> batcher.size(remaining=None)
    1
    >>> batcher.observe(count=1, compute=1e-4, feed=1e-6, overhead=3e-4)
    >>> batcher.size(remaining=None)
    150
    """

    __slots__ = (
        "_ceiling",
        "_compute",
        "_count",
        "_divides",
        "_end_in_sight",
        "_feed",
        "_fixed",
        "_handing",
        "_largest",
        "_overhead",
        "_spent",
        "workers",
    )

    def __init__(
        self,
        batch_size: int | str | Callable[[], int],
        workers: int,
        ceiling: int | None = None,
        *,
        end_in_sight: bool = False,
        divides: bool = False,
    ) -> None:
        self._fixed = None if isinstance(batch_size, str) else batch_size
        self.workers = workers
        self._ceiling = ceiling
        self._end_in_sight = end_in_sight
        self._divides = divides
        self._largest = 0
        self._spent = 0.0
        self._count = 0.0
        self._compute = 0.0
        self._feed = 0.0
        self._overhead = self._handing = float("inf")

    @property
    def target(self) -> float:
        """Computing time that an automatic batch aims at, in seconds."""
        # The parent hands over one batch for each worker in that time.
        least = 0.0 if self._handing == float("inf") else self.workers * self._handing / _HANDING
        if self._divides:
            bearable = _DIVISIBLE
        else:
            bearable = _STEADY if self._end_in_sight else min(_STEADY, _AT_STAKE * self._spent / self.workers)
        enough = max(_SHORTEST, bearable, _OVERHEAD_RATIO * min(self._overhead, _LONGEST))
        return max(least, min(_LONGEST, enough))

    @property
    def patience(self) -> float | None:
        """Seconds after which a worker shall return a batch unfinished; None where the size is given."""
        return None if self._fixed is not None else _PATIENCE * self.target

    def size(self, remaining: int | None, waiting: int = 0) -> int:
        """Size of the next batch.

        Parameters
        ----------
        remaining : int or None
            How many tasks the source still has, where known: the last batches shrink, so that all workers
            finish together.
        waiting : int, default 0
            How many tasks are out and not done, where nothing bounds their number.
        """
        if self._fixed is not None:
            return self._fixed if isinstance(self._fixed, int) else self._fixed()
        size = self._known() if self._largest else int(_UNKNOWN * waiting / self.workers)
        if remaining is not None and self._largest:
            size = min(size, max(remaining // ((1 if self._divides else 2) * self.workers), self._finest()))
        if self._ceiling is not None:
            size = min(size, self._ceiling)
        return max(1, size)

    def _known(self) -> int:
        """What the measurements say."""
        size = self._largest * _GROWTH
        if self._compute > 0:
            size = min(size, int(self._count * self.target / self._compute))
        if self._feed > 0:
            size = min(size, int(self._count * _FEED / self._feed))
        return size

    @property
    def divisible(self) -> int | None:
        """How many tasks of a batch that were not begun are worth dividing; None where the size is given."""
        return None if self._fixed is not None else max(1, 2 * self._finest())

    def _finest(self) -> int:
        """Tasks that are over too soon for anybody to wait for them: the last batches need not be smaller."""
        return int(self._count * _FINEST / max(self._compute, self._feed, 1e-9))

    def handed_over(self, seconds: float) -> None:
        """Learn how long the session took to accept a batch; the smallest value seen is the estimate."""
        self._handing = min(self._handing, seconds)

    def observe(self, count: int, compute: float, feed: float, overhead: float) -> None:
        """Learn from a finished batch.

        Parameters
        ----------
        count : int
            How many of its tasks were run.
        compute : float
            Seconds the worker spent inside them.
        feed : float
            Seconds the parent spent on pulling and packing the batch.
        overhead : float
            Seconds between submission and outcome that were not spent inside tasks. Time spent queueing
            behind other batches is in it, so the smallest value seen is the estimate.
        """
        if count == 0:
            return
        # Sums, not means of means: a batch of a thousand tasks says more than one of a single task.
        self._count = _FADING * self._count + count
        self._compute = _FADING * self._compute + compute
        self._spent += compute
        self._feed = _FADING * self._feed + feed
        self._largest = max(self._largest, count)
        self._overhead = min(self._overhead, max(overhead, 0.0))
