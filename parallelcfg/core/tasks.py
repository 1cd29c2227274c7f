"""Tasks in columns: a batch keeps functions, each positional argument, and keyword arguments apart.

Most loops call one function many times with equally many arguments. So a batch stores (and later pickles) the
function once, the arguments as one column for each position, and keyword arguments not at all where there are
none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from parallelcfg.core.messages import call_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Batch", "Call"]

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Batch:
    """Tasks that travel together.

    Parameters
    ----------
    indices : range or tuple of int
        Positions of the tasks in the user's iterable.
    functions : sequence of callable
        One for each task, or a single one that all of them share.
    arguments : sequence of sequence
        The columns: for each position, one argument of each task. Where tasks have different numbers of
        arguments, the rows: a tuple for each task.
    kwargs : sequence of dict
        Keyword arguments, one dict for each task; empty where no task has any.
    ragged : bool
        Whether ``arguments`` are rows.
    attempt : int
        1 for the first try of these tasks.
    """

    __slots__ = ("arguments", "attempt", "functions", "indices", "kwargs", "ragged")

    def __init__(
        self,
        indices: Sequence[int],
        functions: Sequence[Callable[..., Any]],
        arguments: Sequence[Sequence[Any]],
        kwargs: Sequence[dict[str, Any]] = (),
        ragged: bool = False,
        attempt: int = 1,
    ) -> None:
        self.indices, self.functions, self.arguments = indices, functions, arguments
        self.kwargs, self.ragged, self.attempt = kwargs, ragged, attempt

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def parts(self) -> tuple[Any, ...]:
        """What `of` makes a batch of; it travels faster: a pickler asks nobody about tuples."""
        indices = self.indices
        return (
            (indices.start, indices.stop, indices.step) if isinstance(indices, range) else list(indices),
            self.functions,
            self.arguments,
            self.kwargs,
            self.ragged,
            self.attempt,
        )

    @classmethod
    def of(cls, indices: Sequence[int], *others: Any) -> Batch:
        """The batch that has these `parts`."""
        return cls(range(*indices) if isinstance(indices, tuple) else indices, *others)

    def __reduce__(self) -> tuple[Any, ...]:
        return Batch.of, self.parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batch) and self.parts == other.parts

    __hash__ = None  # type: ignore[assignment]  # of lists, mostly

    def __repr__(self) -> str:
        return f"Batch.of{self.parts!r}"

    @property
    def simple(self) -> bool:
        """Whether this is one function, called with one argument for each task."""
        alike = len(self.functions) == len(self.arguments) == 1
        return alike and not self.kwargs and not self.ragged

    def rows(self) -> Iterable[tuple[Any, ...]]:
        """The positional arguments of each task."""
        if self.ragged:
            return self.arguments  # type: ignore[return-value]  # rows are tuples
        return zip(*self.arguments, strict=True) if self.arguments else repeat((), len(self))

    def calls(self) -> Iterator[Call]:
        """The tasks one by one, as (function, args, kwargs)."""
        functions = repeat(self.functions[0]) if len(self.functions) == 1 else iter(self.functions)
        kwargs: Iterator[dict[str, Any]] = iter(self.kwargs) if self.kwargs else repeat({})
        return zip(functions, self.rows(), kwargs, strict=False)  # `repeat` has no end

    def at(self, position: int) -> Call:
        """The task at a position."""
        function = self.functions[0 if len(self.functions) == 1 else position]
        row = self.arguments[position] if self.ragged else [column[position] for column in self.arguments]
        return function, tuple(row), self.kwargs[position] if self.kwargs else {}

    def subset(self, positions: Sequence[int], attempt: int) -> Batch:
        """The tasks at the given positions of this batch, to be tried again."""

        def pick(items: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(items[position] for position in positions)

        return Batch(
            pick(self.indices),
            self.functions if len(self.functions) == 1 else pick(self.functions),
            pick(self.arguments) if self.ragged else tuple(pick(column) for column in self.arguments),
            pick(self.kwargs) if self.kwargs else (),
            self.ragged,
            attempt,
        )

    def mapped(self, function: Callable[[Any], Any]) -> Batch:
        """The same tasks, with a function applied to every argument."""
        return Batch(
            self.indices,
            self.functions,
            tuple(tuple(map(function, sequence)) for sequence in self.arguments),
            tuple({name: function(value) for name, value in each.items()} for each in self.kwargs),
            self.ragged,
            self.attempt,
        )

    def call_text(self, position: int) -> str:
        """The call at a position as short text, for messages."""
        return call_text(*self.at(position))
