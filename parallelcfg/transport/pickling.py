"""Objects to bytes: the C pickler first, cloudpickle only where it is needed.

The C pickler is ten times faster, but it pickles functions and classes by name. Names of ``__main__`` mean
something else in a worker, so they travel by value, as do lambdas, nested functions and whatever belongs to
a module given to `cloudpickle.register_pickle_by_value`. The first such object stops the C pickler, and
cloudpickle (imported only then) starts over. What holds functions should therefore stand first in a pickle.

Where large data go is up to a `Store`: the arena's folders here, the stores of dask and ray there.
"""

from __future__ import annotations

import pickle
import sys
from functools import cache
from io import BytesIO
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Protocol

from parallelcfg.errors import TaskNotPicklable
from parallelcfg.transport.byvalue import DESCRIPTORS, KINDS, is_generic, with_slots
from parallelcfg.transport.byvalue import reduced as by_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    Reducers: TypeAlias = Mapping[type, Callable[[Any], Any]]
    BufferCallback: TypeAlias = Callable[[pickle.PickleBuffer], bool]

__all__ = ["PROTOCOL", "Store", "dumps", "loads", "needs_value", "pickle_with"]

#: The first protocol with out-of-band buffers; every supported Python has it.
PROTOCOL = 5


class Store(Protocol):
    """Takes large data out of a pickle."""

    def begin(self) -> tuple[Reducers, BufferCallback | None]:
        """Called when pickling starts, and again when it starts over.

        Returns
        -------
        mapping of type to callable
            Looked up by the exact type of each object before anything else. A reducer returns what
            ``__reduce__`` would, or `NotImplemented`.
        callable or None
            Told about each out-of-band buffer (:pep:`574`); a true value leaves the buffer in the pickle.
        """


def dumps(
    obj: object,
    *,
    store: Store | None = None,
    name: str | None = "object",
    met: list[pickle.Pickler] | None = None,
) -> bytes:
    """Pickle anything that can be pickled at all; `loads` is the way back.

    Parameters
    ----------
    obj : object
        What to pickle.
    store : Store, optional
        Where large data go instead of into the pickle.
    name : str or None
        What messages call ``obj``. With None nobody looks for the part that is in the way.
    met : list, optional
        Gets the pickler, which knows what it has met.

    Returns
    -------
    bytes
        The pickle.

    Raises
    ------
    TaskNotPicklable
        If it can't be pickled. The message has the path to the object in the way, the cause is the pickler's
        own error.

    Examples
    --------
    >>> loads(dumps({"double": lambda x: 2 * x}))["double"](21)
    42
    >>> import threading
    >>> dumps([{"lock": threading.Lock()}], name="args")
    Traceback (most recent call last):
        ...
    parallelcfg.errors.TaskNotPicklable: can't pickle args[0]['lock']: cannot pickle '_thread.lock' object
    """
    try:
        return _dump(_CPickler, obj, store, met)
    except MemoryError:
        raise
    except Exception:  # noqa: S110 - cloudpickle takes more, and has the error to show if it does not
        pass
    return _dumps_by_value(obj, store, name, met)


def loads(data: bytes | bytearray | memoryview) -> Any:
    """Unpickle what `dumps` made.

    Examples
    --------
    >>> loads(dumps([1, 2]))
    [1, 2]
    """
    return pickle.loads(data)


def pickle_with(store: Store, obj: object, met: list[pickle.Pickler] | None = None) -> bytes:
    """Pickle by cloudpickle alone, for whoever looks into an object; errors pass as they are."""
    return _dump(_cloud_pickler(), obj, store, met)


def _dumps_by_value(
    obj: object,
    store: Store | None,
    name: str | None,
    met: list[pickle.Pickler] | None,
) -> bytes:
    try:
        return _dump(_cloud_pickler(), obj, store, met)
    except MemoryError:
        raise
    except Exception as exc:
        from parallelcfg.transport.culprit import complaint, reason

        if name is None:
            raise TaskNotPicklable(f"can't be pickled: {reason(exc)}") from exc
        raise TaskNotPicklable(complaint(exc, name, [(name, obj)])) from exc


