"""`Machine`: all that decides on the configuration outside the program, so that tests can make one up."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Machine", "NotHere"]

_APP = "parallelcfg"
_ON_LINUX = sys.platform.startswith("linux")


class NotHere(ValueError):
    """A value that is wrong on this machine, and may be right on another one."""


def _uid() -> int | None:
    """The user on whose behalf files are read; None where files have no such owners (Windows, Pyodide)."""
    return None if sys.platform in {"win32", "emscripten"} else os.geteuid()


def _system_dir() -> Path:
    if _ON_LINUX:  # XDG_CONFIG_DIRS, of the standard's answers, is the user's to change: no place for locks
        return Path("/etc") / _APP
    from platformdirs import site_config_path

    return site_config_path(_APP, appauthor=False)


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a container's user has no entry in its passwd
        return None


def _user_dir() -> Path | None:
    if _ON_LINUX:  # https://specifications.freedesktop.org/basedir-spec; importing platformdirs takes 5 ms
        said, home = os.environ.get("XDG_CONFIG_HOME", "").strip(), _home()
        folder = Path(said) if said else home and home / ".config"
        return folder and folder / _APP
    from platformdirs import user_config_path

    return user_config_path(_APP, appauthor=False)


@dataclass(frozen=True)
class Machine:
    """Where the layers outside the code come from.

    Parameters
    ----------
    environ : mapping
        The environment.
    cwd : Path or None
        The working folder; None means the process's own, whichever that is at the time.
    home : Path or None
        The user's home: what ``~`` means, and where the search ends; None where nobody knows.
    system_dir, user_dir : Path
        The folders of the system's and the user's ``parallel.toml``; without a home there may be no user's.
    uid : int or None
        The user on whose behalf files are read; None switches the check of owners off.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    cwd: Path | None = None
    home: Path | None = field(default_factory=_home)
    system_dir: Path = field(default_factory=_system_dir)
    user_dir: Path | None = field(default_factory=_user_dir)
    uid: int | None = field(default_factory=_uid)

    @property
    def here(self) -> Path | None:
        """The working folder as it is now: where relative paths in code and variables start; None if gone."""
        if self.cwd is not None:
            return self.cwd
        try:
            return Path.cwd()
        except OSError:
            return None

    @property
    def system_file(self) -> Path:
        """The file of the machine's administrator."""
        return self.system_dir / "parallel.toml"

    @property
    def user_file(self) -> Path | None:
        """The file of the user, if there is a place for one."""
        return self.user_dir and self.user_dir / "parallel.toml"
