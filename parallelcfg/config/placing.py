"""Where a key of a TOML text goes, and how it leaves. Pure.

Something is put into the text or cut out of it, so that the rest stays to the letter. Whether the text then
says what is meant is for the caller to find out: nothing here knows all of TOML's rules.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING

from parallelcfg.config.positions import layout
from parallelcfg.config.spelling import join

if TYPE_CHECKING:
    from parallelcfg.config.positions import Statement

__all__ = ["with_key", "without_key"]

Path = tuple[str, ...]

_COMMA = re.compile(r"[ \t]*,[ \t]*")


def with_key(text: str, path: Path, value: str) -> str:
    """The text with a value for a key, in the place of its old one if it has one.

    Parameters
    ----------
    text : str
        The text as it is.
    path : tuple of str
        The key's path.
    value : str
        Its value, as TOML.
    """
    span = layout(text).spans.get(path)
    if span is not None:
        start, end = span.value
        return text[:start] + value + text[end:]
    return (
        _below_its_comment(text, path, value)
        or _between_braces(text, path, value)
        or _beside_others(text, path, value)
        or _by_itself(text, path, value)
    )


def without_key(text: str, path: Path) -> str:
    """The text without a key; of a table, without everything below it.

    Parameters
    ----------
    text : str
        The text as it is.
    path : tuple of str
        The key's path.
    """
    written, after = layout(text), text
    for line in reversed(_outermost(written.lines, path)):
        start, end = _whole(text, line)
        after = after[:start] + after[_end_of_table(text, line.end) if line.is_header else end :]
    for entry in reversed(_outermost(written.entries, path)):
        start, end = _with_comma(after, entry, written.entries)
        after = after[:start] + after[end:]
    return after


def _below_its_comment(text: str, path: Path, value: str) -> str | None:
    """Below a line of its table that has the key as a comment, as `init` writes them, if there is one."""
    lines = layout(text).lines
    key = join(path[-1:])
    comment = re.compile(rf"^#[ \t]*{re.escape(key)}[ \t]*=[^\n]*(?:\n|\Z)", re.MULTILINE)
    gaps = zip([0, *(line.end for line in lines)], [*(line.start for line in lines), len(text)], strict=True)
    for table, (start, end) in zip([(), *(line.table for line in lines)], gaps, strict=True):
        found = comment.search(text, start, end) if table == path[:-1] else None
        if found is not None:
            return _inserted(text, found.end(), f"{key} = {value}")
    return None


def _between_braces(text: str, path: Path, value: str) -> str | None:
    """Into the innermost inline table around it, if there is one."""
    written = layout(text)
    for depth in range(len(path) - 1, 0, -1):
        span = written.spans.get(path[:depth])
        if span is not None and text[span.value[0]] == "{":
            pair = f"{join(path[depth:])} = {value}"
            ends = [entry.end for entry in written.entries if entry.table == path[:depth]]
            at, comma = (ends[-1], ", ") if ends else (span.value[0] + 1, "")
            return f"{text[:at]}{comma}{pair}{text[at:]}"
    return None


def _beside_others(text: str, path: Path, value: str) -> str | None:
    """Below the last key of its table; or, where dotted keys make up the nearest table, below those."""
    lines = layout(text).lines
    nearest = max((_shared(line, path) for line in lines), default=0)
    others = [
        line for line in lines if line.table == path[:-1] or _shared(line, path) == nearest > len(line.table)
    ]
    if not others:
        return None
    start, end = _whole(text, others[-1])
    indent = text[start : others[-1].start]
    return _inserted(text, end, f"{indent}{join(path[len(others[-1].table) :])} = {value}")


def _by_itself(text: str, path: Path, value: str) -> str:
    """Below a header of its own, after the nearest tables; a key of no table above all headers."""
    lines = layout(text).lines
    pair = f"{join(path[-1:])} = {value}"
    if len(path) == 1:
        return _inserted(text, _end_of_table(text, 0), pair, apart=True)
    nearest = max((_shared(line, path) for line in lines), default=0)
    above = max((line.end for line in lines if _shared(line, path) == nearest), default=0)
    header = f"[{join(path[:-1])}]{_line_end(text)}"
    return _inserted(text, _end_of_table(text, above), header + pair, apart=True)


def _outermost(statements: list[Statement], path: Path) -> list[Statement]:
    """The statements about a path, but for those inside of others."""
    depth = len(path)
    return [
        one for one in statements if one.path[:depth] == path and (one.is_header or one.table[:depth] != path)
    ]


def _with_comma(text: str, entry: Statement, entries: list[Statement]) -> tuple[int, int]:
    """An entry of an inline table, with the comma after it, or else the one before it."""
    after = _COMMA.match(text, entry.end)
    if after is not None:
        return entry.start, after.end()
    ends = [one.end for one in entries if one.table == entry.table and one.end < entry.start]
    if ends and _COMMA.fullmatch(text, ends[-1], entry.start):
        return ends[-1], entry.end
    return entry.start, entry.end


def _inserted(text: str, at: int, new: str, *, apart: bool = False) -> str:
    """The text with new lines at the beginning of a line or at the end, on request between empty ones."""
    end, before, after = _line_end(text), text[:at], text[at:]
    if before and not before.endswith("\n"):
        before += end
    if apart and before and not before.endswith(("\n\n", "\n\r\n")):
        before += end
    return f"{before}{new}{end}{end if apart and after else ''}{after}"


def _end_of_table(text: str, at: int) -> int:
    """Where the table ends whose lines go on at an offset: above the next header with its comment."""
    header = _next_header(text, at)
    if header is None:
        return len(text)
    start, _ = _whole(text, header)
    floor = max((line.end for line in layout(text).lines if line.end <= start), default=0)
    end = start
    while end > floor:
        above = text.rfind("\n", 0, end - 1) + 1
        if above < floor or not text[above:end].lstrip().startswith("#"):
            return end
        end = above
    return end or start  # what a file begins with is about the whole file


def _next_header(text: str, at: int) -> Statement | None:
    return next((line for line in layout(text).lines if line.is_header and line.start >= at), None)


def _whole(text: str, line: Statement) -> tuple[int, int]:
    """The lines that a statement stands on, with indent and comment."""
    end = text.find("\n", line.end) + 1
    return text.rfind("\n", 0, line.start) + 1, end or len(text)


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _shared(line: Statement, path: Path) -> int:
    """How many names the path of a statement and another one begin with alike."""
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(line.path, path, strict=False))
    return sum(1 for _ in alike)
