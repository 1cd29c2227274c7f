"""`delayed`: calls that are not made yet."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar

__all__ = ["Task", "delayed"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")


class Task(tuple[Callable[..., T_co], tuple[Any, ...], dict[str, Any]], Generic[T_co]):
    """The type of ``delayed(f)(x)``: a call that has not been made, whose result is a ``T_co``.

    Only type checkers see it: at run time a task is a plain tuple (function, args, kwargs), as in joblib.
    """

    __slots__ = ()


def delayed(function: Callable[P, T]) -> Callable[P, Task[T]]:
    """Turn calls of a function into tasks.

    Parameters
    ----------
    function : callable
        What the tasks call.

    Returns
    -------
    callable
        Takes the function's arguments and returns a task instead of calling it.

    Raises
    ------
    TypeError
        If it can't be called.

    Examples
    --------
    >>> delayed(pow)(2, 3)
    (<built-in function pow>, (2, 3), {})
    """
    latest = _latest  # one look: another thread may change it
    return latest[1] if latest[0] is function else _delayed(function)


#: The last function and what makes its tasks. Loops ask for the same again and again, and making a function
#: takes longer than calling it. Kept only where the function's module keeps it too.
_latest: tuple[Any, Any] = None, None


def _delayed(function: Callable[P, T]) -> Callable[P, Task[T]]:
    global _latest  # noqa: PLW0603 - a cache of one entry
    if not callable(function):
        raise TypeError(f"delayed({function!r}): expected a function or another callable")

    def task(*args: P.args, **kwargs: P.kwargs) -> Task[T]:
        return function, args, kwargs  # type: ignore[return-value]  # a bare tuple is four times as fast

    if type(function) is FunctionType and "<" not in function.__qualname__:
        _latest = function, task
    return task  # unadorned: `functools.wraps` would cost more than all else that is done for a short task
