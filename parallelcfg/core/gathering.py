"""From what `delayed` makes to batches.

The tuples are taken apart as they come, or a few hundred at a time, and die young: keeping many of them would
cost more in the garbage collector than all else.
"""

from __future__ import annotations

from itertools import islice, repeat
from operator import is_
from sys import maxsize
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from parallelcfg.core.messages import refuse
from parallelcfg.core.tasks import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["all_the_same", "columns", "take"]

#: Tasks in hand at a time, of three objects each: few enough for the collector's youngest generation.
_SLICE = 200
#: Tasks of one function, which die at once, are taken at the most before anybody looks how long it takes.
_GLANCE = 512
_NOTHING: Any = object()


def take(
    source: Iterator[Any], size: int, first_index: int, enough: Callable[[], bool] | None = None
) -> tuple[Batch | None, bool]:
    """Pull a batch out of the user's iterator.

    Parameters
    ----------
    source : iterator
        Gives what `delayed` made.
    size : int
        How many tasks to take, at the most.
    first_index : int
        Position of the next task in the user's iterable.
    enough : callable, optional
        Whether to stop before there are as many, because the source is slow.

    Returns
    -------
    Batch or None
        None where there was no task left.
    bool
        Whether the iterator has come to its end.

    Raises
    ------
    TypeError
        If an item is no task. The message names the item's position and type.
    BaseException
        Whatever the iterator raises.
    """
    size = min(size, maxsize)  # which is more than there ever are, and the most that `islice` takes
    gathered = _Gathered(first_index)
    alike, exhausted = True, False
    portion = size if enough is None else 1  # few at first: the source may be slow
    while gathered.count < size and not exhausted:
        before = gathered.count
        wanted = min(portion, size - before)
        tasks = islice(source, wanted)
        odd = gathered.add_alike(tasks) if alike else ()
        if odd or not alike:
            alike, taken = False, gathered.count - before
            wanted = min(wanted, taken + _SLICE)
            others = [*odd, *islice(tasks, wanted - taken - len(odd))]
            if others:
                gathered.add(others)
        exhausted = gathered.count < before + wanted
        if enough is not None and enough():
            break
        portion = min(2 * portion, _GLANCE if alike else _SLICE)
    return gathered.batch() if gathered.count else None, exhausted


def columns(first_index: int, tasks: list[Any]) -> Batch:
    """Turn a list of (function, args, kwargs) tuples, at least one, into a batch.

    Examples
    --------
    >>> batch = columns(0, [(abs, (-1,), {}), (abs, (-2,), {})])
    >>> len(batch), batch.functions, batch.arguments, batch.kwargs
    (2, [<built-in function abs>], [[-1, -2]], [])
    """
    gathered = _Gathered(first_index)
    gathered.add(tasks)
    return gathered.batch()


class _Gathered:
    """Columns that grow by one slice of tasks after another; uniform as long as the tasks are."""

    def __init__(self, first_index: int) -> None:
        self._first = first_index
        self.count = 0
        self._functions: list[Callable[..., Any]] = []
        self._arguments: list[Any] = []
        self._kwargs: list[dict[str, Any]] = []
        self._ragged = False

    def batch(self) -> Batch:
        indices = range(self._first, self._first + self.count)
        return Batch(indices, self._functions, self._arguments, self._kwargs, self._ragged)

    def add_alike(self, tasks: Iterator[Any]) -> tuple[Any, ...]:
        """Add tasks of one function with one argument each, as most are, in little time.

        Returns
        -------
        tuple
            Empty, or as the only item the first task that is not like that: it was taken, and not added.
        """
        task = _NOTHING
        first = self._functions[0] if self.count else _NOTHING
        column: list[Any] = self._arguments[0] if self.count else []
        append = column.append
        try:
            for task in tasks:
                function, args, kwargs = task
                if function is not first or kwargs or args.__class__ is not tuple:
                    if column or kwargs or type(args) is not tuple or not callable(function):
                        break
                    first = function
                (value,) = args
                append(value)
                task = _NOTHING  # noqa: PLW2901 - it is in the column now
        except (TypeError, ValueError):
            if task is _NOTHING:
                raise  # the iterator did
        if column:
            self._functions, self._arguments, self.count = [first], [column], len(column)
        return () if task is _NOTHING else (task,)

    def add(self, tasks: list[Any]) -> None:
        """Add any tasks, at least one."""
        try:
            functions, args, kwargs = zip(*tasks, strict=True)
        except (TypeError, ValueError):
            refuse(self._first + self.count, tasks)
            raise  # every item unpacks by itself, so the fault is not the caller's
        if not _all_of(tuple, args) or (any(kwargs) and not _all_of(dict, kwargs)):
            refuse(self._first + self.count, tasks)
        self._add_functions(functions, tasks)
        self._add_arguments(args)
        if self._kwargs or any(kwargs):
            self._kwargs += [{}] * (self.count - len(self._kwargs))
            self._kwargs += kwargs
        self.count += len(tasks)

    def _add_functions(self, functions: tuple[Any, ...], tasks: list[Any]) -> None:
        first = self._functions[0] if self._functions else functions[0]
        alike = functions[0] is first and all_the_same(functions)
        if not all(map(callable, functions[:1] if alike else functions)):
            refuse(self._first + self.count, tasks)
        if alike and len(self._functions) <= 1:
            self._functions = [first]
            return
        if len(self._functions) == 1:
            self._functions *= max(1, self.count)
        self._functions += functions

    def _add_arguments(self, args: tuple[tuple[Any, ...], ...]) -> None:
        columns = None if self._ragged else _columns(args)
        if self.count and not self._ragged and (columns is None or len(columns) != len(self._arguments)):
            self._arguments = list(zip(*self._arguments, strict=True)) or [()] * self.count
            columns = None
        if columns is None:
            self._ragged = True
            self._arguments += args
        elif self.count:
            for column, more in zip(self._arguments, columns, strict=True):
                column.extend(more)
        else:
            self._arguments = columns


# These see every task: what takes 10 ns here is 1 % of the time that a short task takes in all.


def _all_of(kind: type, items: Sequence[Any]) -> bool:
    return list(map(type, items)).count(kind) == len(items)


def all_the_same(items: Sequence[Any]) -> bool:
    """Whether all items are one object, or objects that can't be told apart. There is at least one."""
    first = items[0]
    if type(first) in _EQUAL_ONLY_TO_THEMSELVES:
        return items.count(first) == len(items)
    return all(map(is_, items, repeat(first)))


#: A method is made anew whenever somebody looks at it, and equals those of the same object and function.
_EQUAL_ONLY_TO_THEMSELVES = frozenset({FunctionType, BuiltinFunctionType, MethodType, type})


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]] | None:
    """Rows turned into columns; None where they differ in length."""
    try:
        if len(rows[0]) == 1:
            return [[value for (value,) in rows]]
        return [list(column) for column in zip(*rows, strict=True)]
    except ValueError:
        return None
