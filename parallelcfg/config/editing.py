"""Changing one key of a TOML file in place.

A changed text counts only if it says what the text before it said and the change; else the file stays as it
was, and what is in the way is told.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import tomli

from parallelcfg.config import files, spelling, writing
from parallelcfg.config.entries import problem
from parallelcfg.config.keys import KEYS
from parallelcfg.config.layers import flatten, split
from parallelcfg.config.places import Reader
from parallelcfg.config.placing import with_key, without_key
from parallelcfg.config.positions import scan
from parallelcfg.config.process import current
from parallelcfg.config.snapshot import Origin
from parallelcfg.config.spelling import join
from parallelcfg.config.suggest import suggest
from parallelcfg.config.validation import problems_of_content
from parallelcfg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["append_table", "change", "path_of", "remove", "spelt"]


def path_of(key: str, profile: str | None) -> tuple[str, ...]:
    """The path of a dotted key in our table, inside of a profile if there is one.

    Raises
    ------
    ValueError
        There is no such key, or it can't stand in a file.
    """
    if profile == "":
        raise ValueError("a profile has a name")
    path = split(key)
    if len(path) > spelling.DEEPEST:
        raise ValueError(f"{spelling.shorten(key)} is too deeply nested")
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
    path = path if profile is None else ("profiles", profile, *path)
    return tuple(map(_in_utf8, path))


def from_root(file: Path, key: tuple[str, ...]) -> tuple[str, ...]:
    """The path from a file's root of what has a path in our table."""
    return ("tool", "parallelcfg", *key) if file.name == "pyproject.toml" else key


def spelt(key: str, text: str) -> str:
    """The text of a command line as TOML.

    Raises
    ------
    ValueError
        It looks like an array or a table and is none, or it can't stand in a file.
    """
    path, text = split(key), _in_utf8(text)
    name = path[path[0] == "locked"]
    if KEYS[name].is_table:
        return spelling.to_toml(spelling.from_untyped_text(text))
    return spelling.to_toml(spelling.from_text(text, KEYS[name].scalars, nullable=KEYS[name].nullable))


def _in_utf8(text: str) -> str:
    """The text, unless it has halves of surrogates, which stand for bytes that nobody could decode."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is no UTF-8, as TOML files are") from None
    return text


def change(file: Path, layer: str, path: tuple[str, ...], value: str) -> None:
    """Give a key a value, given as TOML; makes the file where there is none.

    Raises
    ------
    ConfigError
        The file can't be read or written, is no TOML, has no room for the key, or would not validate
        afterwards. It stays as it was.
    """
    with writing.exclusive(file):
        _edit(file, layer, path, value)


def remove(file: Path, layer: str, path: tuple[str, ...]) -> None:
    """Take a key out of a file; everything else stays.

    Raises
    ------
    ConfigError
        The file does not say the key, can't be read or written, or is no TOML. It stays as it was.
    """
    with writing.exclusive(file):
        _edit(file, layer, path, None)


def append_table(file: Path, path: tuple[str, ...], section: str) -> None:
    """Add a section, of comments so far, to a file that has no such table yet.

    Raises
    ------
    ConfigError
        The table is there already or has no room, or the file can't be read or written.
    """
    with writing.exclusive(file):
        text = _without_table(file, path)
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        content = _agreed(file, "project", text, text + gap + section, path, "{}")
        writing.replace(file, content)


def _without_table(file: Path, path: tuple[str, ...]) -> str:
    """The text of a file, if it is TOML without this table."""
    content = writing.content(file)
    parsed = files.parse("project", file, content, file.parent)
    if isinstance(parsed, Problem):
        raise ConfigError([parsed])
    if parsed is not None:
        raise ConfigError(
            [f"{file} has [{'.'.join(path)}] already; edit it, or use parallelcfg set KEY VALUE"]
        )
    return content.decode("utf-8")


def _edit(file: Path, layer: str, key: tuple[str, ...], value: str | None) -> None:
    """Give a key of our table a value, or take it out, unless that adds a problem."""
    before = writing.content(file)
    known = problems_of_content(file, layer, before)
    if before and any(not problem.key for problem in known):
        raise ConfigError(tuple(known))  # no TOML: there is nothing to put a key into
    text = before.decode("utf-8")
    path = from_root(file, key)
    if value is None and not _said(text, path).there:
        raise ConfigError([f"{file} does not say {'.'.join(key)}; parallelcfg explain tells who does"])
    after = without_key(text, path) if value is None else with_key(text, path, value)
    content = _agreed(file, layer, text, after, path, value)
    told = {(problem.key, problem.message) for problem in known}
    problems = [
        one for one in problems_of_content(file, layer, content) if (one.key, one.message) not in told
    ]
    if problems:
        raise ConfigError(tuple(problems))
    writing.replace(file, content)


class _Said(NamedTuple):
    """What a text says: at a path and below it, and everywhere else."""

    there: dict[tuple[str, ...], str]
    elsewhere: dict[tuple[str, ...], str]


def _said(text: str, path: tuple[str, ...]) -> _Said:
    """What a text says, each value as its `repr`, for 1 is not true, and nan is nan.

    That a table around the path is empty says nothing.
    """
    said = _Said({}, {})
    for leaf, value in flatten(tomli.loads(text), ()):
        if leaf[: len(path)] == path:
            said.there[leaf] = repr(value)
        elif value != {} or path[: len(leaf)] != leaf:
            said.elsewhere[leaf] = repr(value)
    return said


def _meant(text: str, path: tuple[str, ...], value: str | None) -> _Said:
    """What a text is meant to say once a key has a value, or has none."""
    alone = "" if value is None else f"{spelling.join(path)} = {value}"
    return _Said(_said(alone, path).there, _said(text, path).elsewhere)


def _agreed(
    file: Path, layer: str, before: str, after: str, path: tuple[str, ...], value: str | None
) -> bytes:
    """The new text of a file, if it says what the old one said and the change; else what is in the way."""
    with contextlib.suppress(tomli.TOMLDecodeError):
        if _said(after, path) == _meant(before, path, value):
            return after.encode("utf-8")
    known = [path[:end] for end in range(len(path) + 1) if path[:end] in scan(before)]
    where = Origin(layer, str(file), path=known[-1] if known else ())
    message = f"{join(path)} can't be changed without changing more than that; edit the file by hand"
    reader = Reader(current().resolver.machine.cwd, lambda _: before)
    raise ConfigError([problem(where, message, join(path), reader)])
