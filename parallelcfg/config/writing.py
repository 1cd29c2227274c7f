"""Reading and replacing files that other processes may be changing, too: one after the other."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from parallelcfg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["content", "exclusive", "replace"]

_PATIENCE = 10.0  # seconds; a change takes milliseconds
_PAUSE = 0.01


@contextlib.contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Keep other processes that want to change the same file waiting meanwhile.

    Makes the file's folder. What else it makes is gone afterwards, and so is a folder that has stayed empty.

    Raises
    ------
    ConfigError
        The folder can't be written to, or another process doesn't come to an end.
    """
    target = Path(os.path.realpath(file))
    lock = target.with_name(f".{target.name}.lock")
    try:
        made = [folder for folder in target.parents if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(lock)
    except OSError as error:
        raise ConfigError([_unwritable(file, error)]) from None
    if descriptor is None:
        raise ConfigError([Problem("another process is changing it; try again", place=str(file))])
    try:
        yield
    finally:
        _unlock(lock, descriptor)
        for folder in made:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()


def _locked(lock: Path) -> int | None:
    """Wait until this process has locked the file of this name; None where that takes too long."""
    until = time.monotonic() + _PATIENCE
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        if _try(descriptor) and _is_at(lock, descriptor):
            return descriptor
        os.close(descriptor)
        if time.monotonic() >= until:
            return None
        time.sleep(_PAUSE)


def _try(descriptor: int) -> bool:
    """Lock a file unless somebody has. Where nothing can be locked, as on some network drives, nobody has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except (ImportError, OSError):
        return True
    return True


def _is_at(lock: Path, descriptor: int) -> bool:
    """Whether a locked file is still the one of this name: who had it before has taken it away."""
    try:
        return sys.platform == "win32" or os.path.samestat(os.fstat(descriptor), lock.lstat())
    except FileNotFoundError:
        return False


def _unlock(lock: Path, descriptor: int) -> None:
    """Take the file away, then let it go; on Windows, which takes away what nobody has open, after that."""
    if sys.platform == "win32":
        os.close(descriptor)
    with contextlib.suppress(OSError):  # there, one who waits has it open, and takes it away later
        lock.unlink()
    if sys.platform != "win32":
        os.close(descriptor)


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
        raise ConfigError([_unwritable(file, error)]) from None


def _unwritable(file: Path, error: OSError) -> Problem:
    return Problem(f"can't be written: {error.strerror}", place=str(file))


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
