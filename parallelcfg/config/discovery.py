"""Which configuration files count on a machine, and where the project's is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from parallelcfg.config import environ
from parallelcfg.config.files import PYPROJECT, Document, Store
from parallelcfg.config.places import short_path
from parallelcfg.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parallelcfg.config.machine import Machine

__all__ = ["Files", "discover", "project_file"]

_NAME = "parallel.toml"


class Files:
    """The files in force, lowest layer first, and what is wrong with them."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self.notices: list[Problem] = []


def discover(machine: Machine, store: Store) -> Files:
    """Find and read the files in force on a machine.

    Parameters
    ----------
    machine : Machine
        The machine.
    store : Store
        Where files are kept that were read before.
    """
    files = Files()
    skip = environ.is_set(machine.environ, environ.NO_CONFIG)
    system = _admit(files, store.get("system", machine.system_file))
    if system is not None and skip:
        limits = {name: system.table[name] for name in ("max_jobs", "locked") if name in system.table}
        system = system._replace(table=limits)
    explicit = machine.environ.get(environ.CONFIG, "")
    found = [system, None if skip else _user(files, store, machine)]
    if skip:
        pass
    elif explicit:
        found.append(_explicit(files, store, machine.cwd / Path(explicit).expanduser()))
    else:
        found.append(_project(files, store, machine))
    files.documents += [_trusted(one) if one.layer != "project" or explicit else one for one in found if one]
    return files


def _trusted(document: Document) -> Document:
    """The document as one that somebody in charge has named or put in its place."""
    return document._replace(distrust="")


def _admit(files: Files, read: Document | Problem | None) -> Document | None:
    if isinstance(read, Problem):
        files.problems.append(read)
        return None
    return read


def _user(files: Files, store: Store, machine: Machine) -> Document | None:
    """The user's file. In a folder that this process may not enter it is another user's, as after ``su``."""
    read = store.get("user", machine.user_file)
    if isinstance(read, Problem) and not os.access(machine.user_file.parent, os.X_OK):
        files.notices.append(read)
        return None
    return _admit(files, read)


def _explicit(files: Files, store: Store, file: Path) -> Document | None:
    read = store.get("project", file)
    if read is None:
        missing = f"no file {file}" if not file.exists() else f"{file} has no [tool.parallelcfg]"
        place = f"environment variable {environ.CONFIG}={os.fspath(file)!r}"
        files.problems.append(
            Problem(f"{missing}; name one that exists, or unset the variable", "environment", place)
        )
    return _admit(files, read)


def _project(files: Files, store: Store, machine: Machine) -> Document | None:
    """The project's file: the nearest one from the working directory upwards."""
    for folder in _upwards(machine):
        own, shared = store.get("project", folder / _NAME), store.get("project", folder / PYPROJECT)
        if own is not None and isinstance(shared, Document):
            masked = ", ".join(shared.table) or "no keys"
            message = f"[tool.parallelcfg] is ignored, {_NAME} beside it wins (masked: {masked}); keep one"
            files.notices.append(Problem(message, "project", short_path(shared.file, machine.cwd)))
        if own is not None or shared is not None:
            return _admit(files, own if own is not None else shared)
    return None


def project_file(machine: Machine) -> Path | None:
    """The project's file that is in force, or would be if it were valid; None where there is none."""
    explicit = machine.environ.get(environ.CONFIG, "")
    if explicit:
        return machine.cwd / Path(explicit).expanduser()
    store = Store(machine.cwd, None)
    for folder in _upwards(machine):
        for name in (_NAME, PYPROJECT):
            if store.get("project", folder / name) is not None:
                return folder / name
    return None


def _upwards(machine: Machine) -> Iterator[Path]:
    for folder in (machine.cwd, *machine.cwd.parents):
        yield folder
        if folder == machine.home or (folder / ".git").exists():
            return
