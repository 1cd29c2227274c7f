"""A report in words, and its numbers as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parallelcfg.report.summary import Report

__all__ = ["amount", "describe", "facts", "headline", "plural", "size", "span"]

_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_MINUTE, _HOUR = 60, 3600


def span(seconds: float) -> str:
    """A time span with a unit that suits it.

    Examples
    --------
    >>> span(0.0000042), span(0.0123), span(1.25), span(75), span(7300)
    ('4.2 µs', '12.3 ms', '1.25 s', '1.2 min', '2.0 h')
    """
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    if seconds >= _MINUTE:
        return f"{seconds / _MINUTE:.1f} min"
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs" if seconds else "0 s"


def size(count: int) -> str:
    """A number of bytes, in powers of 1000.

    Examples
    --------
    >>> size(12), size(3400), size(512_000_000)
    ('12 bytes', '3.4 kB', '512 MB')
    """
    value, rank = float(count), 0
    while value >= 999.5 and rank < len(_UNITS) - 1:  # noqa: PLR2004 - would be written as 1000
        value, rank = value / 1000, rank + 1
    return f"{value:.3g} {_UNITS[rank]}"


def plural(count: int, noun: str) -> str:
    """A count with its noun: nouns here take an s, or es after h.

    Examples
    --------
    >>> plural(1, "task"), plural(12345, "batch")
    ('1 task', '12,345 batches')
    """
    ending = "" if count == 1 else "es" if noun.endswith("h") else "s"
    return f"{count:,} {noun}{ending}"


def amount(share: float) -> str:
    """A share as a percentage.

    Examples
    --------
    >>> amount(0.934)
    '93 %'
    """
    return f"{share:.0%}".replace("%", " %")


def headline(report: Report) -> str:
    """The call in one line."""
    of = f" of {report.total:,}" if report.total is not None and report.total != report.tasks else ""
    tasks = f"{report.tasks:,}{of} task{'' if report.tasks == 1 and not of else 's'}"
    state = "" if report.ended else ", running"
    workers = plural(report.n_jobs, "worker")
    return f"{tasks} on {workers} ({report.backend}) in {span(report.wall_seconds)}{state}"


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """What there is to say about a call, as pairs of a name and a text."""
    yield "busy", f"{span(report.busy_seconds)}, {amount(report.utilisation)} of the workers' time"
    if report.batch_count:
        sizes = f"{report.smallest:,} to {report.largest:,} tasks, {report.mean_batch_size:.3g} on average"
        if report.smallest == report.largest:
            sizes = plural(report.largest, "task")
        yield "batches", f"{report.batch_count:,} of {sizes}"
        each = span(report.overhead_seconds / report.batch_count)
        yield "dispatch overhead", f"{span(report.overhead_seconds)}, {each} per batch"
    if report.bytes_pickled or report.bytes_shared:
        yield "bytes", f"{size(report.bytes_pickled)} pickled, {size(report.bytes_shared)} shared"
    if report.peak_rss:
        yield "peak memory", f"{size(report.peak_rss)} in the largest worker"
    if report.failed:
        yield "failed", plural(report.failed, "task")
    if report.retries:
        yield "retries", f"{report.retries:,}"
    if report.lost:
        yield "lost", plural(report.lost, "batch")
    for substitution in report.substitutions:
        yield "substitution", str(substitution)


def describe(report: Report) -> str:
    """The report as lines of text."""
    pairs = list(facts(report))
    width = max(len(name) for name, _ in pairs)
    return "\n".join([headline(report), *(f"  {name:<{width}}  {text}" for name, text in pairs)])
