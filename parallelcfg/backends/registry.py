"""Names of backends, and how a name, class, instance or context becomes a `Backend`.

Built-in backends are imported at first use. Others come from `register_parallel_backend` or from an entry
point in the group ``parallelcfg.backends`` of an installed package; a configuration file can name them, but
never name code to import.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from parallelcfg.backends.base import Backend
from parallelcfg.backends.params import UnknownParam
from parallelcfg.config.suggest import suggest
from parallelcfg.errors import BackendUnavailable, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "BUILT_IN",
    "NoBackend",
    "check_params",
    "default_backend",
    "is_built_in",
    "known_backends",
    "known_params",
    "make_backend",
    "means_backend",
    "register_parallel_backend",
]

_GROUP = "parallelcfg.backends"
BUILT_IN = {
    "loky": "parallelcfg.backends.loky:LokyBackend",
    "threading": "parallelcfg.backends.threads:ThreadsBackend",
    "multiprocessing": "parallelcfg.backends.processes:ProcessesBackend",
    "sequential": "parallelcfg.backends.sequential:SequentialBackend",
    "dask": "parallelcfg.backends.dask:DaskBackend",
    "ray": "parallelcfg.backends.ray:RayBackend",
}
_registered: dict[str, Callable[..., Any]] = {}
_default = "loky"


class NoBackend(TypeError):
    """What was named makes no backend, or is one that takes no parameters."""


def register_parallel_backend(name: str, factory: Callable[..., Any], make_default: bool = False) -> None:
    """Give a backend a name that `Parallel`, `parallel_config` and configuration files can use.

    Parameters
    ----------
    name : str
        The name. One that is registered already gets the new factory.
    factory : callable
        Returns a `ParallelBackendBase` or an object with the native protocol. Constructor parameters come
        from ``[backends.NAME]`` in files and from keyword arguments in code.
    make_default : bool, default False
        Use it wherever no layer of the configuration names a backend.

    Raises
    ------
    TypeError
        If the name is no text or the factory can't be called.

    Examples
    --------
    >>> from parallelcfg.backends.threads import ThreadsBackend
    >>> register_parallel_backend("pool", ThreadsBackend)
    >>> "pool" in known_backends()
    True
    """
    global _default  # noqa: PLW0603 - the registry is process-wide
    if not isinstance(name, str) or not callable(factory):
        raise TypeError(f"expected a name and a callable, got {name!r} and {factory!r}")
    _registered[name] = factory
    if make_default:
        _default = name


def default_backend() -> str:
    """The backend of calls for which no layer names one."""
    return _default


def known_backends() -> tuple[str, ...]:
    """Every name that configuration may use, built-in ones first."""
    return tuple(dict.fromkeys([*BUILT_IN, *_registered, *_entry_points()]))


def make_backend(spec: object, params: Mapping[str, Any]) -> Backend:
    """The backend that a value of the key ``backend`` means.

    Parameters
    ----------
    spec : str, Backend, ParallelBackendBase, callable or multiprocessing context
        What was configured.
    params : mapping of str to object
        Constructor parameters.

    Raises
    ------
    ConfigError
        If the name is not known; the message lists the known ones.
    UnknownParam
        If the backend has no such parameter; the message lists those it has.
    NoBackend
        If a factory makes none, or if there are parameters for an instance.
    """
    if isinstance(spec, str):
        if is_built_in(spec):  # known to have the protocol: asking costs 10 us
            return cast("Backend", _call(spec, _built_in(spec), params))
        return _native(_call(spec, _factory(spec), params), spec)
    if isinstance(spec, type) or not _is_backend(spec):
        if _is_context(spec):
            return _native(_call("multiprocessing", _factory("multiprocessing"), {"context": spec, **params}))
        assert callable(spec)  # see `means_backend`
        return _native(_call(_name_of(spec), spec, params))
    if params:
        raise NoBackend(f"backend is an instance already, so it takes no {', '.join(map(repr, params))}")
    return _native(spec)


def means_backend(spec: object) -> bool:
    """Whether an object can be a value of the key ``backend``: a backend, a factory, or a context."""
    return callable(spec) or _is_backend(spec) or _is_context(spec)


def is_built_in(spec: object) -> bool:
    """Whether a value of the key ``backend`` names one of this package's own."""
    return isinstance(spec, str) and spec in BUILT_IN and spec not in _registered


