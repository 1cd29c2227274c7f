"""Files back to arrays and buffers: what a pickle's references call when they are loaded.

Every mapping of CPython before 3.13 holds a descriptor, and every mapping anywhere counts against a limit of
the kernel's. So once many are alive, further files are read into memory instead.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
from collections import OrderedDict, deque
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary, ref

from parallelcfg.transport.files import open_private, owner
from parallelcfg.transport.load import watch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parallelcfg.transport.layout import Array, Layout

__all__ = [
    "argument",
    "born",
    "buffer",
    "explain_read_only",
    "holds",
    "let_go",
    "remove_later",
    "remove_results",
    "result",
    "user_map",
]

_ACCESS = {"r": mmap.ACCESS_READ, "r+": mmap.ACCESS_WRITE, "c": mmap.ACCESS_COPY}

#: Shared arrays that live in this process, by path: two references to one of them give one mapping.
born: WeakValueDictionary[str, mmap.mmap] = WeakValueDictionary()

#: Arguments that this worker has mapped lately, and mappings of those that came again. Mapping anew for every
#: batch would cost several times what reading does: each page is found again by a fault.
_lately: deque[tuple[str, str]] = deque(maxlen=64)
_again: OrderedDict[tuple[str, str], mmap.mmap] = OrderedDict()
_MOST_AGAIN = 16

_alive: set[ref[mmap.mmap]] = set()
_has_mapped_read_only = False


def argument(path: str, layout: Layout, mode: str, writeable: bool) -> Array:
    """An array of the parent's as a `numpy.memmap` of the arena's file."""
    key = path, mode
    mapped = _again.get(key)
    if mapped is None:
        fd = open_private(path, os.O_RDWR if mode == "r+" else os.O_RDONLY)
        try:
            mapped = _map(fd, layout.nbytes, mode)
        finally:
            os.close(fd)
        if mode != "c":  # private copies are for one batch
            _note(key, mapped)
    return _memmap(path, layout, mode, writeable, mapped)


def _note(key: tuple[str, str], mapped: mmap.mmap) -> None:
    if key not in _lately:
        _lately.append(key)
        return
    _again[key] = mapped
    if len(_again) > _MOST_AGAIN:
        _again.popitem(last=False)


def holds() -> bool:
    """Whether arguments are kept mapped for further batches."""
    return bool(_again)


def let_go() -> None:
    """Keep none: the call may be over, and their memory is gone only with the last mapping."""
    _again.clear()


def user_map(path: str, layout: Layout, start: int, mode: str, writeable: bool) -> Array:
    """A view of a file that the user has mapped (``start``: where its lowest byte is), mapped here too."""
    mapped = born.get(path)
    if mapped is None:
        fd = _open(path, os.O_RDWR if mode == "r+" else os.O_RDONLY)
        try:
            # From a page's beginning; shared arrays whole, since other views of them may follow.
            skipped = start % mmap.ALLOCATIONGRANULARITY if owner(path) is None else start
            length = skipped + layout.nbytes if owner(path) is None else os.fstat(fd).st_size
            mapped = _map(fd, length, mode, start - skipped)
        finally:
            os.close(fd)
        if owner(path) is not None and mode == "r+":
            watch([os.path.dirname(os.path.dirname(path))])
            born[path] = mapped
    else:
        skipped = start
    return _memmap(path, layout, mode, writeable, mapped, start, skipped)


def result(path: str, layout: Layout) -> Array:
    """An array of a worker's as an ordinary writable array, alone with its memory.

    Its file stays until `remove_results`: where a neighbour can't be unpickled, all are unpickled again.
    """
    import numpy as np

    array = layout.view(np.ndarray, buffer(path, layout.nbytes, readonly=False))
    remove_later([path])
    return array


_read_by = threading.local()


def remove_later(paths: Iterable[str]) -> None:
    """These are files of results that this thread unpickles."""
    _read_by.__dict__.setdefault("paths", set()).update(paths)


def remove_results() -> None:
    """Remove the files of the results that this thread has unpickled, or has tried to."""
    for path in _read_by.__dict__.pop("paths", ()):
        with suppress(FileNotFoundError):  # the call is over, and its folder gone
            os.unlink(path)


def buffer(path: str, nbytes: int, *, readonly: bool) -> mmap.mmap:
    """The bytes of an arena's file; what is written into them stays private."""
    fd = open_private(path, os.O_RDONLY)
    try:
        return _map(fd, nbytes, "r" if readonly else "c")
    finally:
        os.close(fd)


def explain_read_only(error: BaseException) -> str | None:
    """What to do about an exception that comes of writing into an argument; None if it does not.

    Examples
    --------
    >>> explain_read_only(ValueError("something else")) is None
    True
    """
    if _has_mapped_read_only and isinstance(error, ValueError) and "read-only" in str(error):
        return "large arguments are mapped read-only: set mmap_mode='c' for private writable copies"
    return None


def _open(path: str, flags: int) -> int:
    return os.open(path, flags) if owner(path) is None else open_private(path, flags)


def _memmap(
    path: str,
    layout: Layout,
    mode: str,
    writeable: bool,
    mapped: mmap.mmap,
    offset: int = 0,
    skipped: int = 0,
) -> Array:
    """What `numpy.memmap` would be, had it strides; its attributes are numpy's own."""
    import numpy as np

    global _has_mapped_read_only  # noqa: PLW0603 - a fact about this process
    if mode == "r":
        _has_mapped_read_only = True
    array: Any = layout.view(np.memmap, mapped, skipped)
    if not writeable or mode == "r":
        array.flags.writeable = False
    array._mmap = mapped  # noqa: SLF001 - as numpy.memmap.__new__ does
    array.filename = path
    array.offset = offset
    array.mode = mode
    return cast("Array", array)


def _map(fd: int, length: int, mode: str, start: int = 0) -> mmap.mmap:
    if mode != "r+" and len(_alive) >= _limit():
        return _read(fd, length, start)
    access = _ACCESS[mode]
    if sys.version_info >= (3, 13) and sys.platform != "win32":
        mapped = mmap.mmap(fd, length, access=access, offset=start, trackfd=False)
    else:
        mapped = mmap.mmap(fd, length, access=access, offset=start)
    _alive.add(ref(mapped, _alive.discard))
    return mapped


def _read(fd: int, length: int, start: int) -> mmap.mmap:
    memory = mmap.mmap(-1, length, access=mmap.ACCESS_COPY)
    with memoryview(memory) as view:
        done = 0
        while done < length:
            count = os.preadv(fd, [view[done:]], start + done)
            if not count:
                raise EOFError(f"a file of the arena is {length - done} bytes too short")
            done += count
    return memory


@cache
def _limit() -> int:
    """How many mappings may be alive before further ones are read."""
    if sys.version_info >= (3, 13) and sys.platform != "win32":
        return 16_384  # a quarter of Linux' default of vm.max_map_count
    try:
        import resource
    except ImportError:  # Windows
        return 256
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 16_384 if soft == resource.RLIM_INFINITY else min(soft // 4, 16_384)
