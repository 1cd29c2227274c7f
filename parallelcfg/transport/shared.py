"""Arrays born in shared memory: they travel to workers and back as a name, and workers write into them."""

from __future__ import annotations

import errno
import mmap
import os
import weakref
from typing import TYPE_CHECKING, Any, cast

from parallelcfg.config.context import notify, resolve_call
from parallelcfg.config.state import said_at
from parallelcfg.errors import SharingWarning
from parallelcfg.transport.arena import REMEDY, bases, discard_folder, make_owned_folder
from parallelcfg.transport.files import SHARED, SUPPORTED, create, reserve
from parallelcfg.transport.mapping import born, user_map

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike

    from parallelcfg.config.snapshot import Config

__all__ = ["share", "shared_array"]


def shared_array(
    shape: int | Sequence[int], dtype: DTypeLike = float, *, temp_folder: str | PathLike[str] | None = None
) -> np.memmap[Any, Any]:
    """An array of zeros that processes share.

    Tasks that get it, or a view of it, see the same memory as the caller and may write into it, whatever
    ``mmap_mode`` says: in threads, and in processes of loky and multiprocessing. Processes of other backends
    get a copy. It takes no time to send, and none to return from a task. The memory is freed with the last
    reference in this process.

    Parameters
    ----------
    shape : int or sequence of int
        Shape of the array.
    dtype : data type
        Type of the elements; no Python objects.
    temp_folder : str, optional
        Where to put it, in place of the configured ``temp_folder``. Where that has no room, and where there
        is none, shared memory, and then the system's temporary folder.

    Returns
    -------
    numpy.memmap
        The array.

    Raises
    ------
    OSError
        If there is no room for it.
    ConfigError
        If ``temp_folder`` is no path; under ``strict``, if a folder is passed over.

    Warns
    -----
    SharingWarning
        If a folder is passed over.

    Examples
    --------
    >>> squares = shared_array(3)
    >>> squares[:] = [0, 1, 4]
    >>> squares.sum()
    np.float64(5.0)
    """
    import numpy as np

    from parallelcfg.transport.layout import Layout

    kind = np.dtype(dtype)
    if kind.hasobject:
        raise TypeError(f"processes can't share Python objects, as dtype={kind} would")
    outline = np.broadcast_to(np.empty((), kind), shape)
    layout = Layout(kind, outline.shape, None, 0, outline.nbytes)
    config = resolve_call({} if temp_folder is None else {"temp_folder": temp_folder}, {})
    path, mapped, passed_over = _make_file(max(outline.nbytes, 1), config)
    born[path] = mapped
    weakref.finalize(mapped, discard_folder, os.path.dirname(path))
    if passed_over:
        notify(config, passed_over, SharingWarning, once=False)
    return cast("np.memmap[Any, Any]", user_map(path, layout, 0, "r+", writeable=True))


def share(array: ArrayLike, *, temp_folder: str | PathLike[str] | None = None) -> np.memmap[Any, Any]:
    """A copy of an array in memory that processes share; see `shared_array`.

    Parameters
    ----------
    array : array-like
        What to copy; its shape and type are the copy's.
    temp_folder : str, optional
        Where to put it, as for `shared_array`.

    Returns
    -------
    numpy.memmap
        The copy.

    Examples
    --------
    >>> share([1, 2, 3]) + 1
    array([2, 3, 4])
    """
    import numpy as np

    source = np.asarray(array)
    shared = shared_array(source.shape, source.dtype, temp_folder=temp_folder)
    shared[...] = source
    return shared


def _make_file(nbytes: int, config: Config) -> tuple[str, mmap.mmap, str]:
    """A file in the first folder that has room, its memory, and what to say if others were passed over."""
    if not SUPPORTED:
        raise OSError(errno.ENOTSUP, "this system has no files that can be removed while they are mapped")
    problems: list[str] = []
    for base in bases(config.temp_folder):
        try:
            path, mapped = _make_file_in(base, nbytes)
        except OSError as exc:
            said = said_at(config, "temp_folder") if base == config.temp_folder else ""
            problems.append(f"{base}{said}: {exc.strerror}")
        else:
            refused = f"{nbytes:,} bytes of shared memory can't be put into {'; '.join(problems)}"
            return path, mapped, f"{refused}; {base} is used. {REMEDY}" if problems else ""
    tried = "; ".join(problems) or "any folder"
    raise OSError(errno.ENOSPC, f"no room for {nbytes:,} bytes of shared memory in {tried}. {REMEDY}")


def _make_file_in(base: str, nbytes: int) -> tuple[str, mmap.mmap]:
    folder = make_owned_folder(base)
    try:
        fd, path = create(folder, SHARED)
        try:
            reserve(fd, nbytes)
            return path, mmap.mmap(fd, nbytes)
        finally:
            os.close(fd)
    except OSError:
        discard_folder(folder)
        raise