def _factory(name: str) -> Callable[..., Any]:
    if name in _registered:
        return _registered[name]
    if name in BUILT_IN:
        return _built_in(name)
    points = _entry_points()
    if name in points:
        return _loaded(points[name])
    question = suggest(name, known_backends())
    hint = f"; {question}" if question else ""
    raise ConfigError(f"unknown backend {name!r}; known are {', '.join(known_backends())}{hint}")


def _loaded(point: Any) -> Callable[..., Any]:
    try:
        factory = point.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise BackendUnavailable(
            f"backend {point.name!r} can't be loaded from its entry point {point.value}: {reason}"
        ) from error
    if not callable(factory):
        raise NoBackend(
            f"the entry point {point.value} of backend {point.name!r} is {factory!r}: not callable"
        )
    return factory  # type: ignore[no-any-return]  # whatever it takes


@cache
def _built_in(name: str) -> Callable[..., Any]:
    module, _, attribute = BUILT_IN[name].partition(":")
    return getattr(import_module(module), attribute)  # type: ignore[no-any-return]  # a module's attribute


@cache
def _entry_points() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=_GROUP)}


def check_params(spec: object, params: Mapping[str, Any]) -> None:
    """Refuse constructor parameters that a backend does not have, or that can't have these values.

    Parameters
    ----------
    spec : object
        A value of the key ``backend``.
    params : mapping of str to object
        The parameters.

    Raises
    ------
    TypeError
        Names the parameter, what was probably meant, and those that the backend has.
    WrongParam
        A built-in backend's parameter has a value that it can't have.
    """
    if isinstance(spec, str):
        factory = _factory(spec)
        _check(spec, factory, params)
        if is_built_in(spec):
            with suppress(BackendUnavailable):  # who runs tasks on it is told
                factory(**params)
    elif callable(spec):
        _check(_name_of(spec), spec, params)


def known_params(spec: object, params: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some constructor parameters that a backend has.

    Parameters
    ----------
    spec : object
        A value of the key ``backend``.
    params : mapping of str to object
        The parameters.

    Examples
    --------
    >>> known_params("loky", {"idle_worker_timeout": 60, "maxtasksperchild": 1})
    {'idle_worker_timeout': 60}
    """
    if isinstance(spec, str) or _is_context(spec):
        return _known(_factory(spec if isinstance(spec, str) else "multiprocessing"), params)
    made = not isinstance(spec, type) and _is_backend(spec)
    return _known(spec, params) if callable(spec) and not made else {}


def _known(factory: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    accepted = inspect.signature(factory).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    return {name: value for name, value in params.items() if takes_all or name in accepted}


def _call(name: str, factory: Callable[..., Any], params: Mapping[str, Any]) -> object:
    if params:
        _check(name, factory, params)
    return factory(**params)


def _check(name: str, factory: Callable[..., Any], params: Mapping[str, Any]) -> None:
    known = _known(factory, params)
    for param in params:
        if param not in known:
            accepted = tuple(inspect.signature(factory).parameters)
            raise UnknownParam(param, _unknown(name, param, accepted), accepted)


def _name_of(factory: Callable[..., Any]) -> str:
    return getattr(factory, "__name__", repr(factory))


def _unknown(name: str, param: str, accepted: tuple[str, ...]) -> str:
    from parallelcfg.config.keys import KEYS

    question = suggest(param, [*KEYS, *accepted])
    hint = f" ({question})" if question else ""
    own = f"has the parameters {', '.join(accepted)}" if accepted else "has no parameters of its own"
    if param in KEYS:  # said in the backend's own table
        return f"{param!r} is a key of its own, not a parameter of backend {name!r}; {name!r} {own}"
    return (
        f"{param!r} is neither a configuration key nor a parameter of backend {name!r}{hint}; {name!r} {own}"
    )


def _is_backend(spec: object) -> bool:
    from parallelcfg.backends.custom import ParallelBackendBase

    return isinstance(spec, (Backend, ParallelBackendBase))


def _is_context(spec: object) -> bool:
    """Whether this is `multiprocessing` itself or one of its contexts, without importing it."""
    return callable(getattr(spec, "get_start_method", None)) and callable(getattr(spec, "Process", None))


def _native(made: object, name: str | None = None) -> Backend:
    from parallelcfg.backends.custom import ParallelBackendBase, adapt

    if isinstance(made, ParallelBackendBase):
        return adapt(made, name)
    if isinstance(made, Backend):
        return made
    raise NoBackend(
        f"the factory of backend {name or type(made).__name__!r} returned {made!r}; "
        "expected a ParallelBackendBase or an object with name, traits, effective_n_jobs and open"
    )
