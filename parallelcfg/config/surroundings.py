"""The layers outside of the code, files and environment: read, checked, kept while they stay the same."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from parallelcfg.config import environ
from parallelcfg.config.discovery import Files, discover
from parallelcfg.config.documents import document_layers
from parallelcfg.config.entries import Checked, Entry, check, problem
from parallelcfg.config.files import Store
from parallelcfg.config.keys import KEYS
from parallelcfg.config.layers import split
from parallelcfg.config.places import Reader
from parallelcfg.config.snapshot import Origin
from parallelcfg.config.spelling import shorten
from parallelcfg.config.suggest import suggest
from parallelcfg.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from parallelcfg.config.files import Document
    from parallelcfg.config.machine import Machine
    from parallelcfg.config.snapshot import Sourced

__all__ = ["Gathered", "Seen", "Surroundings", "unknown_backends"]

_TABLES = tuple(name for name, key in KEYS.items() if key.is_table)
_OURS = ("PARALLEL", "JOBLIB_TEMP_FOLDER")
_OURS_ENCODED = tuple(name.encode() for name in _OURS)


class Seen(NamedTuple):
    """The environment that layers were gathered from.

    Parameters
    ----------
    raw : mapping
        All variables, as the system keeps them.
    expands : bool
        Whether any of them may matter, and not only those of our names: values name some with a dollar sign.
    here : Path or None
        The working folder, where a variable's relative path starts; None if there is no such variable.
    """

    raw: Mapping[object, object]
    expands: bool
    here: Path | None


class Gathered:
    """Every layer outside of the code, lowest first, and what is wrong with them."""

    def __init__(self, found: Files, seen: Seen) -> None:
        self.seen = seen
        self.layers: list[Checked] = []
        self.problems = [*found.problems]
        self.notices = [*found.notices]


class Surroundings:
    """Reads the layers outside of the code.

    Parameters
    ----------
    machine : Machine
        Where they come from. Files are read once.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._store = Store(machine.here, machine.uid)
        self.reader = Reader(self._store.cwd, self._store.text)
        self._variables: dict[environ.Variable, Checked] = {}

    def still(self, seen: Seen) -> Seen | None:
        """The same if the environment is as it was; None where variables that matter are others.

        They are, too, where a relative path starts in another working folder. Where others are, which are of
        no account, it is what to compare with next time, to be quick.
        """
        if seen.here is not None and seen.here != self.machine.here:
            return None
        now = _raw(self.machine.environ)
        if now == seen.raw:
            return seen
        now = now.copy()
        return None if seen.expands or _ours(now) != _ours(seen.raw) else seen._replace(raw=now)

    def gather(self) -> Gathered:
        """Read and check every layer."""
        raw = _raw(self.machine.environ).copy()
        environment = _taken(self.machine.environ)
        found = discover(self.machine, self._store)
        variables, unknown = environ.read(environment, KEYS, _TABLES)
        texts = (*(one.text for one in found.documents), *(one.text for one in variables))
        here = self.machine.here if any(map(_is_relative, variables)) else None
        gathered = Gathered(found, Seen(raw, any("$" in text for text in texts), here))
        selected = [name.strip() for name in environment.get(environ.PROFILE, "").split(",") if name.strip()]
        for document in found.documents:
            gathered.layers += document_layers(document, selected, self.machine, self.reader)
        gathered.problems += _unknown_profiles(selected, found.documents, environment)
        gathered.layers += map(self._variable, variables)
        gathered.problems += [
            _wrong_switch(name, environment[name]) for name in environ.wrong_switches(environment)
        ]
        gathered.notices += [_unknown_variable(name, environment[name]) for name in unknown]
        gathered.problems += [problem for one in gathered.layers for problem in one.problems]
        gathered.notices += [notice for one in gathered.layers for notice in one.notices]
        gathered.notices += unknown_backends((one.layer for one in gathered.layers), self.reader)
        if gathered.problems:
            self._store.forget()  # whoever mends a file need not tell
        return gathered

    def documents(self) -> list[Document]:
        """The files in force, lowest layer first."""
        return discover(self.machine, self._store).documents

    def _variable(self, variable: environ.Variable) -> Checked:
        """A variable as a layer of its own, so that one which masks another shadows it; parsed once."""
        known = self._variables.get(variable)
        if known is not None:
            return known
        origin = Origin("environment", variable=variable.name)
        checked = check([Entry(variable.path, variable.text, origin)], self.machine, self.reader)
        if not (checked.problems or "$" in variable.text or _is_relative(variable)):
            self._variables[variable] = checked
        return checked


