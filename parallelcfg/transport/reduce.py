"""The parent's side of one call: batches to bytes, results from bytes, large data in the call's arena."""

from __future__ import annotations

import itertools
import os
from collections import deque
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from parallelcfg.config.state import said_at
from parallelcfg.transport import pickling, salvage
from parallelcfg.transport.arena import Arena
from parallelcfg.transport.files import SUPPORTED
from parallelcfg.transport.layout import plan
from parallelcfg.transport.ledger import Ledger
from parallelcfg.transport.load import Ticket
from parallelcfg.transport.mapping import argument, born, remove_results
from parallelcfg.transport.store import Envelope, FileStore, Stored, address, lasts, open_envelope, seal

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from mmap import mmap
    from pickle import Pickler

    from parallelcfg.config.snapshot import Config
    from parallelcfg.transport.layout import Array

__all__ = ["Sharing"]

_numbers = itertools.count()


class Sharing(FileStore):
    """Shares the large data of one call between parent and workers.

    Arrays of ``max_nbytes`` or more become files that workers map in ``mmap_mode``. Each is written once,
    when it is first met; further tasks that get the same object get what it was then.

    Parameters
    ----------
    config : Config
        Its ``max_nbytes``, ``mmap_mode``, ``temp_folder`` and ``strict`` say how.
    """

    def __init__(self, config: Config) -> None:
        enabled = SUPPORTED and config.mmap_mode is not None
        super().__init__(config.max_nbytes if enabled else None)
        self._mode = "r+" if config.mmap_mode == "w+" else config.mmap_mode
        self._arena = Arena(
            config.temp_folder, strict=config.strict, said_at=partial(said_at, config, "temp_folder")
        )
        self._ledger = Ledger(written=self._mode == "r+")
        self._lock = Lock()  # held while dumping; nothing else waits for it
        self._released: deque[Hashable] = deque()
        self._user: Hashable = None
        self._count = 0
        self._kept: dict[str, mmap] = {}
        self._open_ticket = Ticket(next(_numbers), None, self._threshold, config.temp_folder)
        self._ticket: Ticket | None = None
        self._sent = self._received = 0
        self._sent_shared = self._received_shared = 0

    @property
    def bytes_pickled(self) -> int:
        """Bytes of all pickles so far, in both directions."""
        return self._sent + self._received

    @property
    def bytes_shared(self) -> int:
        """Bytes that went into files instead so far, in both directions."""
        return self._sent_shared + self._received_shared

    def bytes_of(self, user: Hashable) -> int:
        """Bytes of the files that a user needs."""
        return self._ledger.bytes_of(user)

    @property
    def ticket(self) -> Ticket:
        """What workers need to send large results: with the first look at it the call's folder is made."""
        if self._ticket is None:
            folders = self.folders()
            threshold = self._threshold if folders else None
            self._ticket = self._open_ticket._replace(folders=folders, threshold=threshold)
        return self._ticket

    @property
    def open_ticket(self) -> Ticket:
        """The same for workers that can ask for `folders`; the call may never need one."""
        return self.ticket if self._arena.begun else self._open_ticket

    def folders(self) -> tuple[str, ...]:
        """Where workers may put large results; none where nothing is shared, or nobody waits any more."""
        return () if self._threshold is None else self._arena.folders()

    def dumps(
        self,
        obj: object,
        *,
        user: Hashable = None,
        name: str | None = "object",
        met: list[Pickler] | None = None,
    ) -> bytes:
        """Pickle something for workers.

        Parameters
        ----------
        obj : object
            What to send.
        user : hashable
            Whose files these are: they may go with `release`. None's stay until `close`.
        name : str or None
            What messages call ``obj``; None: don't look for the part that can't be pickled.
        met : list, optional
            Gets the pickler, see `pickling.dumps`.

        Raises
        ------
        TaskNotPicklable
            If something can't be pickled.
        """
        with self._lock:
            self._tidy()
            self._user = user
            self._count += 1
            data = pickling.dumps(obj, store=self, name=name, met=met)
            data = seal(data, self._buffers, remove=False)
        self._sent += len(data)
        self._arena.warn()
        return data

    def keep(self, data: bytes, user: Hashable) -> str | None:
        """Put a pickle into a file of this user's; None where there is no room or no sharing."""
        if self._threshold is None:
            return None
        with self._lock:
            path = self._arena.save("common", lambda: [memoryview(data)], len(data))
            if path is not None:
                self._ledger.use(self._ledger.add(path, path, path, None, weak=False), user)
        return path

    def loads(self, data: bytes) -> Any:
        """Unpickle what `load.dumps` made in a worker. Only once: the files of large results are removed."""
        self._received += len(data)
        try:
            found = salvage.loads(data)
            if type(found) is not Envelope:
                return found
            return self._opened(found)
        finally:
            remove_results()

    def _opened(self, found: Envelope) -> Any:
        self._received_shared += found.shared
        if found.note:
            self._arena.warn(f"a large result was pickled: {found.note}")
        return open_envelope(found, salvage.loads)

    def release(self, user: Hashable) -> None:
        """Say that a batch has been run, or never will be: its files may go."""
        self._released.append(user)
        if self._lock.acquire(blocking=False):  # else whoever dumps now will tidy up next time
            try:
                self._tidy()
            finally:
                self._lock.release()

    def close(self) -> None:
        """Remove every file of the call. Idempotent."""
        self._arena.close()
        self._kept.clear()
        self._ledger = Ledger()  # lets go of what the entries hold

    def _tidy(self) -> None:
        while self._released:
            self._ledger.release(self._released.popleft())
        for path in self._ledger.obsolete():
            with suppress(FileNotFoundError):  # the whole folder is gone
                os.unlink(path)

    def _reduce(self, array: Array) -> Any:
        entry = self._ledger.find(id(array), array)
        if entry is None:
            return super()._reduce(array)
        self._ledger.use(entry, self._user)
        return entry.value

    def _refer(self, array: Array) -> Any:
        reduced = super()._refer(array)
        if reduced is None:
            return None
        path = reduced[1].path
        if path in born:  # a result may refer to it until the call ends
            self._kept[path] = born[path]
        return self._enter(id(array), reduced, None, array, weak=False)

    def _store_array(self, array: Array) -> Any:
        layout, chunks = plan(array, overlap=True)
        path = self._write(chunks, layout.nbytes)
        if path is None:
            return None
        reduced = argument, (path, layout, self._mode, array.flags.writeable)
        return self._enter(id(array), reduced, path, array, layout.nbytes, weak=True)

    def _store_buffer(self, view: memoryview) -> Stored | None:
        place = address(view)
        # While the entry holds a buffer, no other one can be at its address.
        key = object() if place is None else (place, view.nbytes, None if lasts(view) else self._count)
        entry = self._ledger.find(key, view)
        if entry is not None:
            self._ledger.use(entry, self._user)
            return cast("Stored", entry.value)
        path = self._write(lambda: [view], view.nbytes)
        if path is None:
            return None
        return cast("Stored", self._enter(key, Stored.at(path, view), path, view, view.nbytes, weak=False))

    def _write(self, chunks: Callable[[], Iterable[memoryview]], nbytes: int) -> str | None:
        path = self._arena.save("argument", chunks, nbytes)
        if path is not None:
            self._sent_shared += nbytes
        return path

    def _enter(
        self, key: Hashable, value: Any, path: str | None, obj: object, nbytes: int = 0, *, weak: bool
    ) -> Any:
        self._ledger.use(self._ledger.add(key, value, path, obj, nbytes, weak=weak), self._user)
        return value
