"""Changing one key of a TOML file in place.

A value that stands there already is replaced at its exact position, so that nothing else can change. A new
key goes below the line that has it as a comment, as `init` writes them; else tomlkit puts it in, which keeps
comments and order.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import tomli

from parallelcfg.config import files, spelling, writing
from parallelcfg.config.keys import KEYS
from parallelcfg.config.layers import split
from parallelcfg.config.positions import scan
from parallelcfg.config.suggest import suggest
from parallelcfg.config.validation import problems_of_content
from parallelcfg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["append_table", "change", "path_of", "remove", "spelt"]


def path_of(key: str, profile: str | None) -> tuple[str, ...]:
    """The path of a dotted key in our table, inside of a profile if there is one.

    Raises
    ------
    ValueError
        There is no such key.
    """
    if profile == "":
        raise ValueError("a profile has a name")
    path = split(key)
    if path[0] == "profiles" and len(path) > 2:  # noqa: PLR2004 - the table, the profile, the key
        raise ValueError(f"for a profile's key say {'.'.join(path[2:])} --profile {path[1]}")
    at = path[1:] if path[0] == "locked" else path
    if not at or at[0] not in KEYS or (len(at) > 1) != KEYS[at[0]].is_table:
        if at and at[0] in KEYS and KEYS[at[0]].is_table:
            raise ValueError(
                f"{key!r} is a table; name a key in it, such as backends.loky.idle_worker_timeout"
            )
        near = suggest(key, KEYS)
        raise ValueError(f"unknown key {key!r} ({near})" if near else f"unknown key {key!r}")
    return path if profile is None else ("profiles", profile, *path)


def spelt(key: str, text: str) -> str:
    """The text of a command line as TOML.

    Raises
    ------
    ValueError
        It looks like an array or a table and is none.
    """
    path = split(key)
    name = path[path[0] == "locked"]
    if KEYS[name].is_table:
        return spelling.to_toml(spelling.from_untyped_text(text))
    return spelling.to_toml(spelling.from_text(text, KEYS[name].scalars, nullable=KEYS[name].nullable))


def change(file: Path, layer: str, path: tuple[str, ...], value: str) -> None:
    """Give a key a value, given as TOML; makes the file where there is none.

    Raises
    ------
    ConfigError
        The file can't be read or written, is no TOML, or would not validate afterwards. It stays as it was.
    """
    _edit(file, layer, lambda text, root: _changed(text, (*root, *path), value))


def remove(file: Path, layer: str, path: tuple[str, ...]) -> None:
    """Take a key out of a file; everything else stays.

    Raises
    ------
    ConfigError
        The file does not say the key, can't be read or written, or is no TOML. It stays as it was.
    """

    def without(text: str, root: tuple[str, ...]) -> str:
        import tomlkit

        document = tomlkit.parse(text)
        table: object = document
        for name in (*root, *path[:-1]):
            table = table.get(name) if isinstance(table, dict) else None
        if not isinstance(table, dict) or path[-1] not in table:
            raise ConfigError([f"{file} does not say {'.'.join(path)}; parallelcfg explain tells who does"])
        del table[path[-1]]
        return _ended(tomlkit.dumps(document), text)

    _edit(file, layer, without)


def _edit(file: Path, layer: str, edited: Callable[[str, tuple[str, ...]], str]) -> None:
    """Change a file's text, given with the path of our table in it, unless that adds a problem."""
    before = writing.content(file)
    known = problems_of_content(file, layer, before)
    if before and any(not problem.key for problem in known):
        raise ConfigError(tuple(known))  # no TOML: there is nothing to put a key into
    root = ("tool", "parallelcfg") if file.name == "pyproject.toml" else ()
    after = edited(before.decode("utf-8"), root).encode("utf-8")
    told = {(problem.key, problem.message) for problem in known}
    problems = [one for one in problems_of_content(file, layer, after) if (one.key, one.message) not in told]
    if problems:
        raise ConfigError(tuple(problems))
    writing.replace(file, after)


def _ended(written: str, text: str) -> str:
    """What tomlkit wrote, whose new lines end with LF alone, with the line ends of the text before."""
    return written.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in text else written


def append_table(file: Path, path: tuple[str, ...], section: str) -> None:
    """Add a section to a file that has no such table yet.

    Raises
    ------
    ConfigError
        The table is there already, or the file can't be read or written.
    """
    before = writing.content(file)
    parsed = files.parse("project", file, before, file.parent)
    if isinstance(parsed, Problem):
        raise ConfigError([parsed])
    if parsed is not None:
        raise ConfigError(
            [f"{file} has [{'.'.join(path)}] already; edit it, or use parallelcfg set KEY VALUE"]
        )
    gap = b"" if not before else b"\n" if before.endswith(b"\n") else b"\n\n"
    writing.replace(file, before + gap + section.encode("utf-8"))


def _changed(text: str, path: tuple[str, ...], value: str) -> str:
    span = scan(text).get(path)
    if span is not None:
        start, end = span.value
        return text[:start] + value + text[end:]
    import tomlkit

    document = tomlkit.parse(text)
    _put(document, path, value)
    written = _apart(_ended(tomlkit.dumps(document), text), text, path)
    return _below_its_comment(text, path[-1], value, tomli.loads(written)) or written


def _apart(written: str, text: str, path: tuple[str, ...]) -> str:
    """What tomlkit wrote, with an empty line between a table that is new and the next one."""
    if path[:-1] in scan(text):
        return written
    _, end = scan(written)[path].value
    following = re.compile(r"(\r?\n)\[").match(written, end)
    return written if following is None else written[:end] + following[1] + written[end:]


def _below_its_comment(text: str, key: str, value: str, meant: object) -> str | None:
    """The text with a new key below a line that has it as a comment, if the text then says what is meant."""
    for found in re.finditer(rf"^#[ \t]*{re.escape(key)}[ \t]*=[^\r\n]*(\r?\n)", text, re.MULTILINE):
        changed = f"{text[: found.end()]}{key} = {value}{found[1]}{text[found.end() :]}"
        with contextlib.suppress(tomli.TOMLDecodeError):  # of another table, or no comment but in a string
            if tomli.loads(changed) == meant:
                return changed
    return None


def _put(table: object, path: tuple[str, ...], value: str) -> None:
    """Add a key, and the tables on its way, to a document of tomlkit."""
    import tomlkit

    for name in path[:-1]:
        assert isinstance(table, dict)
        if name not in table:
            table[name] = tomlkit.table(is_super_table=name != path[-2])
        table = table[name]
    assert isinstance(table, dict)
    table[path[-1]] = tomlkit.value(value)
