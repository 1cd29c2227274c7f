"""Everything that is wrong, as a list: for `validate`, and for `set`, which refuses to add to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallelcfg.config import files
from parallelcfg.config.documents import document_layers
from parallelcfg.config.entries import problem
from parallelcfg.config.layers import split
from parallelcfg.config.places import Reader, short_path
from parallelcfg.config.process import current
from parallelcfg.config.state import agreeing, in_force
from parallelcfg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from parallelcfg.config.entries import Checked

__all__ = ["problems_in_force", "problems_of_content", "problems_of_file"]


def problems_in_force() -> list[Problem]:
    """The problems and notices of every layer of this machine, and what contradicts what."""
    surroundings = current().resolver.surroundings
    gathered = surroundings.gather()
    reader = surroundings.reader
    layers = [layer for document in surroundings.documents() for layer in _layers(document, reader)]
    layers += gathered.layers  # those of the files again, and the environment's
    problems = [*gathered.problems, *_wrong_params(layers, reader)]
    if not problems:
        try:
            agreeing(in_force())
        except ConfigError as error:
            problems = list(error.problems)
    return [*problems, *gathered.notices]


def problems_of_file(file: Path, layer: str) -> list[Problem]:
    """The problems of one file, taken as a file of the given layer."""
    read = files.Store(current().resolver.machine.cwd, None).get(layer, file)
    if isinstance(read, Problem):
        return [read]
    if read is None:
        missing = "no such file" if not file.exists() else "has no [tool.parallelcfg]"
        return [Problem(missing, layer, short_path(file, current().resolver.machine.cwd))]
    return _problems(read)


def problems_of_content(file: Path, layer: str, content: bytes) -> list[Problem]:
    """The problems that a file would have with this content."""
    parsed = files.parse(layer, file, content, current().resolver.machine.cwd)
    if isinstance(parsed, Problem):
        return [parsed]
    return [] if parsed is None else _problems(parsed)


def _problems(document: files.Document) -> list[Problem]:
    reader = Reader(current().resolver.machine.cwd, lambda _: document.text)
    layers = _layers(document, reader)
    return [one for layer in layers for one in layer.problems] + _wrong_params(layers, reader)


def _layers(document: files.Document, reader: Reader) -> list[Checked]:
    """What a file says, with all of its profiles."""
    profiles = document.table.get("profiles")
    selected = list(profiles) if isinstance(profiles, dict) else []
    return document_layers(document, selected, current().resolver.machine, reader)


def _wrong_params(layers: Iterable[Checked], reader: Reader) -> list[Problem]:
    """Backends' parameters that are wrong. Elsewhere the call that chooses the backend tells."""
    from parallelcfg.backends.params import WrongParam
    from parallelcfg.backends.registry import check_params, known_backends

    problems = []
    said = {(key, one.origin): one.value for layer in layers for key, one in layer.layer.items()}
    for (key, origin), value in said.items():
        table, name, *path = (*split(key), "", "")[: max(3, len(split(key)))]
        if table != "backends" or name not in known_backends():
            continue
        for part in reversed(path[1:]):
            value = {part: value}  # noqa: PLW2901 - the parameter is the whole table
        try:
            check_params(name, {path[0]: value})
        except WrongParam as error:
            problems.append(error.at(origin, reader))
        except TypeError as error:
            problems.append(problem(origin, f"{key}: {error}", key, reader, value=value))
        except Exception as error:  # of a plug-in
            message = f"{key}: backend {name!r} can't be loaded: {type(error).__name__}: {error}"
            problems.append(problem(origin, message, key, reader, value=value))
    return problems
