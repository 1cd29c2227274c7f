"""Objects, functions and classes that travel by cloudpickle, whoever pickles them."""

from __future__ import annotations

from functools import update_wrapper
from typing import Any

from parallelcfg.transport import pickling

__all__ = ["wrap_non_picklable_objects"]


class _Wrapped:
    """Stands in for an object, and pickles it by value."""

    def __init__(self, obj: Any, keep_wrapper: bool) -> None:
        self._obj = obj
        self._keep_wrapper = keep_wrapper

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (pickling.dumps(self._obj), self._keep_wrapper)

    def __getattr__(self, name: str) -> Any:
        if name == "_obj":  # asked for by copiers before it is there
            raise AttributeError(name)
        return getattr(self._obj, name)


class _WrappedCallable(_Wrapped):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._obj(*args, **kwargs)


def wrap_non_picklable_objects(obj: Any, keep_wrapper: bool = True) -> Any:
    """Make an object, function or class travel by cloudpickle, also inside of what others pickle.

    Parameters
    ----------
    obj : object
        What to wrap. Of a class, the instances are wrapped. Works as a decorator.
    keep_wrapper : bool
        Whether it arrives wrapped, so that it can travel on.

    Returns
    -------
    object
        A stand-in for ``obj``.

    Examples
    --------
    >>> import pickle
    >>> double = wrap_non_picklable_objects(lambda x: 2 * x)
    >>> pickle.loads(pickle.dumps(double))(21)
    42
    """
    if isinstance(obj, type):
        return _wrap_class(obj, keep_wrapper)
    if callable(obj):
        return update_wrapper(_WrappedCallable(obj, keep_wrapper), obj, updated=())
    return _Wrapped(obj, keep_wrapper)


def _wrap_class(cls: type, keep_wrapper: bool) -> type:
    calls = any("__call__" in vars(base) for base in cls.__mro__)
    base = _WrappedCallable if calls else _Wrapped

    def __init__(self: _Wrapped, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it becomes a method
        base.__init__(self, cls(*args, **kwargs), keep_wrapper)

    body = {"__init__": __init__, "__doc__": cls.__doc__, "__module__": cls.__module__}
    return type(cls.__name__, (base,), body)


def _rebuild(data: bytes, keep_wrapper: bool) -> Any:
    obj = pickling.loads(data)
    return wrap_non_picklable_objects(obj) if keep_wrapper else obj
