"""Large data of a call in a cluster's own store: they cross once, whatever the number of tasks.

::

      parent                                      cluster                     worker
      ──────                                      ───────                     ──────
      array ─── put ──▶ handle ──────────▶  fetched where needed  ──▶ content ─┐
      batch ─ pickle ─▶ bytes, marked where the array was  ───────▶   bytes ───┴──▶ batch

A mark is an out-of-band buffer of the pickle (:pep:`574`); the worker gives the unpickler the contents in
their place. Handles live as long as somebody may need them: while their array is alive and the call goes on,
and with every batch that is out. What a batch needed that was lost is stored anew, should it be sent again:
the store of a host may have gone with it.
"""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from parallelcfg.errors import ConfigError
from parallelcfg.transport import pickling, salvage
from parallelcfg.transport.parcels import Bundle, Parcel, raw, same
from parallelcfg.transport.pickling import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from parallelcfg.config.snapshot import Config
    from parallelcfg.core.tasks import Batch
    from parallelcfg.transport.layout import Array
    from parallelcfg.transport.parcels import Use
    from parallelcfg.transport.pickling import BufferCallback, Reducers

__all__ = ["Apart"]


class Apart:
    """Packs the batches of one call for a cluster, unpacks its results.

    Arrays of ``max_nbytes`` or more are stored when they are first met, and reach further tasks as they were
    then, as long as the same object is passed. Tasks see them read-only, or with ``mmap_mode`` "c" or None as
    copies that only tasks of the same batch share.

    Parameters
    ----------
    config : Config
        Its ``max_nbytes`` and ``mmap_mode`` say how.
    put : callable
        Stores a value and returns its handle.
    chosen : sequence of object
        What is stored whatever its size, where it is an argument of a task.

    Attributes
    ----------
    bytes_pickled : int
        Bytes that went into pickles so far, in both directions.
    bytes_shared : int
        Bytes of arrays and buffers that travelled beside them.

    Raises
    ------
    ConfigError
        If ``mmap_mode`` lets tasks write into the caller's arrays.
    """

    def __init__(self, config: Config, put: Callable[[object], Any], chosen: Sequence[object] = ()) -> None:
        if config.mmap_mode in {"r+", "w+"}:
            raise ConfigError(
                f"mmap_mode={config.mmap_mode!r} lets tasks write into the caller's arrays, and hosts of a "
                "cluster share no memory; use 'r', or 'c' for copies of the tasks' own"
            )
        self._threshold = config.max_nbytes
        self._use: Use = "read-only" if config.mmap_mode == "r" else "copy"
        self._put = put
        self._chosen = {id(obj): obj for obj in chosen}
        self._entries: dict[int, tuple[Callable[[], object], pickle.PickleBuffer]] = {}
        self._stored: WeakKeyDictionary[pickle.PickleBuffer, tuple[Any, Use]] = WeakKeyDictionary()
        self._taken: list[tuple[Any, Use]] = []
        self._marks: list[pickle.PickleBuffer] = []
        self._marks_of: dict[Hashable, list[pickle.PickleBuffer]] = {}
        self.bytes_pickled = 0
        self.bytes_shared = 0

    def folded(self, batch: Batch) -> Batch:
        """The batch with marks in the place of arguments that the user has chosen to send once."""
        return batch.mapped(self._swap) if self._chosen else batch

    def dumps(
        self,
        obj: object,
        *,
        user: Hashable = None,
        name: str | None = "object",
    ) -> tuple[Parcel, tuple[Any, ...]]:
        """Pickle a batch for workers, or a part of one; see `reduce.Sharing.dumps`.

        Returns
        -------
        Parcel
            The pickle.
        tuple
            Handles of the contents that it needs.

        Raises
        ------
        TaskNotPicklable
            If something can't be pickled.
        """
        data = pickling.dumps(obj, store=self, name=name)
        self.bytes_pickled += len(data)
        taken, self._taken = self._taken, []
        marks, self._marks = self._marks, []
        if user is not None and marks:
            self._marks_of[user] = marks
        return Parcel(data, tuple(use for _, use in taken)), tuple(handle for handle, _ in taken)

    def loads(self, values: bytes | Bundle) -> Any:
        """Unpickle what `dumps` of this module made in a worker; arrays are writable and own their memory."""
        if isinstance(values, bytes):
            self.bytes_pickled += len(values)
            return salvage.loads(values)
        self.bytes_pickled += len(values.data)
        self.bytes_shared += sum(memoryview(buffer).nbytes for buffer in values.buffers)
        return salvage.loads(values.data, [bytearray(buffer) for buffer in values.buffers])

    def forget(self, user: Hashable) -> None:
        """Store anew what this batch needed, when it is met again."""
        lost = self._marks_of.get(user, ())
        for key, (_, mark) in list(self._entries.items()):
            if mark in lost:
                self._entries.pop(key, None)

    def release(self, user: Hashable) -> None:
        """The batch has ended. The cluster's own references decide how long its data stay."""
        self._marks_of.pop(user, None)

    def close(self) -> None:
        """Let go of everything stored. Idempotent."""
        self._entries.clear()

    def begin(self) -> tuple[Reducers, BufferCallback | None]:
        """The reducers and the callback for one pickle: see `pickling.Store`."""
        self._taken, self._marks = [], []
        if "numpy" not in sys.modules:
            return {}, self._keep_in_pickle
        import numpy as np  # waits, where another thread is in the middle of importing it

        return {np.ndarray: self._reduce, np.memmap: self._reduce}, self._keep_in_pickle

    def _reduce(self, array: Array) -> Any:
        if self._threshold is not None and array.nbytes >= self._threshold:
            from parallelcfg.transport.layout import has_raw_bytes

            if has_raw_bytes(array):
                return same, (self._mark(array, self._use),)
        np = sys.modules["numpy"]
        # What is mapped here is plain memory there, and shall say so.
        return np.asarray(array).__reduce_ex__(PROTOCOL) if type(array) is np.memmap else NotImplemented

    def _mark(self, obj: Any, use: Use) -> pickle.PickleBuffer:
        """What stands in the pickle for an object: stored now, unless it was before."""
        key = id(obj)
        entry = self._entries.get(key)
        if entry is not None and entry[0]() is obj:
            return entry[1]
        mark = pickle.PickleBuffer(bytearray(1))
        memmap = sys.modules["numpy"].memmap if "numpy" in sys.modules else None
        value = obj.view(sys.modules["numpy"].ndarray) if type(obj) is memmap else obj
        self._stored[mark] = self._put(value), use
        self.bytes_shared += getattr(obj, "nbytes", 0)
        alive: Callable[[], object] = (
            (lambda: obj) if key in self._chosen else ref(obj, lambda _: self._entries.pop(key, None))
        )
        self._entries[key] = alive, mark
        return mark

    def _keep_in_pickle(self, buffer: pickle.PickleBuffer) -> bool:
        stored = self._stored.get(buffer)
        if stored is None:
            view = raw(buffer)
            if view is None or self._threshold is None or view.nbytes < self._threshold:
                return True
            stored = self._store(view)
        else:
            self._marks.append(buffer)
        self._taken.append(stored)
        return False

    def _store(self, view: memoryview) -> tuple[Any, Use]:
        self.bytes_shared += view.nbytes
        return self._put(bytes(view)), "as it is" if view.readonly else "copy"

    def _swap(self, arg: object) -> object:
        return _Chosen(self._mark(arg, "as it is")) if self._chosen.get(id(arg), _Chosen) is arg else arg


class _Chosen:
    """Stands for an argument of any type; what is unpickled is the argument."""

    def __init__(self, mark: pickle.PickleBuffer) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return same, (self._mark,)
