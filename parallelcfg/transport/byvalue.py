"""What pickles as its name, whatever that means in a worker, and is neither a function nor a class.

Functions with caches, and names for types: a script's own are met wherever its functions are annotated.
"""

from __future__ import annotations

import sys
import typing
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KINDS", "reduced", "with_slots"]


def reduced(obj: Any) -> Any:
    """How one of `KINDS` is made anew; `NotImplemented` where cloudpickle knows."""
    if type(obj) is _Cached:
        return _cached, (obj.__wrapped__, obj.cache_parameters())
    parts = _PARTS.get(type(obj))
    return NotImplemented if parts is None else (_named, (obj.__module__, type(obj), *parts(obj)))


def with_slots(cls: type, reduced: Any) -> Any:
    """How cloudpickle makes a class, with its slots: else instances have a dict that the caller's lack."""
    slots = vars(cls).get("__slots__")
    if slots is None or reduced is NotImplemented or reduced[0].__name__ != "_make_skeleton_class":
        return reduced
    make, (metaclass, name, bases, namespace, *rest), *state = reduced
    return make, (metaclass, name, bases, {**namespace, "__slots__": slots}, *rest), *state


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """A function with an empty cache of its own."""
    return lru_cache(**parameters)(function)


def _named(module: str, make: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """A name for types: the one of this process, else a new one, made as if by code of its module."""
    own = getattr(sys.modules.get(module), args[0], None)
    if type(own) is make:
        return own
    names = {"__name__": module, "make": make, "args": args, "keywords": keywords}
    return eval("make(*args, **keywords)", names)  # noqa: S307 - a constant


def _parameters(spec: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    traits = "bound", "covariant", "contravariant"
    return (spec.__name__,), {trait: getattr(spec, f"__{trait}__") for trait in traits}


_Cached = type(lru_cache(len))

#: Arguments that make the same again.
_PARTS: dict[Any, Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    typing.NewType: lambda new: ((new.__qualname__, new.__supertype__), {}),
    typing.ParamSpec: _parameters,
    # From 3.11 and from 3.12 on
    getattr(typing, "TypeVarTuple", None): lambda names: ((names.__name__,), {}),
    getattr(typing, "TypeAliasType", None): lambda alias: (
        (alias.__name__, alias.__value__),
        {"type_params": alias.__type_params__},
    ),
}

KINDS = frozenset({_Cached, typing.TypeVar, *_PARTS})
