"""Which stored file is still needed, by which batches. Pure bookkeeping: no files, no locks.

A file outlives the batches that use it as long as its array is alive in the parent: further tasks may get
the same array. But most arrays are passed to one task only, and pages that are used again cost a fraction of
fresh ones. So of the files that one batch has used, and none uses now, only some megabytes stay; an array
that comes again after that is written a second time, and then stays. Where tasks may write into the files,
all of them stay: the array itself does not have what was written.

Where nothing can be said about an object's life (buffers, views of mapped files), the entry holds the object
itself, and lives as long as batches use it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

__all__ = ["Entry", "Ledger"]

#: Bytes of files that wait for their array to come again.
_WAITING = 1 << 27


@dataclass(eq=False, slots=True)
class Entry:
    """Something stored.

    Parameters
    ----------
    key : hashable
        What it is found by.
    value : object
        What stands in the pickle for it.
    path : str or None
        Its file, to be removed with the entry.
    holds : object
        The object that was stored, or a weak reference to it.
    nbytes : int
        Size of the file.
    users : set
        The batches that use it.
    again : bool
        Whether its file stays as long as its object lives: more than one batch has used it, or it was once
        sent away, or may be written into.
    """

    key: Hashable
    value: Any
    path: str | None
    holds: Any
    nbytes: int = 0
    users: set[Hashable] = field(default_factory=set)
    again: bool = False
    _used: bool = False

    def use(self, user: Hashable) -> bool:
        """Note that a batch uses it; whether that is news."""
        if user in self.users:
            return False
        self.users.add(user)
        self.again, self._used = self.again or self._used, True
        return True

    @property
    def lives(self) -> bool:
        """Whether the object may come again although no batch uses it now."""
        return isinstance(self.holds, ref) and self.holds() is not None


class Ledger:
    """The entries of one call.

    Parameters
    ----------
    written : bool
        Whether tasks may write into the files.
    """

    def __init__(self, *, written: bool = False) -> None:
        self._written = written
        self._entries: dict[Hashable, Entry] = {}
        self._of_user: dict[Hashable, list[Entry]] = {}
        self._died: deque[Entry] = deque()
        self._waiting: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._sent_away: dict[Hashable, ref[Any]] = {}

    def find(self, key: Hashable, obj: object) -> Entry | None:
        """The entry of an object, if it has one; a key may have been another object's before."""
        entry = self._entries.get(key)
        if entry is None or (isinstance(entry.holds, ref) and entry.holds() is not obj):
            return None
        return entry

    def add(
        self, key: Hashable, value: Any, path: str | None, obj: object, nbytes: int = 0, *, weak: bool
    ) -> Entry:
        """Enter an object; weakly where its own life says how long the file is needed."""
        entry = Entry(key, value, path, obj, nbytes)
        before = self._sent_away.pop(key, None)
        entry.again = self._written or (before is not None and before() is obj)
        if weak:
            died = self._died  # not self: a cycle would keep what other entries hold
            # The callback may come in the middle of anything, so that it only takes a note.
            entry.holds = ref(obj, lambda _: died.append(entry))
        self._entries[key] = entry
        return entry

    def use(self, entry: Entry, user: Hashable) -> None:
        """Note that a batch uses an entry."""
        if entry.use(user):
            self._of_user.setdefault(user, []).append(entry)

    def bytes_of(self, user: Hashable) -> int:
        """Bytes of the files that a batch uses."""
        return sum(entry.nbytes for entry in self._of_user.get(user, ()))

    def release(self, user: Hashable) -> None:
        """Note that a batch is done with everything."""
        for entry in self._of_user.pop(user, ()):
            entry.users.discard(user)
            self._died.append(entry)

    def obsolete(self) -> Iterator[str]:
        """The files that nobody needs any more; each is named once."""
        while self._died:
            entry = self._died.popleft()
            if entry.users:
                continue
            if entry.lives:
                if not entry.again and entry.path is not None:
                    self._waiting.append(entry)
                    self._waiting_bytes += entry.nbytes
            else:
                yield from self._dropped(entry)
        while self._waiting_bytes > _WAITING:
            entry = self._waiting.popleft()
            self._waiting_bytes -= entry.nbytes
            if not entry.users and not entry.again and entry.path is not None:
                self._sent_away[entry.key] = entry.holds
                yield from self._dropped(entry)

    def _dropped(self, entry: Entry) -> Iterator[str]:
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
        if entry.path is not None:
            yield entry.path
            entry.path = None
