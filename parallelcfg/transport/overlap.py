"""Objects that two pickles hold: loaded, there would be two where there was one.

A dict keyed by nodes has none of them in it, when the graph came in one pickle and the node in another. So
what travels apart from its batch must share nothing with it whose identity matters. Text, numbers, tuples and
whatever else is the same as its copy may be in both, and so may what travels by name.

Looking through all that a batch holds would take longer than pickling it. Its pickler has looked: its memo
has all that it has met.
"""

from __future__ import annotations

import sys
from enum import Enum
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from parallelcfg.transport import pickling

if TYPE_CHECKING:
    import pickle
    from collections.abc import Callable

    from parallelcfg.transport.pickling import BufferCallback, Reducers

__all__ = ["Held"]

#: Where types that compare by value have no way to change.
_VALUES = sys.stdlib_module_names | {"numpy", "pandas"}
#: A reduction with nothing in it, not even a class.
_ELSE = len, ("",)
_BY_NAME = (FunctionType, type(lru_cache(len)))


class Held:
    """The objects in a pickle whose identity matters, found when somebody asks.

    Parameters
    ----------
    value : object
        What was pickled.
    pickler : pickle.Pickler
        What pickled it.
    """

    def __init__(self, value: object, pickler: pickle.Pickler) -> None:
        self._value = value
        self._pickler: pickle.Pickler | None = pickler
        self._objects: dict[int, object] = {}

    @property
    def objects(self) -> dict[int, object]:
        """The objects by their identity."""
        if self._pickler is not None:
            self._objects = _with_identity(self._value, self._pickler)
            self._pickler = None
        return self._objects


def _with_identity(value: object, pickler: pickle.Pickler) -> dict[int, object]:
    met = _met(pickler)
    kinds = {kind for kind in set(map(type, met)) if _has_identity(kind)}
    found = {id(obj): obj for obj in met if type(obj) in kinds and not _by_name(obj)}
    classes = {kind for kind in set(map(type, met)) if issubclass(kind, type)}
    if not any(type(obj) in classes and pickling.needs_value(obj) for obj in met):
        return found
    # A class that travels by value is one class in a worker, however often it comes, with all that is in it
    outside: list[pickle.Pickler] = []
    try:
        pickling.pickle_with(_Opaque(classes), value, met=outside)
    except Exception:  # something looks into its class: then everything counts
        return found
    return {key: found[key] for key in map(id, _met(*outside)) if key in found}


def _met(pickler: pickle.Pickler) -> list[Any]:
    return [obj for _, obj in pickler.memo.copy().values()]


def _has_identity(kind: type) -> bool:
    if issubclass(kind, (type, ModuleType, Enum)):
        return False
    if kind.__hash__ in {None, object.__hash__}:
        return True
    return not (issubclass(kind, tuple) or str(kind.__module__).partition(".")[0] in _VALUES)


def _by_name(obj: object) -> bool:
    return isinstance(obj, _BY_NAME) and not pickling.needs_value(obj)


class _Opaque:
    """A store that takes all objects of some types for something else: what is in them is not looked at."""

    def __init__(self, kinds: set[type]) -> None:
        self._kinds = kinds

    def begin(self) -> tuple[Reducers, BufferCallback | None]:
        reducers: dict[type, Callable[[Any], Any]] = {kind: lambda _: _ELSE for kind in self._kinds}
        ndarray = getattr(sys.modules.get("numpy"), "ndarray", None)
        if ndarray is not None:
            reducers[ndarray] = lambda array: NotImplemented if array.dtype.hasobject else _ELSE
        return reducers, lambda _: False
