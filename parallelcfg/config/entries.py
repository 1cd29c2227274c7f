"""Checking one layer: raw values with their origins in, validated values or problems out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from parallelcfg.config import spelling
from parallelcfg.config.environ import variable_name
from parallelcfg.config.keys import KEYS
from parallelcfg.config.layers import flatten
from parallelcfg.config.machine import NotHere
from parallelcfg.config.snapshot import Origin, Sourced
from parallelcfg.config.spelling import join, shorten, to_toml
from parallelcfg.config.suggest import suggest
from parallelcfg.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from parallelcfg.config.keys import Key
    from parallelcfg.config.machine import Machine
    from parallelcfg.config.places import Reader

__all__ = ["Checked", "Entry", "check", "problem"]

_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})")
_WORD = re.compile(r"\b(?:none|true|false)\b")
_LONG = 60
_ENOUGH = 50  # problems of one table, after which it is something else than a configuration
_PARAMETER = 3  # depth of a backend's parameter: names below it have a case, and those of variables have none
_IN_CODE = frozenset({"set_config", "parallel_config", "call"})


class Entry(NamedTuple):
    """A value as somebody wrote it.

    Parameters
    ----------
    path : tuple of str
        The path of the key that it is for.
    value : object
        The value, not yet validated.
    origin : Origin
        Where it was said, which also tells how it was spelt.
    """

    path: tuple[str, ...]
    value: object
    origin: Origin


class Checked:
    """The outcome of checking one layer.

    Parameters
    ----------
    problems : iterable of Problem
        What is wrong.

    Attributes
    ----------
    layer : dict
        What is right, by dotted key.
    locked : bool
        Whether no other layer changes it.
    notices : list of Problem
        What is ignored.
    elsewhere : list of Problem
        What is of no account, and wrong only if this is the machine that it is meant for.
    """

    def __init__(self, problems: Iterable[Problem] = ()) -> None:
        self.layer: dict[str, Sourced] = {}
        self.locked = False
        self.problems = [*problems]
        self.notices: list[Problem] = []
        self.elsewhere: list[Problem] = []


def check(entries: Iterable[Entry], machine: Machine, reader: Reader, *, in_use: bool = True) -> Checked:
    """Validate the entries of one layer, each by itself.

    Parameters
    ----------
    entries : iterable of Entry
        What was said; of two entries for one key the later one counts.
    machine : Machine
        For relative paths, ``~`` and ``$VAR``.
    reader : Reader
        For places in problems.
    in_use : bool
        Whether the layer counts here. Else it may be meant for another machine.
    """
    checked = Checked()
    for entry in entries:
        if len(checked.problems) == _ENOUGH:
            checked.problems.append(problem(entry.origin, "and so on: the rest is not checked", "", reader))
            break
        key = KEYS.get(entry.path[0])
        if key is None:
            checked.problems.append(_unknown(entry, reader))
            continue
        try:
            _accept(entry, key, machine, checked)
        except ValueError as error:
            told = checked.elsewhere if isinstance(error, NotHere) and not in_use else checked.problems
            told.append(_wrong(entry, str(error), reader))
    return checked


def _accept(entry: Entry, key: Key, machine: Machine, checked: Checked) -> None:
    if key.is_table:
        for path, value in _leaves(entry, key):
            checked.layer[join(path)] = Sourced(value, _below(entry, path))
        return
    value = key.validate(_read(entry, key))
    if key.is_path and isinstance(value, str):
        value = _absolute(value, entry.origin, machine)
    checked.layer[key.name] = Sourced(value, entry.origin)


def _read(entry: Entry, key: Key) -> object:
    """The entry's value in Python's terms."""
    origin, value = entry.origin, entry.value
    if isinstance(value, str) and (origin.variable is not None or origin.layer == "command_line"):
        return spelling.from_text(value, key.scalars, nullable=key.nullable)
    if origin.layer in _IN_CODE:
        return spelling.from_code(value, key.scalars)
    return spelling.from_toml(value, nullable=key.nullable)


def _leaves(entry: Entry, key: Key) -> list[tuple[tuple[str, ...], object]]:
    """The leaves of ``backends``, a table of tables, as far as this entry says them."""
    value = entry.value
    if entry.origin.variable is not None and len(entry.path) > _PARAMETER:
        above = variable_name(entry.path[:_PARAMETER])
        raise ValueError(f"no name of a variable goes below a parameter; say {above}='{{NAME = VALUE}}'")
    if isinstance(value, str) and (entry.origin.variable is not None or entry.origin.layer == "command_line"):
        value = spelling.from_untyped_text(value)
    for name in reversed(entry.path[1:]):
        value = {name: value}
    if not isinstance(value, Mapping) or not all(isinstance(table, Mapping) for table in value.values()):
        raise ValueError(f"expected {'a table of its parameters' if entry.path[1:] else key.expected}")
    in_code = entry.origin.layer in _IN_CODE
    tables = {name: dict(table) for name, table in value.items()}  # `Config.backends` has no dicts
    return [
        (path, leaf if in_code else spelling.from_toml(leaf, nullable=True))
        for path, leaf in flatten(tables, (key.name,))
    ]


def _below(entry: Entry, path: tuple[str, ...]) -> Origin:
    """The origin of a leaf inside of an entry's value."""
    origin = entry.origin
    return origin._replace(path=(*origin.path, *path[len(entry.path) :])) if origin.path else origin


