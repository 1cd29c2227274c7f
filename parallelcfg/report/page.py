"""A report in a notebook: the timeline, the facts, and a table of the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallelcfg.config.html import table_html
from parallelcfg.report.text import amount, facts, size, span
from parallelcfg.report.timeline import timeline_svg

if TYPE_CHECKING:
    from parallelcfg.report.summary import Report

__all__ = ["report_html"]

_HEADS = ("worker", "batches", "tasks", "failed", "busy", "wall", "utilisation", "peak memory")


def report_html(report: Report) -> str:
    """The report as HTML.

    Parameters
    ----------
    report : Report
        What a call did.
    """
    wall = max(report.wall_seconds, 1e-9)
    rows = [
        (
            worker.name,
            f"{worker.batches:,}",
            f"{worker.tasks:,}",
            f"{worker.failed:,}",
            span(worker.busy_seconds),
            span(worker.wall_seconds),
            amount(worker.busy_seconds / wall),
            size(worker.peak_rss) if worker.peak_rss else "",
        )
        for worker in report.workers.values()
    ]
    tables = table_html(("", ""), facts(report)) + table_html(_HEADS, rows)
    return f"{timeline_svg(report)}<details><summary>Details</summary>{tables}</details>"
