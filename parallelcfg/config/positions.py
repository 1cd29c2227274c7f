"""Where keys and values stand in a TOML text.

Used only when somebody asks: for problems, `explain` and the command. The scanner reads a text that tomli has
accepted, so it knows where things end without judging them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Layout", "Place", "Span", "Statement", "excerpt", "layout", "locate", "scan"]

_WIDEST = 160

_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_TEXT = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}|\'\'\'(?:[^']|'{1,2}(?!'))*'{3,5}'''
    r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'""",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^\s,\]}#]+(?: [0-9][^\s,\]}#]*)?")  # a date and a time may have a space between them

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something begins: line and column from 1, in characters; and how wide it is."""

    line: int
    column: int
    width: int


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of a key (the last part of a dotted one) and of its value, each as (start, end)."""

    key: tuple[int, int]
    value: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Statement:
    """A table's header, or a key with its value, from its first character to its last one.

    Parameters
    ----------
    table : tuple
        The table whose header or whose braces it stands below or between; a header's own.
    path : tuple
        What it is about.
    start, end : int
        Where it stands.
    """

    table: Path
    path: Path
    start: int
    end: int

    @property
    def is_header(self) -> bool:
        """Whether it is one."""
        return self.table == self.path


class Layout:
    """How a TOML text is written.

    Parameters
    ----------
    text : str
        The text, which tomli accepts.

    Attributes
    ----------
    spans : dict
        The span of every key and array item, by path.
    lines : list of Statement
        What has lines of its own, in order.
    entries : list of Statement
        What stands in inline tables, in order.
    """

    def __init__(self, text: str) -> None:
        self.spans: dict[Path, Span] = {}
        self.lines: list[Statement] = []
        self.entries: list[Statement] = []
        self._text = text
        self._at = 0
        self._tables: dict[Path, int] = {}  # how many tables an array of tables has so far
        self._document()

    def _document(self) -> None:
        table: Path = ()
        while not self._next_is(""):
            start = self._at
            if self._next_is("["):
                path = table = self._header()
            else:
                path = self._pair(table)
            self.lines.append(Statement(table, path, start, self._at))

    def _next_is(self, character: str) -> bool:
        """Whether this character comes next, after blanks, comments and line ends; "" asks for the end."""
        self._skip(_GAP)
        return self._text[self._at : self._at + 1] == character

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None, "tomli accepted this text"
        self._at = found.end()
        return found[0]

    def _key(self) -> list[tuple[str, tuple[int, int]]]:
        """A dotted key's parts, each with its place."""
        parts = []
        while True:
            self._skip(_BLANK)
            start = self._at
            part = self._skip(_PART)
            parts.append((_unquoted(part), (start, self._at)))
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _header(self) -> Path:
        is_array = self._text.startswith("[[", self._at)
        self._at += 1 + is_array
        path: Path = ()
        *parents, (name, place) = self._key()
        for parent, place_of_parent in parents:
            path = self._inside((*path, parent), place_of_parent)
        path = (*path, name)
        if is_array:
            self._tables[path] = self._tables.get(path, 0) + 1
        path = self._inside(path, place)
        self._at = self._text.index("]", self._at) + 1 + is_array
        return path

    def _inside(self, path: Path, place: tuple[int, int]) -> Path:
        """The path of what a header's keys stand in: of an array of tables, its last one so far."""
        self.spans.setdefault(path, Span(place, place))
        if path not in self._tables:
            return path
        path = (*path, self._tables[path] - 1)
        self.spans.setdefault(path, Span(place, place))
        return path

    def _pair(self, path: Path) -> Path:
        *parents, (name, place) = self._key()
        for parent, place_of_parent in parents:
            path = (*path, parent)
            self.spans.setdefault(path, Span(place_of_parent, place_of_parent))
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        path = (*path, name)
        self.spans[path] = Span(place, self._value(path))
        return path

    def _value(self, path: Path) -> tuple[int, int]:
        start = self._at
        first = self._text[start]
        if first in {'"', "'"}:
            self._skip(_TEXT)
        elif first == "[":
            self._items(path, "]")
        elif first == "{":
            self._items(path, "}")
        else:
            self._skip(_PLAIN)
        return start, self._at

    def _items(self, path: Path, end: str) -> None:
        """What stands in an array or an inline table."""
        self._at += 1
        index = 0
        while not self._next_is(end):
            start = self._at
            if end == "}":
                self.entries.append(Statement(path, self._pair(path), start, self._at))
            else:
                item = (*path, index)
                place = self._value(item)
                self.spans[item] = Span(place, place)
            index += 1
            if self._next_is(","):
                self._at += 1
        self._at += 1


def _unquoted(part: str) -> str:
    if part[0] not in {'"', "'"}:
        return part
    import tomli

    return next(iter(tomli.loads(f"{part} = 0")))


@lru_cache(maxsize=8)
def layout(text: str) -> Layout:
    """The layout of a TOML text that tomli accepts."""
    return Layout(text)


def scan(text: str) -> dict[Path, Span]:
    """The span of every key and array item of a TOML text that tomli accepts, by path."""
    return layout(text).spans


def locate(text: str, path: tuple[str, ...], *, value: bool = False) -> Place | None:
    r"""Where a key, or its value, stands in a TOML text; None where the text has no such key.

    Examples
    --------
    >>> locate('[backends]\ndask = {address = "tcp://head:8786"}', ("backends", "dask", "address"))
    Place(line=2, column=9, width=7)
    """
    span = scan(text).get(path)
    if span is None:
        return None
    start, end = span.value if value else span.key
    line_start = text.rfind("\n", 0, start) + 1
    return Place(text.count("\n", 0, start) + 1, start - line_start + 1, end - start)


def excerpt(text: str, place: Place) -> str:
    """A line of a text with carets below a part of it; empty where the line is too long to help.

    Examples
    --------
    >>> print(excerpt("n_jbos = 4", Place(1, 1, 6)))
      1 | n_jbos = 4
        | ^^^^^^
    """
    shown = text.split("\n", place.line)[place.line - 1].rstrip("\r").replace("\t", " ")
    if len(shown) > _WIDEST:
        return ""
    room = max(1, len(shown) - place.column + 1)
    carets = " " * (place.column - 1) + "^" * min(place.width, room)
    return f"  {place.line} | {shown}\n  {' ' * len(str(place.line))} | {carets}"
