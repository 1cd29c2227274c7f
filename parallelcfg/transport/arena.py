"""The parent's private folders of one call: made on first need, where there is room, and always removed."""

from __future__ import annotations

import atexit
import errno
import os
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Any

from parallelcfg.config.callers import notebook, warn_caller
from parallelcfg.errors import ConfigError, SharingWarning
from parallelcfg.transport.files import free_space, make_folder, owner, remove_folder, save, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "REMEDY",
    "Arena",
    "bases",
    "discard_all",
    "discard_folder",
    "make_owned_folder",
    "places",
    "temporary_folder",
]

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the folders in it are private
#: What helps where there is no room.
REMEDY = "Set temp_folder (PARALLEL_TEMP_FOLDER) to a private folder with room"
#: Where less is free, results need a second folder to fall back on.
_PLENTY = 1 << 30

_folders: set[str] = set()
_swept: set[str] = set()
_kernel_ends = False


class Arena:
    """Files of one call.

    Parameters
    ----------
    temp_folder : str or None
        Where the configuration wants them.
    strict : bool
        Whether to raise instead of warn.
    said_at : callable, optional
        Gives where ``temp_folder`` was said, for warnings.
    """

    def __init__(self, temp_folder: str | None, *, strict: bool, said_at: Callable[[], str] = str) -> None:
        self._temp_folder = temp_folder
        self._said_at = said_at
        self._strict = strict
        self._made: dict[str, str] = {}
        self._warned = self._closed = False
        self._problem = ""
        self._lock = RLock()  # a finaliser may close the arena in the middle of anything
        self._owner = os.getpid()

    def save(self, kind: str, chunks: Callable[[], Iterable[memoryview]], nbytes: int) -> str | None:
        """Write a file where there is room; its path, or None if there is room nowhere."""
        problems: list[str] = []
        for base in bases(self._temp_folder):
            try:
                path = save(self._folder(base), kind, chunks, nbytes)
            except OSError as exc:
                if self._closed:
                    return None
                said = self._said_at() if base == self._temp_folder else ""
                problems.append(f"{base}{said}: {exc.strerror}")
            else:
                self._note(nbytes, problems, f"{base} is used")
                return path
        self._note(nbytes, problems or ["any folder"], "they are pickled")
        return None

    def folders(self) -> tuple[str, ...]:
        """Folders for results of a size yet unknown: one, and a second where the first has little room."""
        found: list[str] = []
        for base in bases(self._temp_folder):
            with suppress(OSError):
                found.append(self._folder(base))
                free = free_space(base)
                if free is None or free >= _PLENTY:
                    break
        return tuple(found)

    def warn(self, text: str = "") -> None:
        """Warn, or raise if strict, that data travel a slower way: ``text``, or what `save` came across.

        Once per call, and never from inside a pickler: it would take the exception for its own.
        """
        text = text or self._problem
        if self._warned or not text:
            return
        self._warned = True
        if self._strict:
            raise ConfigError(text)
        warn_caller(text, SharingWarning)

    @property
    def begun(self) -> bool:
        """Whether it has a folder."""
        return bool(self._made)

    def close(self) -> None:
        """Remove everything. Idempotent."""
        if self._owner != os.getpid():  # the parent's, and the lock may be one of its threads' for ever
            return
        with self._lock:
            self._closed = True
            while self._made:
                discard_folder(self._made.popitem()[1])

    def _folder(self, base: str) -> str:
        with self._lock:
            self._refuse_if_closed(base)
            if base not in self._made:
                folder = self._made[base] = make_owned_folder(base)
                try:
                    self._refuse_if_closed(base)  # by a finaliser, meanwhile
                except FileNotFoundError:
                    discard_folder(folder)
                    raise
            return self._made[base]

    def _refuse_if_closed(self, base: str) -> None:
        if self._closed:
            raise FileNotFoundError(errno.ENOENT, "the call is over", base)

    def _note(self, nbytes: int, problems: list[str], instead: str) -> None:
        if problems:
            self._problem = (
                f"{nbytes:,} bytes of large data can't be put into {'; '.join(problems)}; {instead}. "
                f"{REMEDY}, or max_nbytes to None"
            )


def bases(temp_folder: str | None) -> Iterator[str]:
    """Where private folders can be, best first."""
    if temp_folder is not None:
        with suppress(OSError):  # the attempt to use it will say so better
            os.makedirs(temp_folder, mode=0o700, exist_ok=True)
        yield temp_folder
    if os.path.isdir(_SHARED_MEMORY) and temp_folder != _SHARED_MEMORY:
        yield _SHARED_MEMORY
    if (temporary := temporary_folder()) is not None:
        yield temporary


def places() -> tuple[str, ...]:
    """Where this process has made private folders, and where else it may without being told to."""
    return tuple({*_swept, *bases(None)})


def temporary_folder() -> str | None:
    """The system's temporary folder; None where there is none that can be written, as in some containers."""
    import tempfile  # takes its time, and is rarely needed

    with suppress(FileNotFoundError):
        return tempfile.gettempdir()
    return None


def make_owned_folder(base: str) -> str:
    """Make a private folder that is removed at exit at the latest; its path."""
    if base not in _swept:
        _swept.add(base)
        sweep(base)
        if (shell := notebook()) is not None:
            shell.observe(_discard_with_kernel, "exit_now")
    if _kernel_ends:
        raise FileNotFoundError(errno.ENOENT, "the kernel ends", base)
    folder = make_folder(base)
    _folders.add(folder)
    return folder


def discard_folder(folder: str) -> None:
    """Remove a folder, unless it is the parent's of this forked process."""
    with suppress(OSError):  # no call fails over tidying, which is tried again at exit
        if owner(os.path.join(folder, "")) == os.getpid():
            remove_folder(folder)
        _folders.discard(folder)


@atexit.register
def discard_all() -> None:
    """Remove the folders of all calls: this process ends."""
    for folder in list(_folders):
        discard_folder(folder)


def _discard_with_kernel(change: Any) -> None:
    """A notebook's kernel is told to end.

    It kills its children first, workers included, and waits for them until it is killed itself: no exit
    handler runs, and no worker cleans up.
    """
    global _kernel_ends  # noqa: PLW0603
    if change["new"]:
        _kernel_ends = True  # what still runs makes no new ones
        discard_all()
