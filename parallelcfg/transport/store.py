"""What goes into files instead of into a pickle; the same rules for both directions.

`FileStore` decides, its two heirs store: `reduce.Sharing` in the parent, `load` in workers.
"""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from parallelcfg.transport.pickling import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap

    from parallelcfg.transport.layout import Array
    from parallelcfg.transport.pickling import BufferCallback, Reducers

__all__ = ["Envelope", "FileStore", "Stored", "address", "lasts", "open_envelope", "seal"]


class Stored(NamedTuple):
    """A buffer in a file.

    Parameters
    ----------
    path : str
        The file.
    nbytes : int
        Its size.
    readonly : bool
        Whether the buffer can't be written into.
    lasting : bool
        Whether nobody ever changes what is in it.
    """

    path: str
    nbytes: int
    readonly: bool
    lasting: bool

    @classmethod
    def at(cls, path: str, view: memoryview) -> Stored:
        """A buffer that was written into a file."""
        return cls(path, view.nbytes, view.readonly, lasts(view))


class Envelope(NamedTuple):
    """A pickle with what travels beside it.

    Parameters
    ----------
    data : bytes
        The pickle.
    buffers : tuple of Stored
        Its out-of-band buffers, in order.
    remove : bool
        Whether the receiver shall remove the buffers' files, by `mapping.remove_results`: nobody else is
        going to read them.
    shared : int
        Bytes that were written into files for this pickle.
    note : str
        What the receiver shall warn about; empty: nothing.
    """

    data: bytes
    buffers: tuple[Stored, ...]
    remove: bool
    shared: int
    note: str


def seal(data: bytes, buffers: list[Stored], *, remove: bool, shared: int = 0, note: str = "") -> bytes:
    """Put a pickle into an envelope, where there is anything to go with it."""
    if not buffers and not shared and not note:
        return data
    return pickle.dumps(Envelope(data, tuple(buffers), remove, shared, note), PROTOCOL)


def open_envelope(envelope: Envelope, loads: Callable[..., Any] = pickle.loads) -> Any:
    """Unpickle, with ``loads``, what is in an envelope.

    A buffer that comes several times, as those of an Arrow table do in its slices, is mapped once, unless
    what is written in one place would show in the other.
    """
    from parallelcfg.transport.mapping import buffer, remove_later

    if envelope.remove:
        remove_later(stored.path for stored in envelope.buffers)
    maps: dict[Stored, mmap] = {}
    buffers = []
    for stored in envelope.buffers:
        if stored not in maps or not stored.lasting:
            maps[stored] = buffer(stored.path, stored.nbytes, readonly=stored.readonly)
        buffers.append(maps[stored])
    return loads(envelope.data, buffers=buffers)


def lasts(view: memoryview) -> bool:
    """Whether nobody ever changes what is in a buffer; Arrow's data never change."""
    return view.readonly or type(view.obj).__module__ == "pyarrow.lib"


def address(view: memoryview) -> int | None:
    """Where a buffer is in memory; None without numpy, which alone can tell."""
    frombuffer = getattr(sys.modules.get("numpy"), "frombuffer", None)
    return None if frombuffer is None else int(frombuffer(view, "u1").__array_interface__["data"][0])


class FileStore:
    """A `pickling.Store` of files.

    Parameters
    ----------
    threshold : int or None
        Size in bytes from which data are stored; None: nothing is, but the user's own memory-mapped files
        still travel by reference.
    """

    def __init__(self, threshold: int | None) -> None:
        self._threshold = threshold
        self._buffers: list[Stored] = []

    def begin(self) -> tuple[Reducers, BufferCallback | None]:
        """The reducers and the callback for one pickle."""
        self._buffers = []
        callback = None if self._threshold is None else self._leave_in_pickle
        if "numpy" not in sys.modules:
            return {}, callback
        import numpy as np  # waits, where another thread is in the middle of importing it

        return {np.ndarray: self._reduce, np.memmap: self._reduce}, callback

    def _store_array(self, array: Array) -> Any:
        """Store an array and return its reduction; None if that can't be."""
        raise NotImplementedError

    def _store_buffer(self, view: memoryview) -> Stored | None:
        """Store a buffer; None if that can't be."""
        raise NotImplementedError

    def _refer(self, array: Array) -> Any:
        """The reduction of a view of a mapped file, by reference; None where it has to be copied."""
        from parallelcfg.transport.mapping import user_map
        from parallelcfg.transport.memmaps import backing, reference

        mapped = backing(array)
        found = None if mapped is None else reference(array, mapped)
        return None if found is None else (user_map, found)

    def _reduce(self, array: Array) -> Any:
        large = self._threshold is not None and array.nbytes >= self._threshold
        if array.nbytes == 0 or (array.base is None and not large):
            return NotImplemented
        reduced = self._refer(array) if array.base is not None else None
        if reduced is None and large:
            from parallelcfg.transport.layout import has_raw_bytes

            reduced = self._store_array(array) if has_raw_bytes(array) else None
        if reduced is not None:
            return reduced
        np = sys.modules["numpy"]
        # What is mapped here is plain memory there, and shall say so.
        return np.asarray(array).__reduce_ex__(PROTOCOL) if type(array) is np.memmap else NotImplemented

    def _leave_in_pickle(self, buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if self._threshold is None or view.nbytes < max(self._threshold, 1):  # nothing can't be mapped
            return True
        stored = self._store_buffer(view)
        if stored is None:
            return True
        self._buffers.append(stored)
        return False
