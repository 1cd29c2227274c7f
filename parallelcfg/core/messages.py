"""What messages say of tasks, and of what people pass in their place."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["call_text", "iterator_of", "refuse"]

_TEXT_LIMIT = 120


def iterator_of(tasks: Iterable[Any]) -> Iterator[Any]:
    """An iterator over what a call was given.

    Raises
    ------
    TypeError
        If it is no iterable, or a single task.
    """
    if isinstance(tasks, tuple) and list(map(type, tasks[1:])) == [tuple, dict] and callable(tasks[0]):
        raise TypeError("expected an iterable of tasks, got one task; put it into a list: [delayed(f)(x)]")
    try:
        return iter(tasks)
    except TypeError as error:
        if hasattr(type(tasks), "__iter__"):
            raise  # its own mistake
        raise TypeError(
            f"{error}; expected tasks, as in Parallel(...)(delayed(f)(x) for x in data)"
        ) from None


def refuse(first_index: int, tasks: list[Any]) -> None:
    """Raise for the first item that is no task.

    Parameters
    ----------
    first_index : int
        Position of the first of these items in the user's iterable.
    tasks : list
        The items.

    Raises
    ------
    TypeError
        Names the item's position and what it is.

    Examples
    --------
    >>> refuse(7, [(abs, (-1,), {}), 3])
    Traceback (most recent call last):
    TypeError: task 8 is 3 of type int; expected what delayed(function)(arguments) returns...
    """
    for index, task in enumerate(tasks, first_index):
        if not (
            isinstance(task, tuple)
            and len(task) == 3  # noqa: PLR2004 - function, args, kwargs
            and callable(task[0])
            and type(task[1]) is tuple
            and type(task[2]) is dict
        ):
            wrong = "f or delayed(f)" if callable(task) else "f(x)"
            raise TypeError(
                f"task {index} is {_shorten(repr(task))} of type {type(task).__name__}; expected what "
                "delayed(function)(arguments) returns. Did you forget delayed? "
                f"Write delayed(f)(x), not {wrong}."
            ) from None


def call_text(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """A call as short text; never raises, whatever the arguments' ``repr`` does.

    Examples
    --------
    >>> call_text(pow, (2, 3), {"mod": 5})
    'pow(2, 3, mod=5)'
    """
    try:
        name = getattr(function, "__qualname__", None) or type(function).__name__
    except Exception:  # of its __getattr__
        name = type(function).__name__
    parts = [_safe_repr(a) for a in args] + [f"{k}={_safe_repr(v)}" for k, v in kwargs.items()]
    return _shorten(f"{name}({', '.join(parts)})")


def _safe_repr(value: object) -> str:
    if isinstance(value, (int, float, str, bytes, bool, type(None))):
        with suppress(Exception):  # of a subclass; or an integer has thousands of digits
            return _shorten(repr(value[:_TEXT_LIMIT] if isinstance(value, (str, bytes)) else value), 40)
    return f"<{type(value).__name__}>"  # the repr of an array or a frame is slow and says little


def _shorten(text: str, limit: int = _TEXT_LIMIT) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
