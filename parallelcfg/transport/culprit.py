"""Which part of an object can't be pickled: a search on the way of a failure, bounded in time and depth.

At each level the parts of the failing object are tried together, halved and tried again, so that one bad item
among a million costs about as much as pickling the object twice. Arrays are left out of the trials.
"""

from __future__ import annotations

import sys
from functools import partial
from time import monotonic
from types import CellType, CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from parallelcfg.transport.byvalue import is_generic
from parallelcfg.transport.pickling import PROTOCOL, pickle_with

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from parallelcfg.transport.pickling import BufferCallback, Reducers

__all__ = ["complaint", "culprit", "reason"]

_MAX_DEPTH = 40

#: A part of an object: what to write behind the object's own path, and the part itself.
Part = tuple[str, Any]


def complaint(error: BaseException | None, whole: str, parts: Iterable[tuple[str, object]]) -> str:
    """What a pickler could not do, and why.

    Parameters
    ----------
    error : BaseException or None
        What it raised.
    whole : str
        What to name if no part is found to be in the way.
    parts : iterable of (str, object)
        What may be, with the names of it.

    Examples
    --------
    >>> complaint(ValueError("no"), "it", [])
    "can't pickle it: no"
    """
    tried = () if _out_of_stack(error) else parts  # which part was on top of the stack says nothing
    where = next(filter(None, (culprit(part, name) for name, part in tried)), whole)
    return f"can't pickle {where}: {reason(error)}"


def reason(error: BaseException | None) -> str:
    """What a pickler's error says; what to do, where the stack was too short for it."""
    if _out_of_stack(error):
        return (
            "it is nested too deep, or the call is made too deep in the stack; "
            "sys.setrecursionlimit allows more"
        )
    return str(error)


def _out_of_stack(error: BaseException | None) -> bool:
    behind = None if error is None else error.__context__  # cloudpickle makes another error of it
    return isinstance(error, RecursionError) or isinstance(behind, RecursionError)


def culprit(obj: object, name: str = "object", *, seconds: float = 2.0) -> str | None:
    """Find the path to what can't be pickled inside an object.

    Parameters
    ----------
    obj : object
        Something that can't be pickled.
    name : str
        How the path begins.
    seconds : float
        When to stop looking deeper, counted from now.

    Returns
    -------
    str or None
        The path as far as it was found in time; None if the object pickles well.

    Examples
    --------
    >>> import threading
    >>> culprit(([1, {"lock": threading.Lock()}],), "args")
    "args[0][1]['lock']"
    >>> culprit("innocent") is None
    True
    """
    deadline = monotonic() + seconds
    if not _fails(obj):
        return None
    path, seen = name, [obj]
    for _ in range(_MAX_DEPTH):
        new = [part for part in _parts(seen[-1]) if all(part[1] is not one for one in seen)]  # no rounds
        part = _first_failing(new, deadline)
        if part is None:
            break
        path += part[0]
        seen.append(part[1])
    return path


def _fails(obj: object) -> bool:
    try:
        pickle_with(_NoArrays(), obj)
    except Exception:
        return True
    return False


class _NoArrays:
    """A store that loses arrays: they always can be pickled, and take their time."""

    def begin(self) -> tuple[Reducers, BufferCallback | None]:
        ndarray = getattr(sys.modules.get("numpy"), "ndarray", None)
        if ndarray is None:
            return {}, None
        return {ndarray: lambda array: NotImplemented if array.dtype.hasobject else (int, ())}, None


def _first_failing(parts: list[Part], deadline: float) -> Part | None:
    if not parts or not _fails([value for _, value in parts]):
        return None
    while len(parts) > 1:
        if monotonic() > deadline:
            return None
        half = parts[: len(parts) // 2]
        parts = half if _fails([value for _, value in half]) else parts[len(half) :]
    # Parts may fail together only: two that are fine alone, but share a state that is not.
    return parts[0] if _fails(parts[0][1]) else None


def _parts(obj: Any) -> list[Part]:
    try:
        return list(_iterate_parts(obj))
    except Exception:  # the object's own __reduce__ may raise anything: then it is the culprit
        return []


def _iterate_parts(obj: Any) -> Iterator[Part]:
    if isinstance(obj, (list, tuple)):
        yield from ((f"[{i}]", value) for i, value in enumerate(obj))
    elif isinstance(obj, dict):
        yield from ((f"[{_text(key)}]", value) for key, value in obj.items())
        yield from ((f".keys()[{i}]", key) for i, key in enumerate(obj))
    elif isinstance(obj, (set, frozenset)):
        yield from ((f".item({_text(value)})", value) for value in obj)
    if isinstance(obj, FunctionType):
        yield from _parts_of_function(obj)
    elif isinstance(obj, MethodType):
        yield ".__self__", obj.__self__
    elif isinstance(obj, partial):
        yield ".func", obj.func
        yield from ((f".args[{i}]", value) for i, value in enumerate(obj.args))
        yield from ((f".keywords[{k!r}]", value) for k, value in obj.keywords.items())
    elif not isinstance(obj, type) and type(obj) not in {list, tuple, dict, set, frozenset}:
        yield from _parts_of_state(obj)


def _parts_of_function(function: FunctionType) -> Iterator[Part]:
    if is_generic(function):
        yield from ((f".registry[{kind.__name__}]", value) for kind, value in function.registry.items())  # type: ignore[attr-defined]
        return
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    # An empty cell is a name that is not bound yet; it equals a new one.
    yield from ((f".<closure>[{name!r}]", c.cell_contents) for name, c in cells if c != CellType())
    yield from ((f".__defaults__[{i}]", value) for i, value in enumerate(function.__defaults__ or ()))
    yield from ((f".__kwdefaults__[{k!r}]", v) for k, v in (function.__kwdefaults__ or {}).items())
    yield from ((f".{name}", value) for name, value in vars(function).items())
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield f".__globals__[{name!r}]", function.__globals__[name]


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _parts_of_state(obj: Any) -> Iterator[Part]:
    reduced: Any = obj.__reduce_ex__(PROTOCOL)
    if isinstance(reduced, str):  # a global's name
        return
    args, state, items, pairs = (*reduced[1:5], None, None, None)[:4]
    attributes = state if isinstance(state, tuple) else (state,)
    if all(part is None or isinstance(part, dict) for part in attributes):  # __dict__, or (__dict__, slots)
        for part in attributes:
            yield from ((f".{name}", value) for name, value in (part or {}).items())
    else:
        yield ".__getstate__()", state
    yield from ((f".__reduce__()[1][{i}]", value) for i, value in enumerate(args))
    yield from ((f"[{i}]", value) for i, value in enumerate(items or ()))
    yield from ((f"[{_text(key)}]", value) for key, value in (pairs or ()))


def _text(value: object) -> str:
    if not isinstance(value, (int, float, str, bytes, bool, type(None))):
        return f"<{type(value).__name__}>"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."  # noqa: PLR2004 - one short line in all
