"""What tasks have in common is pickled once for a call, not once for each of its batches.

A closure, a model or a data frame that comes with every task is recognised by its identity. It is pickled
when it is first met and travels as that pickle from then on, a large one in a file of the call's arena. So
tasks get what it was then, as they do of a large array, and each batch gets a copy of its own. Small data are
pickled with their batch: looking them up would save nothing. So is what shares objects with the rest of its
batch, since a pickle of its own would have copies of them: see `overlap`.

Some tasks may have one thing in common, and the next ones another. So only some of what no batch uses is
kept; what was used last goes last, and is pickled anew should it come again.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from itertools import chain, combinations
from pickle import Pickler
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from parallelcfg.core.gathering import all_the_same
from parallelcfg.core.tasks import Batch
from parallelcfg.transport import load
from parallelcfg.transport.overlap import Held
from parallelcfg.transport.pickling import needs_value

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from parallelcfg.transport.reduce import Sharing

__all__ = ["Common"]

#: Bytes of a pickle from which on an argument is worth a file.
_LARGE = 1 << 16
#: What is pickled by name is shorter; functions that travel by value are slow to pickle at any size.
_NAME = 256
#: Of so many objects, and bytes, it is known what they are. They are kept alive, so there are limits.
_KEPT, _KEPT_BYTES = 64, 1 << 27
_ATOMS = frozenset({int, float, complex, bool, type(None), range})


class _Pickled:
    """Stands for an object in a batch: loaded, it is the object."""

    def __init__(self, data: bytes, path: str | None) -> None:
        inline = path is None
        self._reduced = (load.loads, (data,)) if inline else (load.read, (path, load.digest(data)))

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._reduced


#: What holds no objects that others may hold.
_PLAIN = _ATOMS | {str, bytes, _Pickled}


@dataclass(eq=False, slots=True)
class _Known:
    """An object that tasks have in common.

    Parameters
    ----------
    value : object
        The object, kept alive.
    held : Held
        What it holds.
    pickled : _Pickled or None
        What stands for it; None: it is pickled with its batches.
    name : object
        Whose its files are, for `Sharing.release`.
    nbytes : int
        Of its pickle, and of the arrays that it refers to.
    users : set
        The batches that are out with it.
    """

    value: object
    held: Held
    pickled: _Pickled | None
    name: object
    nbytes: int
    users: set[Hashable] = field(default_factory=set)


class Common:
    """Finds what the tasks of one call have in common.

    Parameters
    ----------
    sharing : Sharing
        Pickles it, and keeps what is large until the call ends.
    """

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self._known: dict[Hashable, _Known] = {}
        self._last: dict[Hashable, object] = {}
        self._apart: set[tuple[_Known, ...]] = set()
        self._out: dict[Hashable, list[_Known]] = {}

    def dumps(self, batch: Batch, user: Hashable) -> bytes:
        """Pickle a batch, with what is common to its tasks, or to others before, as pickles of their own.

        Parameters
        ----------
        batch : Batch
            The batch.
        user : hashable
            Its number.

        Raises
        ------
        TaskNotPicklable
            If something can't be pickled.
        """
        used: list[_Known] = []
        folded = self._folded(batch, used)
        met: list[Pickler] | None = [] if used and not _is_plain(folded) else None
        if not self._overlap_each_other(used):
            data = self._sharing.dumps(folded.parts, user=user, name=None, met=met)
            if not met or not _overlap(used, *met):
                self._use(used, user)
                return data
        return self.dumps(batch, user)  # what overlaps has no pickle of its own any more

    def release(self, user: Hashable) -> None:
        """Say that a batch has ended, from any thread."""
        for each in self._out.pop(user, ()):
            each.users.discard(user)

    def forget(self) -> None:
        """Keep nothing alive any more; what was kept in files goes with the call's folder."""
        self._known, self._last, self._apart = {}, {}, set()

    def _use(self, used: list[_Known], user: Hashable) -> None:
        if used:
            self._out[user] = used
        for each in used:
            each.users.add(user)

    def _folded(self, batch: Batch, used: list[_Known]) -> Batch:
        """The batch with pickles in the place of what tasks have in common, which is added to ``used``."""
        functions, arguments, kwargs = batch.functions, batch.arguments, batch.kwargs
        if len(functions) == 1:
            functions = self._column("function", functions, _NAME, used)
        if not batch.ragged:
            arguments = [self._column(place, column, _LARGE, used) for place, column in enumerate(arguments)]
        if kwargs:
            kwargs = self._named(kwargs, used)
        return Batch(batch.indices, functions, arguments, kwargs, batch.ragged, batch.attempt)

    def _named(self, kwargs: Sequence[dict[str, Any]], used: list[_Known]) -> Sequence[dict[str, Any]]:
        names = list(kwargs[0])
        if any(list(each) != names for each in kwargs):
            return kwargs
        columns = [self._column(name, [each[name] for each in kwargs], _LARGE, used) for name in names]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)] or kwargs

    def _column(
        self, place: Hashable, column: Sequence[Any], least: int, used: list[_Known]
    ) -> Sequence[Any]:
        """One argument of each task; the same object's pickle, where it is one object and worth it."""
        value = column[0]
        if not _may_be_large(value) or not all_the_same(column):
            return column
        key = _key(value)
        known = self._known.pop(key, None)  # it is the last one from now on
        if known is None:
            before = self._last.get(place, self)  # not None, which may be the value
            news = before is not self and _key(before) != key and len(column) == 1
            self._last[place] = value
            if news or not self._make_room(used):  # each task has its own, so far
                return column
            known = self._pickled(value, least)
        self._known[key] = known
        if known.pickled is None:
            return column
        if known not in used:
            used.append(known)
        return [known.pickled] * len(column)

    def _make_room(self, used: list[_Known]) -> bool:
        """Let go of the oldest that no batch uses; whether there is room for one more now."""
        idle = iter([item for item in self._known.items() if not item[1].users and item[1] not in used])
        while not (room := self._has_room()) and (item := next(idle, None)) is not None:
            key, known = item
            self._known.pop(key, None)  # the stream may be closed meanwhile
            self._sharing.release(known.name)
            self._apart = {pair for pair in self._apart if known not in pair}
        return room

    def _has_room(self) -> bool:
        return len(self._known) < _KEPT and sum(each.nbytes for each in self._known.values()) <= _KEPT_BYTES

    def _pickled(self, value: object, least: int) -> _Known:
        """What is known of an object from now on."""
        name, met = object(), list[Pickler]()
        data = self._sharing.dumps(value, user=name, name=None, met=met)
        shared = self._sharing.bytes_of(name)
        pickled = None
        if len(data) >= least or shared:
            pickled = _Pickled(data, self._sharing.keep(data, user=name) if len(data) >= _LARGE else None)
        return _Known(value, Held(value, *met), pickled, name, len(data) + shared)

    def _overlap_each_other(self, used: list[_Known]) -> bool:
        """Whether two of them share objects; then neither has a pickle of its own any more."""
        for pair in combinations(used, 2):
            one, other = pair
            if pair in self._apart or one.held.objects.keys().isdisjoint(other.held.objects):
                self._apart.add(pair)
            else:
                one.pickled = other.pickled = None
        return any(each.pickled is None for each in used)


