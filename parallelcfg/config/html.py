"""HTML forms of `Config` and `Explanation` for notebooks, and the table that reports share with them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from parallelcfg.config.explanation import explain_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parallelcfg.config.explanation import Explanation
    from parallelcfg.config.snapshot import Config

__all__ = ["config_html", "explanation_html", "table_html"]

#: Notebooks would align text right, and break a place or a number in two where there is little room.
_STYLE = ' style="text-align:left;white-space:nowrap"'


def explanation_html(explanation: Explanation) -> str:
    """A table of the layers of one key, or one such table for each part of a table."""
    if explanation.parts:
        return "".join(map(explanation_html, explanation.parts))
    rows = [
        (step.layer, explanation.shown(step.value), step.origin, step.verdict) for step in explanation.steps
    ]
    caption = f"{explanation.key} = {_value(explanation)}"
    return table_html(("layer", "value", "place", ""), rows, caption)


def config_html(config: Config) -> str:
    """A table of the keys in force, those that somebody said first."""
    from parallelcfg.config.process import current

    explained = list(explain_all(config, current().resolver.reader))
    explained.sort(key=lambda one: one.winner.layer == "default")
    rows = [(one.key, _value(one), one.winner.layer, one.winner.origin) for one in explained]
    return table_html(("key", "value", "layer", "origin"), rows, "parallelcfg")


def _value(explanation: Explanation) -> str:
    note = f" ({explanation.note})" if explanation.note else ""
    return f"{explanation.shown(explanation.value)}{note}"


def table_html(heads: Iterable[str], rows: Iterable[Iterable[str]], caption: str = "") -> str:
    """A table for notebooks, which scrolls where it is too wide.

    Parameters
    ----------
    heads : iterable of str
        Headings of the columns.
    rows : iterable of iterable of str
        The cells.
    caption : str
        What stands above it.
    """
    above = f"<caption{_STYLE}>{escape(caption)}</caption>" if caption else ""
    head = _cells("th", heads)
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    table = f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div style="overflow-x: auto">{table}</div>'


def _cells(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}{_STYLE}>{escape(text)}</{tag}>" for text in texts)
