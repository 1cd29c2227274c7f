"""What the commands print: tables, JSON, completions."""

from __future__ import annotations

import codecs
import json
import sys
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

__all__ = ["complete_keys", "complete_values", "echo", "print_json", "print_table", "printable"]

_PIPE_WIDTH = 1000  # a table in a pipe is for grep and awk: no folding


def printable(text: str, encoding: str) -> str:
    """The text with escapes, as in TOML, for what an encoding has no bytes for.

    Halves of surrogates, which stand for undecodable bytes in names of files, are never in it.
    """
    return text.encode(encoding, _ESCAPE).decode(encoding)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError), "only texts are encoded here"
    odd = error.object[error.start : error.end]
    # Python's own "backslashreplace" has \xe9 too, which is no TOML
    escapes = (f"\\u{ord(one):04x}" if one <= "\uffff" else f"\\U{ord(one):08x}" for one in odd)
    return "".join(escapes), error.end


_ESCAPE = "parallelcfg.escape"
codecs.register_error(_ESCAPE, _escaped)


def echo(text: str, *, err: bool = False) -> None:
    """Print a text, whatever stands in it."""
    click.echo(printable(text, _encoding(sys.stderr if err else sys.stdout)), err=err)


def _encoding(stream: TextIO | None) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def print_json(data: object) -> None:
    """Print data as JSON, one entry per line of a list's items' keys, readable by people and programs."""
    click.echo(json.dumps(data, indent=2))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below bold heads; colours only on a terminal, and never under ``NO_COLOR``."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(printable(cell, _encoding(sys.stdout)), overflow="fold") for cell in row))
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(table)
        return
    wide = Console(highlight=False, width=_PIPE_WIDTH, color_system=None)
    with wide.capture() as captured:
        wide.print(table)
    echo("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))


def complete_keys(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of keys for the shell's completion."""
    from parallelcfg.config.keys import KEYS

    return [CompletionItem(name, help=key.help) for name, key in KEYS.items() if name.startswith(incomplete)]


def complete_values(
    key: str | None, context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Words that a key takes: the given one, or the one that stands before on the line."""
    from parallelcfg.config.keys import KEYS

    name = key or context.params.get("key") or ""
    return [
        CompletionItem(word)
        for word in (KEYS[name].words if name in KEYS else ())
        if word.startswith(incomplete)
    ]