def _is_relative(variable: environ.Variable) -> bool:
    """Whether the working folder may decide on what a variable means."""
    return KEYS[variable.path[0]].is_path and not os.path.isabs(variable.text)  # noqa: PTH117 - in a tenth of the time


def _taken(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy; other threads may change the environment meanwhile."""
    return {name: text for name in [*environment] if (text := environment.get(name)) is not None}


def _raw(environment: Mapping[str, str]) -> dict[object, object]:
    """The dict below `os.environ`, which compares in a fraction of the time; a copy of any other mapping."""
    try:
        return environment._data  # type: ignore[attr-defined, no-any-return]  # noqa: SLF001 - private but stable since 3.0
    except AttributeError:
        return {name: environment[name] for name in environment}


def _ours(raw: Mapping[object, object]) -> dict[object, object]:
    """The variables that may matter; `os.environ` keeps names as bytes on POSIX."""
    return {
        name: text
        for name, text in raw.items()
        if (isinstance(name, bytes) and name.startswith(_OURS_ENCODED))
        or (isinstance(name, str) and name.startswith(_OURS))
    }


def _unknown_profiles(
    selected: list[str], documents: list[Document], environment: Mapping[str, str]
) -> list[Problem]:
    tables = [document.table.get("profiles") for document in documents]
    known = sorted({name for table in tables if isinstance(table, dict) for name in table})
    skipped = environ.is_set(environment, environ.NO_CONFIG)
    none = f"{environ.NO_CONFIG} skips all files" if skipped else "no file has any"
    listed = f"known are {', '.join(map(repr, known))}" if known else none
    place = f"environment variable {environ.PROFILE}={shorten(environment.get(environ.PROFILE, ''))}"
    return [
        Problem(
            f"no profile {shorten(name)}; {listed}", "environment", place, suggestion=suggest(name, known)
        )
        for name in selected
        if name not in known
    ]


def unknown_backends(layers: Iterable[Mapping[str, Sourced]], reader: Reader) -> list[Problem]:
    """Parameters for backends that nobody knows: a slip, or a plugin that is not imported yet."""
    tables = [(layer, names) for layer in layers if (names := {*_tables_of(layer)})]
    if not tables:
        return []
    from parallelcfg.backends.registry import known_backends

    notices = []
    for layer, names in tables:
        for name in sorted(names - {*known_backends()}):
            key, said = next((key, said) for key, said in layer.items() if split(key)[1:2] == (name,))
            message = (
                f"{key} is for an unknown backend, so it is ignored; known are {', '.join(known_backends())}"
            )
            hint = environ.spelt_in_table(said.origin.variable or "", name, known_backends())
            hint = hint or suggest(name, known_backends())
            notices.append(problem(said.origin, message, key, reader, value=said.value, suggestion=hint))
    return notices


def _tables_of(layer: Mapping[str, Sourced]) -> Iterator[str]:
    return (split(key)[1] for key in layer if key.startswith("backends."))


def _wrong_switch(name: str, text: str) -> Problem:
    place = f"environment variable {name}={shorten(text)}"
    return Problem("expected 1, true, yes or on, or else 0, false, no or off", "environment", place)


def _unknown_variable(name: str, text: str) -> Problem:
    place = f"environment variable {shorten(name)[1:-1]}={shorten(text)}"
    near = suggest(name, [*map(environ.variable_name, ((key,) for key in KEYS)), *environ.RESERVED])
    return Problem("no key has this name, so it is ignored", "environment", place, suggestion=near)
