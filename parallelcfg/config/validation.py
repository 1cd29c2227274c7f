"""Everything that is wrong, as a list: for `validate`, and for `set`, which refuses to add to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallelcfg.config import files
from parallelcfg.config.documents import document_layers
from parallelcfg.config.places import Reader, short_path
from parallelcfg.config.process import current
from parallelcfg.config.state import agreeing, in_force
from parallelcfg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["problems_in_force", "problems_of_content", "problems_of_file"]


def problems_in_force() -> list[Problem]:
    """The problems and notices of every layer of this machine, and what contradicts what."""
    gathered = current().resolver.surroundings.gather()
    problems = gathered.problems
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
    machine = current().resolver.machine
    reader = Reader(machine.cwd, lambda _: document.text)
    return [problem for layer in document_layers(document, [], machine, reader) for problem in layer.problems]
