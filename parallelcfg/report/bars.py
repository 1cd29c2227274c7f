"""What a timeline shows: lanes of bars with pixel positions, and an axis. Pure numbers, no drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parallelcfg.report.records import BatchRecord

__all__ = ["Bar", "bars", "ticks"]

#: Bars narrower than this run together, where nothing is between them.
_NARROW = 2.0
#: A gap below this many pixels can't be seen.
_GAP = 0.5
_FEWEST_TICKS = 4
_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


@dataclass(frozen=True, slots=True)
class Bar:
    """A batch, or several that are too close to be told apart.

    Parameters
    ----------
    x, width : float
        In pixels.
    batch : BatchRecord
        What it stands for.
    """

    x: float
    width: float
    batch: BatchRecord


def bars(batches: Iterable[BatchRecord], began: float, scale: float) -> list[Bar]:
    """The bars of one lane, from left to right.

    Parameters
    ----------
    batches : iterable of BatchRecord
        What one worker ran.
    began : float
        The point in time at the left edge.
    scale : float
        Pixels per second.
    """
    drawn: list[Bar] = []
    for batch in sorted(batches, key=lambda one: one.started):
        x, width = (batch.started - began) * scale, (batch.ended - batch.started) * scale
        before = drawn[-1] if drawn else None
        if (
            before is not None
            and x - (before.x + before.width) < _GAP
            and min(before.width, width) < _NARROW
            and bool(before.batch.failed) == bool(batch.failed)
        ):
            end = max(before.x + before.width, x + width)
            drawn[-1] = Bar(before.x, end - before.x, before.batch.joined(batch))
        else:
            drawn.append(Bar(x, width, batch))
    return drawn


def ticks(seconds: float, most: int) -> list[tuple[float, str]]:
    """Round points of a time axis from 0, with their labels.

    Parameters
    ----------
    seconds : float
        Length of the axis, more than 0.
    most : int
        How many ticks there is room for.

    Examples
    --------
    >>> ticks(0.9, 6)
    [(0.0, '0'), (0.2, '200 ms'), (0.4, '400 ms'), (0.6, '600 ms'), (0.8, '800 ms')]
    """
    factor, unit = next((one for one in _UNITS if seconds >= 2 * one[0]), _UNITS[-1])
    length = seconds / factor
    step = 10.0 ** math.floor(math.log10(length / max(most, _FEWEST_TICKS)))
    step *= next(nice for nice in (1, 2, 5, 10) if length / (nice * step) <= max(most, _FEWEST_TICKS))
    count = int(length / step + 1e-9)
    return [(i * step * factor, f"{i * step:g} {unit}" if i else "0") for i in range(count + 1)]
