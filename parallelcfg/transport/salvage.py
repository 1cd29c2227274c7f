"""What can be had of a list of results of which some can't be unpickled.

All results of a batch are one pickle, and unpickling ends at the first error. So after an error the pickle is
read once more, by the standard library's unpickler in Python: what can't be made is noted in its place, takes
what holds it with it, and leaves its neighbours alone. That is slow, and paid by nobody else.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["PartlyUnreadable", "Unreadable", "loads"]


class Unreadable(NamedTuple):
    """Stands in the place of what could not be unpickled.

    Parameters
    ----------
    error : Exception
        What was raised.
    """

    error: Exception


class PartlyUnreadable(Exception):
    """Some results of a list can't be unpickled.

    Parameters
    ----------
    values : list
        All of them, with an `Unreadable` in the place of each that can't be had.
    """

    def __init__(self, values: list[Any]) -> None:
        super().__init__(values)
        self.values = values


def loads(data: bytes | memoryview, buffers: Iterable[Any] | None = None) -> Any:
    """Unpickle a list of results.

    Parameters
    ----------
    data : bytes
        The pickle.
    buffers : iterable, optional
        Its out-of-band buffers.

    Raises
    ------
    PartlyUnreadable
        If some of them can't be had.

    Examples
    --------
    >>> loads(pickle.dumps([1, "two"]))
    [1, 'two']
    """
    try:
        return pickle.loads(data, buffers=buffers)
    except Exception:
        found = _Salvager(io.BytesIO(data), buffers=buffers).load()
        if type(found) is not list:
            raise
        if not any(type(value) is Unreadable for value in found):  # it went well this time
            return found
        raise PartlyUnreadable(found) from None


_Unpickler: Any = pickle._Unpickler  # noqa: SLF001 - the only one with seams


class _Salvager(_Unpickler):  # type: ignore[misc]  # see above
    """Puts an `Unreadable` on its stack where an instruction fails, or is given one."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_Unpickler.dispatch)
    memo: dict[int, Any]

    def _spoil(self, targets: list[Any], spoilt: Unreadable) -> None:
        """What is left unfinished shall not turn up in other results either."""
        for target in targets:
            for key in [key for key, value in self.memo.items() if value is target]:
                self.memo[key] = spoilt


def _takes(instruction: bytes, operands: int) -> None:
    """Guard an instruction that takes so many operands and leaves one object."""
    load: Callable[[Any], None] = _Salvager.dispatch[instruction[0]]

    def guarded(self: Any) -> None:
        depth = len(self.stack) - operands
        spoilt = _first(self.stack[depth:])
        if spoilt is None:
            try:
                load(self)
            except Exception as error:
                spoilt = Unreadable(error)
            else:
                return
        elif operands > 1 and depth == 0 and not self.metastack and type(self.stack[0]) is list:
            load(self)  # the list of results itself, which takes anything
            return
        self._spoil(self.stack[depth:][:1], spoilt)
        self.stack[depth:] = [spoilt]

    _Salvager.dispatch[instruction[0]] = guarded


def _takes_all(instruction: bytes, *, into: bool) -> None:
    """Guard an instruction that takes all since the last mark, and adds it to what lies below if ``into``."""
    load: Callable[[Any], None] = _Salvager.dispatch[instruction[0]]

    def guarded(self: Any) -> None:
        below = self.metastack[-1]
        results = into and len(self.metastack) == len(below) == 1 and type(below[0]) is list
        spoilt = None if results else _first([*below[-1:], *self.stack] if into else self.stack)
        if spoilt is None:
            try:
                load(self)
            except Exception as error:
                spoilt = Unreadable(error)
            else:
                return
            if self.metastack and self.metastack[-1] is below:  # it failed before it took them
                self.metastack.pop()
        else:
            self.metastack.pop()
        self._spoil(below[-1:] if into else [], spoilt)
        self.stack, self.append = below, below.append
        self.stack[len(below) - into :] = [spoilt]

    _Salvager.dispatch[instruction[0]] = guarded


def _first(operands: list[Any]) -> Unreadable | None:
    return next((operand for operand in operands if type(operand) is Unreadable), None)


for _instruction, _operands in {
    pickle.GLOBAL: 0,
    pickle.STACK_GLOBAL: 2,
    pickle.REDUCE: 2,
    pickle.BUILD: 2,
    pickle.NEWOBJ: 2,
    pickle.NEWOBJ_EX: 3,
    pickle.TUPLE1: 1,
    pickle.TUPLE2: 2,
    pickle.TUPLE3: 3,
    pickle.APPEND: 2,
    pickle.SETITEM: 3,
    pickle.NEXT_BUFFER: 0,
    pickle.READONLY_BUFFER: 1,
}.items():
    _takes(_instruction, _operands)
for _instruction in (pickle.TUPLE, pickle.LIST, pickle.DICT, pickle.FROZENSET):
    _takes_all(_instruction, into=False)
for _instruction in (pickle.APPENDS, pickle.SETITEMS, pickle.ADDITEMS):
    _takes_all(_instruction, into=True)
