"""A worker's side: batches from bytes, results to bytes. Standard library only; numpy comes with an array.

Large results go into files of the call's private folder. The parent maps and removes them.
"""

from __future__ import annotations

import errno
import os
import pickle
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from parallelcfg.transport import pickling
from parallelcfg.transport.files import SHARED, open_private, owner, save, sweep
from parallelcfg.transport.store import Envelope, FileStore, Stored, address, open_envelope, seal

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from parallelcfg.transport.layout import Array

__all__ = [
    "Ticket",
    "digest",
    "dumps",
    "expect",
    "explain_read_only",
    "holds",
    "let_go",
    "loads",
    "read",
    "remove_orphans",
    "watch",
]


class Ticket(NamedTuple):
    """What a worker needs to know about a call in order to send large results.

    Parameters
    ----------
    call : int
        Its number, in the parent.
    folders : tuple of str or None
        Private folders, in the order of preference; None: the parent makes them when it is asked.
    threshold : int or None
        Size in bytes of a large result; None: none is large.
    temp_folder : str or None
        Where the call may have folders, besides the places that its process has them in anyway.
    """

    call: int
    folders: tuple[str, ...] | None
    threshold: int | None
    temp_folder: str | None


_bases: set[str] = set()
_expected: Ticket | None = None
_ask: Callable[[], tuple[str, ...] | None] | None = None


def loads(data: bytes) -> Any:
    """Unpickle what the parent sent."""
    found = pickle.loads(data)
    return open_envelope(found) if type(found) is Envelope else found


def digest(data: bytes) -> bytes:
    """What `read` knows a pickle by."""
    from hashlib import sha256  # not at the top: few calls need it

    return sha256(data).digest()


def read(path: str, expected: bytes) -> Any:
    """Unpickle what the parent keeps in a file of the call's arena.

    A pickle can run code. So it is loaded from this process's own memory, and only if its digest is the one
    that came through the worker's pipe.

    Raises
    ------
    PermissionError
        If it is not, or if anybody else can have written the file.
    """
    with open(open_private(path, os.O_RDONLY), "rb") as file:
        data = file.read()
    if digest(data) != expected:
        raise PermissionError(errno.EPERM, "not what the caller wrote", path)
    return loads(data)


def dumps(obj: object, ticket: Ticket | None) -> bytes:
    """Pickle results for the parent.

    Parameters
    ----------
    obj : object
        What to send.
    ticket : Ticket or None
        What came with the call; None: everything goes into the pickle.

    Raises
    ------
    TaskNotPicklable
        If something can't be pickled. No file is left.
    """
    if ticket is None:
        return pickling.dumps(obj, name="result")
    store = _Results(ticket)
    try:
        return store.dumps(obj)
    except BaseException:
        store.discard()
        raise


def holds() -> bool:
    """Whether arguments are kept mapped for further batches."""
    mapping = sys.modules.get("parallelcfg.transport.mapping")  # without it nothing was mapped
    return mapping is not None and bool(mapping.holds())


def let_go() -> None:
    """Keep no argument mapped."""
    if holds():
        sys.modules["parallelcfg.transport.mapping"].let_go()


def explain_read_only(error: BaseException) -> str | None:
    """What to do about an exception that comes of writing into an argument; None if it does not."""
    mapping = sys.modules.get("parallelcfg.transport.mapping")
    return None if mapping is None else mapping.explain_read_only(error)


def expect(ticket: Ticket | None) -> None:
    """A batch of this call comes: keep in mind where the parent of this worker has folders, or may have."""
    global _expected  # noqa: PLW0603 - the batches of a call come with the same ticket
    if ticket is None or ticket == _expected:
        return
    new = _expected is None or ticket.call != _expected.call
    if new:
        let_go()  # the last call is over
    if new or ticket.folders is not None:  # else the parent's answer stays
        _expected = ticket
    watch(map(os.path.dirname, ticket.folders or ()))
    if ticket.temp_folder is not None:
        watch([ticket.temp_folder])


def watch(places: Iterable[str]) -> None:
    """Keep in mind that the parent of this worker may have folders in these places."""
    _bases.update(places)


def ask_with(ask: Callable[[], tuple[str, ...] | None]) -> None:
    """From now on the parent of this worker can be asked for folders."""
    global _ask  # noqa: PLW0603 - a process has one parent
    _ask = ask


def _folders_of(ticket: Ticket) -> tuple[str, ...]:
    """The folders of a call, for which the parent is asked once at the most."""
    if ticket.folders is not None:
        return ticket.folders
    known = _expected
    if known is None or known.call != ticket.call or known.folders is None:
        known = ticket._replace(folders=(_ask() if _ask is not None else None) or ())
        expect(known)
    return known.folders or ()


def remove_orphans() -> None:
    """Remove the folders of a parent that has died. For a worker that notices, before it exits."""
    for base in _bases:
        sweep(base)


class _Results(FileStore):
    """Writes each large array once per pickle, into a file for the parent alone."""

    def __init__(self, ticket: Ticket) -> None:
        super().__init__(ticket.threshold)
        self._ticket = ticket
        # What was stored, by identity or address, and the object itself: it keeps others from getting these.
        self._done: dict[Hashable, tuple[object, Any]] = {}
        self._paths: list[str] = []
        self._note = ""
        self._shared = 0

    def dumps(self, obj: object) -> bytes:
        data = pickling.dumps(obj, store=self, name="result")
        return seal(data, self._buffers, remove=True, shared=self._shared, note=self._note)

    def discard(self) -> None:
        for path in self._paths:
            with suppress(FileNotFoundError):  # the call is over, and its folder gone
                os.unlink(path)

    def _refer(self, array: Array) -> Any:
        from parallelcfg.transport.memmaps import backing

        mapped = backing(array)
        return super()._refer(array) if mapped is not None and _outlives_call(str(mapped.filename)) else None

    def _store_array(self, array: Array) -> Any:
        from parallelcfg.transport.layout import plan
        from parallelcfg.transport.mapping import result

        if id(array) in self._done:
            return self._done[id(array)][1]
        layout, chunks = plan(array, overlap=False)
        path = self._write(chunks, layout.nbytes)
        reduced = None if path is None else (result, (path, layout))
        self._done[id(array)] = array, reduced
        return reduced

    def _store_buffer(self, view: memoryview) -> Stored | None:
        place = address(view)
        key = None if place is None else (place, view.nbytes)
        if key in self._done:
            return cast("Stored | None", self._done[key][1])
        path = self._write(lambda: [view], view.nbytes)
        stored = None if path is None else Stored.at(path, view)
        if key is not None:
            self._done[key] = view, stored
        return stored

    def _write(self, chunks: Callable[[], Iterable[memoryview]], nbytes: int) -> str | None:
        note = ""
        for folder in _folders_of(self._ticket):
            try:
                path = save(folder, "result", chunks, nbytes)
            except OSError as exc:
                # Without its folder the call is over, and nobody waits for this result.
                note = "" if exc.errno == errno.ENOENT else str(exc)
            else:
                self._paths.append(path)
                self._shared += nbytes
                return path
        self._note = note
        return None


def _outlives_call(path: str) -> bool:
    """Whether a mapped file will still be there when the parent looks: the user's own, or a shared array.

    Files of the arena end with their call, and shared arrays that were born here with this process.
    """
    process = owner(path)
    return process is None or (process != os.getpid() and os.path.basename(path).startswith(SHARED))
