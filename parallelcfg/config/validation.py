"""Everything that is wrong, as a list: for `validate`, and for `set`, which refuses to add to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallelcfg.config import files
from parallelcfg.config.cpus import cpu_count
from parallelcfg.config.documents import document_layers
from parallelcfg.config.entries import problem
from parallelcfg.config.layers import split
from parallelcfg.config.places import Reader, short_path
from parallelcfg.config.policy import CONTRADICTION, clamp
from parallelcfg.config.process import current
from parallelcfg.config.state import agreeing, in_force
from parallelcfg.config.surroundings import unknown_backends
from parallelcfg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from parallelcfg.config.entries import Checked
    from parallelcfg.config.snapshot import Sourced

__all__ = ["problems_in_force", "problems_of_content", "problems_of_file", "wrong_params"]


def problems_in_force() -> list[Problem]:
    """The problems and notices of every layer of this machine, and what contradicts what."""
    surroundings = current().resolver.surroundings
    gathered = surroundings.gather()
    reader = surroundings.reader
    layers = [layer for document in surroundings.documents() for layer in _layers(document, reader)]
    layers += gathered.layers  # those of the files again, and the environment's
    problems = [*gathered.problems, *wrong_params((layer.layer for layer in layers), reader)]
    if not problems:
        problems = [*_raised(_as_a_call_would), *_raised(cpu_count)]
    elsewhere = [one for layer in gathered.layers for one in layer.elsewhere]
    return [*problems, *elsewhere, *gathered.notices]


def _as_a_call_would() -> None:
    """Refuse what every call that says nothing would be refused for."""
    config = in_force()
    agreeing(config)
    asked, _ = clamp(config.n_jobs, 1, None)
    if config.strict and config.max_jobs is not None and asked > config.max_jobs:
        ceiling = config.sources["max_jobs"].origin
        message = (
            f"n_jobs = {asked} is more than max_jobs = {config.max_jobs} ({ceiling}), an error under strict"
        )
        origin = config.sources["n_jobs"].origin
        raise ConfigError([problem(origin, message, "n_jobs", current().resolver.reader, value=asked)])


def _raised(check: Callable[[], object]) -> Sequence[Problem]:
    try:
        check()
    except ConfigError as error:
        return error.problems
    return ()


def problems_of_file(file: Path, layer: str) -> list[Problem]:
    """The problems of one file, taken as a file of the given layer."""
    read = files.Store(current().resolver.machine.here, None).get(layer, file, named=True)
    if isinstance(read, Problem):
        return [read]
    if read is None:
        missing = "no such file" if not file.exists() else "has no [tool.parallelcfg]"
        return [Problem(missing, layer, short_path(file, current().resolver.machine.here))]
    reader = _reader(read)
    return _problems(read) + unknown_backends((one.layer for one in _layers(read, reader)), reader)


def problems_of_content(file: Path, layer: str, content: bytes) -> list[Problem]:
    """The problems that a file would have with this content."""
    parsed = files.parse(layer, file, content, current().resolver.machine.here)
    if isinstance(parsed, Problem):
        return [parsed]
    return [] if parsed is None else _problems(parsed)


def _problems(document: files.Document) -> list[Problem]:
    reader = _reader(document)
    layers = _layers(document, reader)
    problems = [one for layer in layers for one in layer.problems]
    for layer in layers:
        said = [layer.layer[key] for key in ("prefer", "require") if key in layer.layer]
        if [one.value for one in said] == ["processes", "sharedmem"]:
            problems.append(problem(said[0].origin, CONTRADICTION, "prefer", reader))
    return problems + wrong_params((layer.layer for layer in layers), reader)


def _reader(document: files.Document) -> Reader:
    return Reader(current().resolver.machine.here, lambda _: document.text)


def _layers(document: files.Document, reader: Reader) -> list[Checked]:
    """What a file says, with all of its profiles."""
    profiles = document.table.get("profiles")
    selected = list(profiles) if isinstance(profiles, dict) else []
    return document_layers(document, selected, current().resolver.machine, reader)


def wrong_params(layers: Iterable[Mapping[str, Sourced]], reader: Reader) -> list[Problem]:
    """What is wrong with parameters in the tables of known backends.

    Parameters
    ----------
    layers : iterable of mapping
        Checked layers: what they say, by dotted key.
    reader : Reader
        For places in problems.
    """
    from parallelcfg.backends.params import UnknownParam, WrongParam
    from parallelcfg.backends.registry import check_params, known_backends

    problems = []
    said = {(key, one.origin): one for layer in layers for key, one in layer.items()}
    for (key, _), one in said.items():
        table, name, *path = (*split(key), "")
        if table != "backends" or name not in known_backends() or not any(path):  # the last: an empty table
            continue
        value = one.value
        for part in reversed(path[1:-1]):
            value = {part: value}  # the parameter is the whole table
        try:
            check_params(name, {path[0]: value})
        except (UnknownParam, WrongParam) as error:
            problems.append(error.at(one, reader))
        except Exception as error:  # of a plug-in
            message = f"{key}: backend {name!r} can't be loaded: {type(error).__name__}: {error}"
            problems.append(problem(one.origin, message, key, reader, value=one.value))
    return problems