def _dump(
    pickler: Callable[[BytesIO, Reducers, BufferCallback | None], pickle.Pickler],
    obj: object,
    store: Store | None,
    met: list[pickle.Pickler] | None = None,
) -> bytes:
    file = BytesIO()
    reducers, buffer_callback = ({}, None) if store is None else store.begin()
    own = pickler(file, {**reducers, **DESCRIPTORS, MethodType: _bound}, buffer_callback)
    own.dump(obj)
    data = file.getvalue()
    if met is not None:
        file.truncate(0)  # it lives as long as its pickler
        met.append(own)
    return data


#: The program's own module, also in the processes that `multiprocessing` starts without forking.
_MAIN = frozenset({"__main__", "__mp_main__"})


class _NeedsValue(Exception):
    """A function or class can't be found by its name in a worker: the sign to start over with cloudpickle."""


class _CPickler(pickle.Pickler):
    """The C pickler; containers, numbers and text never leave C code."""

    def __init__(self, file: BytesIO, reducers: Reducers, buffer_callback: BufferCallback | None) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=buffer_callback)
        self._reducers = reducers

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        reduce = self._reducers.get(kind)
        if reduce is not None:
            return reduce(obj)
        if (kind is FunctionType or kind in KINDS or issubclass(kind, type)) and needs_value(obj):
            raise _NeedsValue
        return NotImplemented


def needs_value(obj: Any) -> bool:
    """Whether what has a name travels by value: a worker would find something else under its name."""
    # Names that lead nowhere, or to something else, are left to the C pickler: it finds out anyway.
    module = getattr(obj, "__module__", None)
    if module is None or module in _MAIN or "<" in getattr(obj, "__qualname__", ""):
        return True
    registry = getattr(sys.modules.get("cloudpickle"), "list_registry_pickle_by_value", None)
    registered = registry() if registry else ()  # none, too, while another thread is still importing it
    return any(module == name or module.startswith(name + ".") for name in registered)


def _bound(method: MethodType) -> Any:
    """How to find a bound method again, where its object has another one under that name, or none.

    The compiler gives private ones a longer name, a decorator may leave its own, and ``super()`` passes over
    the one that is found first.
    """
    owner, function = method.__self__, method.__func__
    if getattr(owner, function.__name__, None) == method:
        return NotImplemented
    within = function.__qualname__.rpartition(".")[0].rpartition(".")[2]
    private = f"_{within.lstrip('_')}{function.__name__}"
    if getattr(owner, private, None) == method:
        return getattr, (owner, private)
    return MethodType, (function, owner)


def _code(make: Callable[..., CodeType], parts: tuple[Any, ...], filename: str) -> CodeType:
    """Code that knows its file, which tracebacks name: newer versions of cloudpickle leave it out."""
    return make(*parts).replace(co_filename=filename)


@cache
def _cloud_pickler() -> type[pickle.Pickler]:
    import cloudpickle

    main = sys.modules.get("__mp_main__")
    if main is not None and main.__name__ == "__mp_main__":  # cloudpickle takes its names for importable ones
        cloudpickle.register_pickle_by_value(main)

    class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no type annotations
        def __init__(self, file: BytesIO, reducers: Reducers, buffer_callback: BufferCallback | None) -> None:
            super().__init__(file, PROTOCOL, buffer_callback)
            self._reducers = reducers

        def reducer_override(self, obj: Any) -> Any:
            kind = type(obj)
            if kind is CodeType:
                return _code, (*self.dispatch_table[CodeType](obj), obj.co_filename)
            reduce = self._reducers.get(kind)
            reduced = NotImplemented if reduce is None else reduce(obj)
            if (kind in KINDS or is_generic(obj)) and needs_value(obj):
                reduced = by_value(obj)
            if reduced is NotImplemented:
                reduced = super().reducer_override(obj)
            return with_slots(obj, reduced) if issubclass(kind, type) else reduced

    return CloudPickler
