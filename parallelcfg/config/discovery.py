"""Which configuration files count on a machine, and where the project's is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from parallelcfg.config import environ
from parallelcfg.config.files import PYPROJECT, Document, Store, Unread
from parallelcfg.config.places import absolute, short_path
from parallelcfg.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    found = [system, None if skip else _user(files, store, machine)]
    explicit = _named(machine, store.cwd)
    if skip:
        pass
    elif explicit is not None:
        found.append(_explicit(files, store, explicit))
    else:
        nearest = _nearest(files, store, machine)
        found.append(None if nearest is None else _admit(files, nearest[1]))
    files.documents += [_trusted(one) if one.layer != "project" or explicit else one for one in found if one]
    return files


def project_file(machine: Machine) -> Path | None:
    """The project's file that is in force, or would be if it were valid; None where there is none."""
    store = Store(machine.here, None)
    explicit = _named(machine, store.cwd)
    if explicit is not None:
        return explicit
    nearest = _nearest(Files(), store, machine)
    return None if nearest is None else nearest[0]


def _named(machine: Machine, start: Path | None) -> Path | None:
    """The file that ``PARALLEL_CONFIG`` names."""
    explicit = machine.environ.get(environ.CONFIG, "")
    return absolute(os.path.expanduser(explicit), start) if explicit else None  # noqa: PTH111 - keeps an unknown ~name


def _trusted(document: Document) -> Document:
    """The document as one that somebody in charge has named or put in its place."""
    return document._replace(distrust="")


def _admit(files: Files, read: Document | Problem | None) -> Document | None:
    if isinstance(read, Problem):
        files.problems.append(read)
        return None
    return read


def _user(files: Files, store: Store, machine: Machine) -> Document | None:
    if machine.user_file is None:
        return None
    read = store.get("user", machine.user_file)
    if isinstance(read, Unread) and _is_closed(machine.user_file.parent):
        files.notices.append(read)
        return None
    return _admit(files, read)


def _explicit(files: Files, store: Store, file: Path) -> Document | None:
    read = store.get("project", file, named=True)
    if read is None:
        missing = f"no file {file}" if not file.exists() else f"{file} has no [tool.parallelcfg]"
        place = f"environment variable {environ.CONFIG}={os.fspath(file)!r}"
        files.problems.append(
            Problem(f"{missing}; name one that exists, or unset the variable", "environment", place)
        )
    return _admit(files, read)


def _nearest(files: Files, store: Store, machine: Machine) -> tuple[Path, Document | Problem] | None:
    """The nearest project file from the working directory upwards, and what it holds."""
    for folder in _upwards(files, store.cwd, machine.home):
        own, shared = store.get("project", folder / _NAME), store.get("project", folder / PYPROJECT)
        if own is not None:
            if isinstance(shared, Document):
                files.notices.append(_masked(shared, store.cwd))
            return folder / _NAME, own
        if isinstance(shared, Unread):
            files.notices.append(shared)  # most likely other tools' business
        elif shared is not None:
            return folder / PYPROJECT, shared
    return None


def _masked(shared: Document, cwd: Path | None) -> Problem:
    masked = ", ".join(shared.table) or "no keys"
    message = f"[tool.parallelcfg] is ignored, {_NAME} beside it wins (masked: {masked}); keep one"
    return Problem(message, "project", short_path(shared.file, cwd))


def _upwards(files: Files, start: Path | None, home: Path | None) -> Iterator[Path]:
    """The folders where the project's file may stand, nearest first."""
    if start is None:
        message = "the working folder is gone, so no configuration is sought from there upwards"
        files.notices.append(Problem(message, "project"))
        return
    passed = False
    for folder in (start, *start.parents):
        if not _is_closed(folder):
            yield folder
        elif not passed:
            passed = True
            message = "may not be entered, so no configuration is sought in it"
            files.notices.append(Problem(message, "project", str(folder)))
        if folder == home or os.path.exists(folder / ".git"):  # noqa: PTH110 - never raises
            return


def _is_closed(folder: Path) -> bool:
    """Whether this process may not look for files in a folder: it is another user's, as after ``su``."""
    try:
        (folder / _NAME).lstat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        pass
    return False
