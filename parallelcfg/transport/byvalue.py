"""What cloudpickle takes by its name, whatever that means in a worker, or not at all, or not as it is.

Functions with caches, generic functions, and names for types: a script's own are met wherever its functions
are annotated.
"""

from __future__ import annotations

import sys
import typing
from functools import WRAPPER_ASSIGNMENTS, cached_property, lru_cache, singledispatch, singledispatchmethod
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DESCRIPTORS", "KINDS", "is_generic", "reduced", "with_slots"]


def is_generic(obj: Any) -> bool:
    """Whether this is what `functools.singledispatch` makes, itself and not a function that wraps it."""
    return type(obj) is FunctionType and obj.__code__ is _GENERIC


def reduced(obj: Any) -> Any:
    """How one of `KINDS`, or a generic function, is made anew; `NotImplemented` where cloudpickle knows."""
    if is_generic(obj):
        attributes = {name: getattr(obj, name) for name in WRAPPER_ASSIGNMENTS if hasattr(obj, name)}
        attributes.update((name, value) for name, value in vars(obj).items() if name not in _GENERIC_OWN)
        return _generic, (obj.__name__,), (attributes, dict(obj.registry)), None, None, _fill
    if type(obj) is _Cached:
        return _cached, (obj.__wrapped__, obj.cache_parameters())
    parts = _PARTS.get(type(obj))
    return NotImplemented if parts is None else (_named, (obj.__module__, type(obj), *parts(obj)))


def with_slots(cls: type, reduced: Any) -> Any:
    """How cloudpickle makes a class, with its slots: else instances have a dict that the caller's lack."""
    slots = vars(cls).get("__slots__")
    if slots is None or reduced is NotImplemented or reduced[0].__name__ != "_make_skeleton_class":
        return reduced
    make, args, *state = reduced
    return _slotted, (slots, make, *args), *state


def _slotted(
    slots: Any,
    make: Callable[..., type],
    metaclass: type,
    name: str,
    bases: tuple[Any, ...],
    namespace: dict[str, Any],
    *rest: Any,
) -> type:
    try:
        return make(metaclass, name, bases, {**namespace, "__slots__": slots}, *rest)
    except Exception:  # some have slots without saying so, and may not say so, such as `typing.NamedTuple`
        return make(metaclass, name, bases, namespace, *rest)


def _generic(name: str) -> Any:
    """A generic function that waits for its implementations: they may call it, so it comes first."""

    def default(_: object) -> None: ...

    default.__name__ = name
    return singledispatch(default)


def _fill(generic: Any, state: tuple[dict[str, Any], dict[type, Callable[..., Any]]]) -> None:
    attributes, implementations = state
    for name, value in attributes.items():
        setattr(generic, name, value)
    for kind, function in implementations.items():
        generic.register(kind, function)


def _descriptor(obj: Any) -> Any:
    """How a descriptor is made anew, around no matter what at first, with a lock and a cache of its own."""
    state = {name: value for name, value in vars(obj).items() if name not in _DESCRIPTORS_OWN}
    return type(obj), (len,), state


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
_GENERIC = singledispatch(len).__code__  # type: ignore[attr-defined]  # it is a function
_GENERIC_OWN = frozenset({"register", "dispatch", "registry", "_clear_cache"})
_DESCRIPTORS_OWN = frozenset({"lock", "_method_cache"})

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

#: What has no name; some versions of Python put into it what can't be pickled.
DESCRIPTORS: dict[type, Callable[[Any], Any]] = {
    cached_property: _descriptor,
    singledispatchmethod: _descriptor,
}

KINDS = frozenset({_Cached, typing.TypeVar, *_PARTS})
