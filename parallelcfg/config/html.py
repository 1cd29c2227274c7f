"""HTML forms of `Config` and `Explanation` for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from parallelcfg.config.explanation import explain_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parallelcfg.config.explanation import Explanation
    from parallelcfg.config.snapshot import Config

__all__ = ["config_html", "explanation_html"]


def explanation_html(explanation: Explanation) -> str:
    """A table of the layers of one key, or one such table for each part of a table."""
    if explanation.parts:
        return "".join(map(explanation_html, explanation.parts))
    rows = [
        (step.layer, explanation.shown(step.value), step.origin, step.verdict) for step in explanation.steps
    ]
    caption = f"{explanation.key} = {_value(explanation)}"
    return _table(caption, ("layer", "value", "place", ""), rows)


def config_html(config: Config) -> str:
    """A table of the keys in force, those that somebody said first."""
    from parallelcfg.config.process import current

    explained = list(explain_all(config, current().resolver.reader))
    explained.sort(key=lambda one: one.winner.layer == "default")
    rows = [(one.key, _value(one), one.winner.layer, one.winner.origin) for one in explained]
    return _table("parallelcfg", ("key", "value", "layer", "origin"), rows)


def _value(explanation: Explanation) -> str:
    note = f" ({explanation.note})" if explanation.note else ""
    return f"{explanation.shown(explanation.value)}{note}"


def _table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    caption = escape(caption)
    table = f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div style="overflow-x: auto">{table}</div>'
