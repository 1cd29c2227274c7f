"""The timeline of a report, drawn by matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parallelcfg.report.bars import bars
from parallelcfg.report.text import headline

if TYPE_CHECKING:
    from parallelcfg.report.summary import Report

__all__ = ["draw"]

_RESOLUTION = 2000  # bars closer than one part in so many run together
_MANY = 24  # lanes, from which on their names would overlap
_WIDE = 8  # parts of the resolution, from which on a bar has room for a line between it and the next


def draw(report: Report, ax: Any) -> Any:
    """Draw the batches of a call on matplotlib axes, see `Report.plot`."""
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError("Report.plot() needs matplotlib: pip install matplotlib") from error
    lanes = {name: list(lane) for name, lane in list(report.history.lanes.items())}
    if ax is None:
        _, ax = plt.subplots(figsize=(9, 1.2 + min(8.0, 0.3 * max(1, len(lanes)))), layout="constrained")
    seconds = max(report.wall_seconds, 1e-6)
    scale = _RESOLUTION / seconds
    for number, lane in enumerate(lanes.values()):
        drawn = bars(lane, report.began, scale)
        for failed, colour, edge in ((False, "tab:blue", ax.get_facecolor()), (True, "tab:red", "tab:red")):
            kind = [bar for bar in drawn if bool(bar.batch.failed) is failed]
            spans = [(bar.x / scale, bar.width / scale) for bar in kind]
            lines = [0.5 if failed or bar.width >= _WIDE else 0.0 for bar in kind]  # a failure is always seen
            ax.broken_barh(spans, (number - 0.4, 0.8), facecolors=colour, edgecolors=edge, linewidths=lines)
    step = -(-len(lanes) // _MANY) or 1
    ax.set_yticks(range(0, len(lanes), step), list(lanes)[::step])
    ax.set_ylim(max(len(lanes), 1) - 0.5, -0.5)
    ax.set_xlim(0, seconds)
    ax.set_xlabel("seconds")
    ax.set_title(headline(report))
    return ax
