"""Configuration files: what they hold, and whether to trust them.

A file is read once and kept with its text, so that positions of keys can be found later, when somebody asks.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from parallelcfg.config.places import short_path
from parallelcfg.config.spelling import too_deep
from parallelcfg.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PYPROJECT", "Document", "Store", "Unread", "parse"]

#: The file that we share with other tools.
PYPROJECT = "pyproject.toml"
_PYPROJECT_TABLE = ("tool", "parallelcfg")
_PLAINER = {"Cannot overwrite a value": "this key has a value already; say it once"}  # what tomli says
_WORD = re.compile(r"[^\W\d][\w./-]*")
_LARGEST = 512 * 1024  # bytes; judging a file must never take over a second


class Document(NamedTuple):
    """A configuration file, read.

    Parameters
    ----------
    layer : str
        The layer that it belongs to.
    file : Path
        Where it stands.
    root : tuple of str
        The path of our table in it: empty, or ``("tool", "parallelcfg")``.
    table : dict
        Our table.
    text : str
        The whole text.
    distrust : str
        Why it is not trusted; empty where it is.
    """

    layer: str
    file: Path
    root: tuple[str, ...] = ()
    table: Mapping[str, object] = MappingProxyType({})
    text: str = ""
    distrust: str = ""


class Unread(Problem):
    """A file that is there, or may be, and can't be read."""

    __slots__ = ()


class Store:
    """Files by path, each read once.

    Parameters
    ----------
    cwd : Path or None
        The folder where the search for the project's file starts, unless it is gone; problems say paths
        relative to it.
    uid : int or None
        The user on whose behalf files are read; see `Machine`.
    """

    def __init__(self, cwd: Path | None, uid: int | None) -> None:
        self.cwd = cwd
        self._uid = uid
        self._read: dict[tuple[str, Path, bool], Document | Problem | None] = {}

    def get(self, layer: str, file: Path, *, named: bool = False) -> Document | Problem | None:
        """The document; a problem where it can't be read; None where it is not there or not ours.

        Parameters
        ----------
        layer : str
            The layer that it belongs to.
        file : Path
            Where it stands.
        named : bool
            Somebody has named it, so that it may be a pipe, as in ``PARALLEL_CONFIG=<(...)``.
        """
        at = (layer, file, named)
        if at not in self._read:
            self._read[at] = self._load(layer, file, named=named)
        return self._read[at]

    def forget(self) -> None:
        """Read every file again when it is asked for."""
        self._read.clear()

    def text(self, file: str) -> str:
        """The text of a file as it was when it was read; empty where it can't be, or is no TOML by now."""
        for read in self._read.values():
            if isinstance(read, Document) and str(read.file) == file:
                return read.text
        try:
            text = _content(Path(file), named=False)[0].decode("utf-8")
        except (OSError, ValueError):
            return ""  # a task on another host explains what its caller's files said
        return "" if isinstance(_parsed("", file, text), Problem) else text

    def _load(self, layer: str, file: Path, *, named: bool) -> Document | Problem | None:
        try:
            content, status = _content(file, named=named)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            # Windows reports a folder as a denied permission
            reason = "is a folder, expected a TOML file" if os.path.isdir(file) else _reason(error)  # noqa: PTH112 - never raises
            return Unread(reason, layer, short_path(file, self.cwd))
        if file.name == PYPROJECT and layer == "project" and b"parallelcfg" not in content:
            return None  # other tools' business, be it broken or not
        parsed = parse(layer, file, content, self.cwd)
        if isinstance(parsed, Problem) or parsed is None:
            return parsed
        return parsed._replace(distrust=self._distrust(status))

    def _distrust(self, status: os.stat_result) -> str:
        if self._uid is None:
            return ""
        if status.st_uid not in {self._uid, 0}:
            return f"it belongs to another user (uid {status.st_uid})"
        if status.st_mode & stat.S_IWOTH:
            return "everybody may write to it (chmod o-w ends that)"
        return ""


def _content(file: Path, *, named: bool) -> tuple[bytes, os.stat_result]:
    """A file's content, and its status. Whoever may write beside a program could have it wait for a pipe."""
    with open(file, "rb", opener=None if named else _without_waiting) as stream:
        status = os.fstat(stream.fileno())
        if not named and not stat.S_ISREG(status.st_mode):
            raise OSError("it is no regular file")
        return stream.read(_LARGEST + 1), status


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parse(layer: str, file: Path, content: bytes, cwd: Path | None) -> Document | Problem | None:
    """Turn a file's content into a document; None where it is a ``pyproject.toml`` without our table."""
    place = short_path(file, cwd)
    text = _decoded(layer, place, content)
    if isinstance(text, Problem):
        return text
    table = _parsed(layer, place, text)
    if isinstance(table, Problem):
        return table
    root = _PYPROJECT_TABLE if file.name == PYPROJECT else ()
    for part in root:
        table = table.get(part) if isinstance(table, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        return Problem(f"{'.'.join(root)} must be a table", layer, place, ".".join(root))
    return Document(layer, file, root, table, text)


def _decoded(layer: str, place: str, content: bytes) -> str | Problem:
    if len(content) > _LARGEST:
        return Problem(f"is larger than {_LARGEST // 1024} KB, so no configuration", layer, place)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        message = f"byte 0x{content[error.start]:02x} is no UTF-8; save the file as UTF-8"
        return Problem(message, layer, f"{place}:{line}:{column}")
    if text.startswith("\ufeff"):
        message = "starts with a byte order mark, which TOML forbids; save it as UTF-8 without BOM"
        return Problem(message, layer, place)
    return text


def _parsed(layer: str, place: str, text: str) -> object:
    import tomli

    try:
        table = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        from parallelcfg.config.positions import Place, excerpt

        at = Place(error.lineno, error.colno, 1)
        message = f"no valid TOML: {_plainer(error.msg, error.doc[error.pos :])}"
        return Problem(message, layer, f"{place}:{at.line}:{at.column}", excerpt=excerpt(text, at))
    except ValueError as error:  # an integer of thousands of digits
        return Problem(f"no valid TOML: {error}", layer, place)
    except RecursionError:
        return Problem("is too deeply nested", layer, place)
    return Problem("is too deeply nested", layer, place) if too_deep(table) else table


def _plainer(message: str, rest: str) -> str:
    """What a parser says, in plainer words, given the text from there on."""
    word = _WORD.match(rest)
    if message == "Invalid value" and word is not None:
        if word[0].lower() in {"true", "false"}:
            return f"write {word[0].lower()}"
        return f'text stands in quotes, "{word[0]}"'
    return _PLAINER.get(message, message[:1].lower() + message[1:])


def _reason(error: Exception) -> str:
    return f"can't be read: {error.strerror if isinstance(error, OSError) and error.strerror else error}"
