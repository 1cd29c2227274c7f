"""What tasks have in common is pickled once for a call, not once for each of its batches.

A closure, a model or a data frame that comes with every task is recognised by its identity. It is pickled
when it is first met and travels as that pickle from then on, a large one in a file of the call's arena. So
tasks get what it was then, as they do of a large array, and each batch gets a copy of its own. Small data are
pickled with their batch: looking them up would save nothing.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

from parallelcfg.core.gathering import all_the_same
from parallelcfg.core.tasks import Batch
from parallelcfg.transport import load
from parallelcfg.transport.pickling import needs_value

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from parallelcfg.transport.reduce import Sharing

__all__ = ["Common"]

#: Bytes of a pickle from which on an argument is worth a file.
_LARGE = 1 << 16
#: What is pickled by name is shorter; functions that travel by value are slow to pickle at any size.
_NAME = 256
#: Of so many objects it is known whether they are large. They are kept alive, so there is a limit.
_KEPT = 64
_ATOMS = frozenset({int, float, complex, bool, type(None), range})


class _Pickled:
    """Stands for an object in a batch: loaded, it is the object."""

    def __init__(self, data: bytes, path: str | None) -> None:
        inline = path is None
        self._reduced = (load.loads, (data,)) if inline else (load.read, (path, load.digest(data)))

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._reduced


class Common:
    """Finds what the tasks of one call have in common.

    Parameters
    ----------
    sharing : Sharing
        Pickles it, and keeps what is large until the call ends.
    """

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self._known: dict[int, tuple[object, _Pickled | None]] = {}
        self._last: dict[Hashable, object] = {}

    def folded(self, batch: Batch) -> Batch:
        """The batch with what is common to its tasks, or to others before, as a pickle.

        Raises
        ------
        TaskNotPicklable
            If something can't be pickled.
        """
        functions, arguments, kwargs = batch.functions, batch.arguments, batch.kwargs
        if len(functions) == 1:
            functions = self._column("function", functions, _NAME)
        if not batch.ragged:
            arguments = [self._column(place, column, _LARGE) for place, column in enumerate(arguments)]
        if kwargs:
            kwargs = self._named(kwargs)
        return Batch(batch.indices, functions, arguments, kwargs, batch.ragged, batch.attempt)

    def _named(self, kwargs: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        names = list(kwargs[0])
        if any(list(each) != names for each in kwargs):
            return kwargs
        columns = [self._column(name, [each[name] for each in kwargs], _LARGE) for name in names]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)] or kwargs

    def _column(self, place: Hashable, column: Sequence[Any], least: int) -> Sequence[Any]:
        """One argument of each task; the same object's pickle, where it is one object and worth it."""
        value = column[0]
        if not _may_be_large(value) or not all_the_same(column):
            return column
        if id(value) not in self._known:
            seen = place in self._last and self._last[place] is value
            news = place in self._last and not seen and len(column) == 1
            self._last[place] = value
            if news or len(self._known) >= _KEPT:  # each task has its own, so far
                return column
            self._known[id(value)] = value, self._pickled(value, least)
        pickled = self._known[id(value)][1]
        return column if pickled is None else [pickled] * len(column)

    def _pickled(self, value: object, least: int) -> _Pickled | None:
        before = self._sharing.bytes_shared
        data = self._sharing.dumps(value, name=None)
        if len(data) < least and self._sharing.bytes_shared == before:
            return None
        return _Pickled(data, self._sharing.keep(data) if len(data) >= _LARGE else None)


def _may_be_large(value: object) -> bool:
    kind = type(value)
    if kind in _ATOMS or kind.__module__ == "numpy":  # arrays have their own way
        return False
    if kind is FunctionType and not needs_value(value):  # it travels as its name
        return False
    return not isinstance(value, (str, bytes, bytearray)) or len(value) >= _LARGE
