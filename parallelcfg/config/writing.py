"""Reading and replacing files that people and other programs have in their hands, too."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from parallelcfg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["content", "replace"]


def content(file: Path) -> bytes:
    """What a file holds; nothing where there is none.

    Raises
    ------
    ConfigError
        It can't be read.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigError([Problem(f"can't be read: {error.strerror}", place=str(file))]) from None


def replace(file: Path, content: bytes) -> None:
    """Replace a file's content in one step, keeping its owner and mode; a link stays a link.

    Raises
    ------
    ConfigError
        It can't be written.
    """
    try:
        target = file.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        with _beside(target) as (descriptor, temporary):
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            before = target.stat() if target.exists() else None
            if before is not None and hasattr(os, "chown"):
                with contextlib.suppress(PermissionError):  # only root can give files to others
                    os.chown(temporary, before.st_uid, before.st_gid)
            temporary.chmod(0o666 & ~_umask() if before is None else before.st_mode & 0o777)
            temporary.replace(target)
    except OSError as error:
        raise ConfigError([Problem(f"can't be written: {error.strerror}", place=str(file))]) from None


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[tuple[int, Path]]:
    """A temporary file in the same folder, gone afterwards unless it was moved."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        yield descriptor, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