def _overlap(used: Iterable[_Known], pickler: Pickler) -> bool:
    """Whether some share objects with what was pickled; then they have no pickle of their own any more."""
    collects = gc.isenabled()
    gc.disable()  # among so many new tuples it would look for garbage again and again
    try:
        met = pickler.memo.copy().keys()
    finally:
        if collects:
            gc.enable()
    for each in used:
        if not each.held.objects.keys().isdisjoint(met):
            each.pickled = None
    return any(each.pickled is None for each in used)


def _key(value: object) -> Hashable:
    """What an object is recognised by: a method is another object whenever somebody looks at it."""
    return value if isinstance(value, (MethodType, BuiltinFunctionType)) else id(value)


def _may_be_large(value: object) -> bool:
    kind = type(value)
    if kind in _ATOMS or kind.__module__ == "numpy":  # arrays have their own way
        return False
    if kind is FunctionType and not needs_value(value):  # it travels as its name
        return False
    return not isinstance(value, (str, bytes, bytearray)) or len(value) >= _LARGE


def _is_plain(batch: Batch) -> bool:
    """Whether a batch holds nothing but pickles, text and numbers."""
    functions = all(type(each) in _PLAIN or not _may_be_large(each) for each in batch.functions)
    rest = chain(batch.arguments, (each.values() for each in batch.kwargs))
    return functions and all(_PLAIN.issuperset(map(type, values)) for values in rest)
