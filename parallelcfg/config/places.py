"""Origins as people say them: ``parallel.toml:3:1``, ``notebook.py:12``, ``PARALLEL_N_JOBS``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from parallelcfg.config.snapshot import Origin

__all__ = ["Located", "Reader", "absolute", "short_path"]


class Located(NamedTuple):
    """An origin, found.

    Parameters
    ----------
    text : str
        How to say it; empty where nobody knows.
    line, column : int or None
        Where in the file.
    excerpt : str
        The line itself with carets; empty for code.
    """

    text: str = ""
    line: int | None = None
    column: int | None = None
    excerpt: str = ""


class Reader(NamedTuple):
    """Finds the places that origins name.

    Parameters
    ----------
    cwd : Path or None
        Paths below it are said relative to it.
    text : callable
        Gives the text of a configuration file; empty where it can't be read.
    """

    cwd: Path | None
    text: Callable[[str], str]

    def find(self, origin: Origin, *, value: bool = False) -> Located:
        """The place of a key in its file (or of its value), of a variable, or of a line of code."""
        if origin.variable is not None:
            return Located(origin.variable)
        if origin.file is None:
            return Located("command line" if origin.layer == "command_line" else "")
        file = short_path(origin.file, self.cwd)
        if not origin.path:
            return Located(f"{file}:{origin.line}" if origin.line else file, origin.line)
        from parallelcfg.config.positions import excerpt, locate

        text = self.text(origin.file)
        place = locate(text, origin.path, value=value) if text else None
        if place is None:
            return Located(file)
        return Located(f"{file}:{place.line}:{place.column}", place.line, place.column, excerpt(text, place))


def absolute(file: str | os.PathLike[str], cwd: Path | None) -> Path:
    """A path, completed by the working directory; as it is where that is gone."""
    return Path(file) if cwd is None else cwd / file


def short_path(file: str | os.PathLike[str], cwd: Path | None) -> str:
    """A path as people would say it: relative where it stands below the working directory."""
    path = Path(file)
    if cwd is None or not path.is_relative_to(cwd):
        return os.fspath(file)
    return str(path.relative_to(cwd))
