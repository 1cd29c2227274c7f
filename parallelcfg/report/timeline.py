"""The timeline of a report as SVG: workers as lanes, batches as bars, failures red, light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from parallelcfg.report.bars import bars, ticks
from parallelcfg.report.text import amount, headline, plural, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parallelcfg.report.bars import Bar
    from parallelcfg.report.summary import Report

__all__ = ["timeline_svg"]

_WIDTH = 820
_LEFT, _RIGHT, _TOP, _BOTTOM = 118, 58, 62, 30
_PLOT = _WIDTH - _LEFT - _RIGHT
_TICKS = 7
_LABEL_ROOM = 13  # pixels that a line of text needs
_LABEL_LENGTH = 15
#: A failure is never narrower: one in ten thousand must still be seen.
_RED_AT_LEAST = 2.5
_BAR_AT_LEAST = 0.8
#: From so many bars on, a lane is one shape without tips: a notebook should not grow by a megabyte per cell.
_MANY_BARS = 1000

_LIGHT = {
    "bg": "#ffffff",
    "ink": "#1f2937",
    "soft": "#64748b",
    "lane": "#eef2f6",
    "grid": "#dbe2ea",
    "bar": "#3b82c4",
    "bad": "#d92d20",
}
_DARK = {
    "bg": "#171b21",
    "ink": "#e6e9ee",
    "soft": "#98a3b3",
    "lane": "#222831",
    "grid": "#323a46",
    "bar": "#5aa2e6",
    "bad": "#ff6b5e",
}
_RULES = (
    ".bg{{fill:{bg}}}.ink{{fill:{ink}}}.soft{{fill:{soft}}}.lane{{fill:{lane}}}"
    ".grid{{stroke:{grid}}}.bar{{fill:{bar};stroke:{bg}}}.bad{{fill:{bad};stroke:{bg}}}"
)


def timeline_svg(report: Report) -> str:
    """The picture of a call.

    Parameters
    ----------
    report : Report
        What it did.
    """
    lanes = {name: list(lane) for name, lane in list(report.history.lanes.items())}
    pitch = _pitch(len(lanes))
    bottom = _TOP + pitch * max(1, len(lanes))
    height = bottom + _BOTTOM
    seconds = max(report.wall_seconds, 1e-6)
    parts = [
        f'<svg class="pcfg" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"',
        f' role="img" width="{_WIDTH}" height="{height}" style="max-width:100%;height:auto">',
        f"<title>{escape(headline(report))}</title><style>{_style()}</style>",
        f'<rect class="bg" width="{_WIDTH}" height="{height}" rx="6"/>',
        *_header(report),
        *_axis(seconds, bottom),
    ]
    if not lanes:
        parts.append(
            _text(_LEFT, _TOP + 11, f"no batch has come back{'' if report.ended else ' yet'}", "soft")
        )
    scale = _PLOT / seconds
    drawn = {name: bars(lane, report.began, scale) for name, lane in lanes.items()}
    one_by_one = sum(map(len, drawn.values())) <= _MANY_BARS
    for number, (name, lane) in enumerate(drawn.items()):
        top = _TOP + number * pitch
        parts += _lane(report, name, lane, (top, pitch), one_by_one=one_by_one)
        if number % max(1, -(-_LABEL_ROOM // pitch)) == 0:
            busy = sum(bar.batch.seconds for bar in lane) / seconds
            parts += _labels(name, busy, top + pitch / 2 + 4)
    return "".join([*parts, "</svg>"])


def _pitch(lanes: int) -> int:
    """Height of a lane: comfortable for few workers, so that many fit on a screen."""
    return max(7, min(26, 640 // max(1, lanes)))


def _style() -> str:
    """Colours by the system's preference; a notebook's own theme stands above it."""
    light, dark = _scoped("", _LIGHT), _scoped("", _DARK)
    themes = {
        '[data-jp-theme-light="true"] ': _LIGHT,
        '[data-jp-theme-light="false"] ': _DARK,
        ".vscode-light ": _LIGHT,
        ".vscode-dark ": _DARK,
    }
    base = (
        ".pcfg text{font:11px system-ui,'Segoe UI','DejaVu Sans',sans-serif}.pcfg .head{font-size:13px;"
        "font-weight:600}.pcfg .end{text-anchor:end}.pcfg .mid{text-anchor:middle}"
        ".pcfg .bar,.pcfg .bad{stroke-width:.6}"
    )
    forced = "".join(_scoped(theme, colours) for theme, colours in themes.items())
    return f"{base}{light}@media(prefers-color-scheme:dark){{{dark}}}{forced}"


def _scoped(theme: str, colours: dict[str, str]) -> str:
    rules = _RULES.format(**colours)
    return "".join(f"{theme}.pcfg {rule}}}" for rule in rules.split("}") if rule)


def _text(x: float, y: float, text: str, classes: str) -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _header(report: Report) -> Iterator[str]:
    yield _text(12, 22, headline(report), "ink head")
    busy = f"busy {amount(report.utilisation)}"
    batches = plural(report.batch_count, "batch")
    if report.batch_count:
        each = plural(report.largest, "task")
        average = f"{report.mean_batch_size:.3g} tasks on average"
        batches += f" of {each if report.smallest == report.largest else average}"
    more = [
        plural(count, noun)
        for count, noun in ((report.failed, "failure"), (report.lost, "lost batch"))
        if count
    ]
    more += [f"{report.retries:,} retried"] if report.retries else []
    yield _text(12, 41, " · ".join([busy, batches, *more]), "soft")
    if report.history.kept:
        yield _text(_WIDTH - 12, _TOP - 8, "busy", "soft end")
    if any(batch.failed for batch in report.history):
        x = _WIDTH - 12
        yield f'<rect class="bar" x="{x - 174}" y="14" width="10" height="9"/>'
        yield _text(x - 160, 22, "batch", "soft")
        yield f'<rect class="bad" x="{x - 118}" y="14" width="10" height="9"/>'
        yield _text(x - 104, 22, "with a failed task", "soft")


def _axis(seconds: float, bottom: int) -> Iterator[str]:
    for at, label in ticks(seconds, _TICKS):
        x = _LEFT + at / seconds * _PLOT
        yield f'<path class="grid" d="M{x:.1f} {_TOP - 4}V{bottom + 3}"/>'
        yield _text(x, bottom + 17, label, "soft mid")


def _lane(
    report: Report, name: str, lane: list[Bar], place: tuple[int, int], *, one_by_one: bool
) -> Iterator[str]:
    top, pitch = place
    thickness = pitch - max(1, pitch // 5)
    yield f'<rect class="lane" x="{_LEFT}" y="{top}" width="{_PLOT}" height="{thickness}" rx="1"/>'
    for kind in ("bar", "bad"):  # failures on top
        shapes = [(bar, *_extent(bar)) for bar in lane if (bar.batch.failed > 0) is (kind == "bad")]
        if one_by_one:
            for bar, x, width in shapes:
                tip = f"<title>{escape(_tip(bar, name, report.began))}</title>"
                shape = f'x="{x:.2f}" y="{top}" width="{width:.2f}" height="{thickness}"'
                yield f'<rect class="{kind}" {shape}>{tip}</rect>'
        elif shapes:
            outlines = (f"M{x:.1f} {top}h{width:.1f}v{thickness}h-{width:.1f}z" for _, x, width in shapes)
            yield f'<path class="{kind}" d="{"".join(outlines)}"><title>{escape(name)}</title></path>'


def _extent(bar: Bar) -> tuple[float, float]:
    """Left edge and width of a bar, inside of the lane and wide enough to be seen."""
    least = _RED_AT_LEAST if bar.batch.failed else _BAR_AT_LEAST
    width = max(least, min(bar.width, _PLOT - bar.x))
    return _LEFT + max(0.0, min(bar.x, _PLOT - width)), width


def _tip(bar: Bar, name: str, began: float) -> str:
    batch = bar.batch
    what = plural(batch.tasks, "task")
    if batch.batches > 1:
        what = f"{plural(batch.batches, 'batch')}, {what}"
    failed = f", {batch.failed:,} failed" if batch.failed else ""
    when = f"{span(batch.started - began)} to {span(batch.ended - began)}"
    return f"{name}: {what}{failed}\n{when}, {span(batch.seconds)} inside tasks"


def _labels(name: str, busy: float, y: float) -> Iterator[str]:
    # Addresses differ in their ends
    short = name if len(name) <= _LABEL_LENGTH else f"…{name[1 - _LABEL_LENGTH :]}"
    yield _text(_LEFT - 8, y, short, "ink end")
    yield _text(_WIDTH - 12, y, amount(busy), "soft end")