def _absolute(text: str, origin: Origin, machine: Machine) -> str:
    """Expand ``~`` and ``$VAR``; relative to the file that says it, else to the working directory."""

    def expand(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        value = machine.environ.get(name, "")
        if not value:
            raise NotHere(f"the environment variable {name} in it is not set")
        return value

    expanded = _VARIABLE.sub(expand, text)
    if expanded == "~" or expanded.startswith(("~/", "~\\")):
        if machine.home is None:
            raise NotHere("the home folder that ~ means is not known")
        expanded = f"{machine.home}{expanded[1:]}"
    elif expanded.startswith("~"):
        expanded = os.path.expanduser(expanded)  # noqa: PTH111 - keeps an unknown ~name, Path raises
    return os.path.normpath(os.path.join(_start(expanded, origin, machine), expanded))  # noqa: PTH118 - text in, text out, in a fifth of the time


def _start(path: str, origin: Origin, machine: Machine) -> str | Path:
    """Where a path starts: at the file that says it, else in the working folder of today."""
    if origin.path and origin.file:
        return os.path.dirname(origin.file)  # noqa: PTH120 - as above
    if os.path.isabs(path):  # noqa: PTH117 - as above
        return ""
    here = machine.here
    if here is None:
        raise ValueError("the working folder that it starts in is gone")
    return here


def _unknown(entry: Entry, reader: Reader) -> Problem:
    name = entry.path[0]
    message, known = f"unknown key {shorten(name)}", (*KEYS, "profiles", "locked")
    if name in known:
        message, known = f"[{name}] stands at the top of a file only", ()
    elif name == "tool" and isinstance(entry.value, dict) and "parallelcfg" in entry.value:
        message, known = "[tool.parallelcfg] is for pyproject.toml; here say its keys without it", ()
    return problem(entry.origin, message, name, reader, suggestion=suggest(name, known))


def _wrong(entry: Entry, message: str, reader: Reader) -> Problem:
    origin, value = entry.origin, entry.value
    if origin.path:
        message = (
            f"{join(entry.path)} = {to_toml(value) if len(str(value)) < _LONG else shorten(value)}: {message}"
        )
    elif origin.layer == "command_line":
        message = f"--{join(entry.path).replace('_', '-')} {value}: {message}"
    elif origin.variable is None:
        message = _WORD.sub(lambda found: found[0].capitalize(), message)
        message = f"{join(entry.path)}={shorten(value)}: {message}"
    return problem(origin, message, join(entry.path), reader, value=value, at_value=True)


def problem(
    origin: Origin,
    message: str,
    key: str,
    reader: Reader,
    *,
    value: object = None,
    suggestion: str = "",
    at_value: bool = False,
) -> Problem:
    """A problem at the place that an origin names."""
    said = "" if value is None else shorten(value)
    if origin.variable is not None:
        place = f"environment variable {origin.variable}{said and f'={said}'}"
        return Problem(message, origin.layer, place, key, said, suggestion)
    found = reader.find(origin, value=at_value)
    return Problem(message, origin.layer, found.text, key, said, suggestion, found.excerpt)
