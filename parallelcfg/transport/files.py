"""Private folders and files of raw bytes: made, written, checked, removed and swept. Standard library only.

Folder names say whose they are, ``parallelcfg-SYSTEM-PID-START-RANDOM``, so that whoever comes across one
can tell whether its process still lives: the one of this system (boot and process namespace) with that number
*and* that start time. No lock is held, so none is lost or inherited.

Only the process in the name makes the folder. A worker that finds it missing knows that the call is over.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import zlib
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "SHARED",
    "SUPPORTED",
    "create",
    "free_space",
    "make_folder",
    "open_private",
    "owner",
    "remove_folder",
    "reserve",
    "save",
    "sweep",
]

#: Elsewhere files can't be removed while they are mapped, or can't be mapped at all.
SUPPORTED = os.name == "posix" and sys.platform not in {"emscripten", "wasi"}

#: How the names of shared arrays' files begin.
SHARED = "shared"

_PREFIX = "parallelcfg"
_DIRECTORY = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
#: No link is followed, and no pipe is waited for.
_GUARDED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_EXCLUSIVE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_PERMISSIONS = 0o7777
_FIELDS = 4
#: How often a folder is emptied again because a worker was still writing into it.
_ATTEMPTS = 10


def make_folder(base: str) -> str:
    """Make a private folder in ``base`` for this process; its path.

    Raises
    ------
    OSError
        If that can't be, or if the folder does not turn out private on this file system.
    """
    path = os.path.join(base, f"{_own_prefix(os.getpid())}-{os.urandom(8).hex()}")
    os.mkdir(path, 0o700)
    try:
        os.close(_open_folder(path, widen=True))
    except OSError:
        os.rmdir(path)
        raise
    return path


def save(folder: str, kind: str, chunks: Callable[[], Iterable[memoryview]], nbytes: int) -> str:
    """Write a file with an unpredictable name into a private folder; its path.

    Parameters
    ----------
    folder : str
        What `make_folder` made, in this process or in its parent.
    kind : str
        How the name begins.
    chunks : callable
        Gives the contents, ``nbytes`` in all.

    Raises
    ------
    FileNotFoundError
        If the folder is gone: its call is over.
    PermissionError
        If the folder is not private any more.
    OSError
        If there is no room. No part of the file is left then.
    """
    fd, path = create(folder, kind)
    try:
        reserve(fd, nbytes)
        for chunk in chunks():
            rest = chunk
            while rest:  # one call writes 2 GiB at most
                rest = rest[os.write(fd, rest) :]
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    return path


def create(folder: str, kind: str) -> tuple[int, str]:
    """Create an empty file in a private folder; its descriptor and path. Raises as `save` does."""
    name = f"{kind}-{os.urandom(8).hex()}"
    directory = _open_folder(folder)
    try:
        fd = os.open(name, _EXCLUSIVE, 0o600, dir_fd=directory)
    finally:
        os.close(directory)
    os.fchmod(fd, 0o600)  # a umask can take bits from the mode above, and never adds any
    return fd, os.path.join(folder, name)


def reserve(fd: int, nbytes: int) -> None:
    """Make room for ``nbytes`` in a file. Without it, touching the mapped file may be a SIGBUS.

    Raises
    ------
    OSError
        If there is no room.
    """
    free = free_space(fd)
    if free is not None and free < nbytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if sys.platform == "darwin":
        os.ftruncate(fd, nbytes)  # has no posix_fallocate
        return
    try:
        os.posix_fallocate(fd, 0, nbytes)
    except OSError as exc:
        if exc.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
            raise
        os.ftruncate(fd, nbytes)  # this file system can't reserve


def free_space(place: int | str) -> int | None:
    """Bytes that this user may still write on the file system of a path or descriptor; None if unlimited."""
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize if found.f_blocks else None


def open_private(path: str, flags: int) -> int:
    """Open a file that this user alone can have written; the descriptor.

    Raises
    ------
    PermissionError
        If it is a link, no plain file, somebody else's, or open to others.
    """
    fd = os.open(path, flags | _GUARDED)
    try:
        _check(os.fstat(fd), stat.S_IFREG, 0o600, path)
    except OSError:
        os.close(fd)
        raise
    return fd


def remove_folder(path: str) -> None:
    """Remove a private folder with all its files; nothing happens if it is gone."""
    for _ in range(_ATTEMPTS):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return
        except OSError as exc:
            if exc.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            _empty(path)
        else:
            return


def sweep(base: str) -> None:
    """Remove from ``base`` the folders that dead processes of this user left there.

    Nothing is removed that may belong to a living process, to another user, or to another system that shares
    this file system; no link is followed.
    """
    with suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            # Whatever goes wrong with one of them: it may be in the middle of being swept by another process.
            with suppress(OSError):
                if _is_orphan(entry.name) and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                    remove_folder(entry.path)


def _empty(path: str) -> None:
    directory = _open_folder(path)
    try:
        for name in os.listdir(directory):
            with suppress(FileNotFoundError):  # somebody else removes it too
                os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)


def owner(path: str) -> int | None:
    """Number of the process whose private folder a file is in; None if it is in no such folder."""
    fields = _fields(os.path.basename(os.path.dirname(path)))
    return fields[1] if fields else None


def _open_folder(path: str, *, widen: bool = False) -> int:
    fd = os.open(path, os.O_RDONLY | _DIRECTORY)
    try:
        if widen:  # a umask can take bits from the mode of mkdir, and never adds any
            os.fchmod(fd, 0o700)
        _check(os.fstat(fd), stat.S_IFDIR, 0o700, path)
    except OSError:
        os.close(fd)
        raise
    return fd


def _check(found: os.stat_result, kind: int, mode: int, path: str) -> None:
    private = (
        stat.S_IFMT(found.st_mode) == kind
        and found.st_uid == os.geteuid()
        and found.st_mode & _PERMISSIONS & ~stat.S_ISGID == mode  # folders inherit that bit
        and (kind == stat.S_IFDIR or found.st_nlink == 1)
    )
    if not private:
        raise PermissionError(errno.EPERM, "not private: wrong owner, mode, kind or number of links", path)


def _fields(name: str) -> tuple[str, int, int] | None:
    """System, process and start time in a folder's name; None if it is no such name."""
    prefix, *fields = name.split("-")
    if prefix != _PREFIX or len(fields) != _FIELDS or not all(map(str.isdecimal, fields[1:3])):
        return None
    return fields[0], int(fields[1]), int(fields[2])


def _is_orphan(name: str) -> bool:
    fields = _fields(name)
    if fields is None or fields[0] != _system():
        return False
    _, pid, started = fields
    if started:
        return _start_time(pid) != started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@cache
def _own_prefix(pid: int) -> str:
    return f"{_PREFIX}-{_system()}-{pid}-{_start_time(pid) or 0}"


@cache
def _system() -> str:
    """Eight digits for this boot of this machine, and the namespace of its process numbers."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            identity = file.read() + os.readlink("/proc/self/ns/pid")
    except OSError:
        import platform

        identity = platform.node()
    return f"{zlib.crc32(identity.encode()):08x}"


def _start_time(pid: int) -> int | None:
    """When a process began, in ticks since boot; None where it is dead, or on systems without /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, *fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if state in b"ZX" else int(fields[18])
