"""A report in a notebook: the timeline, the facts, and a table of the workers."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from parallelcfg.report.text import amount, facts, size, span
from parallelcfg.report.timeline import timeline_svg

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parallelcfg.report.summary import Report

__all__ = ["report_html"]

_HEADS = ("worker", "batches", "tasks", "failed", "busy", "wall", "utilisation", "peak memory")

_CELL = '<td style="text-align:left">'  # notebooks would align it right


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
    known = _table(("", ""), facts(report))
    return f"{timeline_svg(report)}<details><summary>Details</summary>{known}{_table(_HEADS, rows)}</details>"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'{_CELL}{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div style="overflow-x: auto">{table}</div>'
