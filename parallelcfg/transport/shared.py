"""Arrays born in shared memory: they travel to workers and back as a name, and workers write into them."""

from __future__ import annotations

import errno
import mmap
import os
import weakref
from typing import TYPE_CHECKING, Any, cast

from parallelcfg.transport.arena import bases, discard_folder, make_owned_folder
from parallelcfg.transport.files import SHARED, SUPPORTED, create, reserve
from parallelcfg.transport.mapping import born, user_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike

__all__ = ["share", "shared_array"]


def shared_array(
    shape: int | Sequence[int], dtype: DTypeLike = float, *, temp_folder: str | None = None
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
        Where to put it; by default shared memory, or the system's temporary folder where that has no room.

    Returns
    -------
    numpy.memmap
        The array.

    Raises
    ------
    OSError
        If there is no room for it.

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
    path, mapped = _make_file(max(outline.nbytes, 1), temp_folder)
    born[path] = mapped
    weakref.finalize(mapped, discard_folder, os.path.dirname(path))
    return cast("np.memmap[Any, Any]", user_map(path, layout, 0, "r+", writeable=True))


def share(array: ArrayLike, *, temp_folder: str | None = None) -> np.memmap[Any, Any]:
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


def _make_file(nbytes: int, temp_folder: str | None) -> tuple[str, mmap.mmap]:
    if not SUPPORTED:
        raise OSError(errno.ENOTSUP, "this system has no files that can be removed while they are mapped")
    problem: OSError | None = None
    for base in bases(temp_folder):
        try:
            folder = make_owned_folder(base)
        except OSError as exc:
            problem = exc
            continue
        try:
            fd, path = create(folder, SHARED)
            try:
                reserve(fd, nbytes)
                return path, mmap.mmap(fd, nbytes)
            finally:
                os.close(fd)
        except OSError as exc:
            discard_folder(folder)
            problem = exc
    raise OSError(errno.ENOSPC, f"no room for {nbytes:,} bytes of shared memory") from problem
