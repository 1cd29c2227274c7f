"""What the bridge changes in joblib, and how to undo it.

`joblib.Parallel` itself stays: libraries hold references to it and subclass it. Its ``__init__`` keeps,
beside joblib's own attributes, a `parallelcfg.Parallel` with the same settings; its ``__call__`` hands the
tasks to that. joblib's backends get subclasses that count jobs as parallelcfg does, which
`joblib.effective_n_jobs` asks. Calls on backends of others (dask through joblib, for one) remain joblib's.
"""

from __future__ import annotations

import inspect
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from parallelcfg.integrations.joblib.errors import run
from parallelcfg.integrations.joblib.settings import Said, said_by
from parallelcfg.parallel import Parallel, effective_n_jobs

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["Patch"]

_NAMES = ("loky", "threading", "multiprocessing", "sequential")
_METHODS = ("__init__", "__call__", "__enter__", "__exit__")
#: Where a `joblib.Parallel` keeps what governs it.
_GOVERNOR = "_parallelcfg"


class Patch:
    """Changes joblib; `undo` changes it back.

    Parameters
    ----------
    module : module
        ``joblib.parallel``.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._last = threading.local()
        self._backends: dict[str, Any] = {
            name: module.BACKENDS[name] for name in _NAMES if name in module.BACKENDS
        }
        self._names = {backend: name for name, backend in self._backends.items()}
        kind = module.Parallel
        self._originals: dict[str, Callable[..., Any]] = {name: getattr(kind, name) for name in _METHODS}
        self._signature = inspect.signature(self._originals["__init__"])
        for name, backend in self._backends.items():
            module.BACKENDS[name] = bridged = _counting(backend, name)
            self._names[bridged] = name
        for name, method in self._methods().items():
            setattr(kind, name, method)

    def undo(self) -> None:
        """Give joblib its own methods and backends back."""
        self._module.BACKENDS.update(self._backends)
        for name, method in self._originals.items():
            setattr(self._module.Parallel, name, method)

    def last_call(self) -> Parallel[Any] | None:
        """What governed this thread's latest call."""
        return getattr(self._last, "governor", None)

    def _methods(self) -> dict[str, Callable[..., Any]]:
        """The new methods of `joblib.Parallel`."""
        own = self._originals

        def init(this: Any, *args: Any, **kwargs: Any) -> None:
            own["__init__"](this, *args, **kwargs)
            setattr(this, _GOVERNOR, self._governor(this, args, kwargs))

        def call(this: Any, iterable: Any) -> Any:
            governor = getattr(this, _GOVERNOR, None)  # one from before the bridge has none
            if governor is None:
                return own["__call__"](this, iterable)
            self._last.governor = governor
            return run(governor, iterable)

        def enter(this: Any) -> Any:
            governor = getattr(this, _GOVERNOR, None)  # one from before the bridge has none
            if governor is None:
                return own["__enter__"](this)
            governor.__enter__()
            return this

        def leave(this: Any, *error: Any) -> Any:
            governor = getattr(this, _GOVERNOR, None)  # one from before the bridge has none
            return own["__exit__"](this, *error) if governor is None else governor.__exit__(*error)

        return {"__init__": init, "__call__": call, "__enter__": enter, "__exit__": leave}

    def _governor(self, parallel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Parallel[Any] | None:
        """What runs the calls of a `joblib.Parallel`; None where its backend is somebody else's."""
        if type(parallel._backend) not in self._names:  # noqa: SLF001 - joblib tells it nowhere else
            return None
        given = dict(self._signature.bind(parallel, *args, **kwargs).arguments)
        given.update(given.pop("backend_kwargs", {}))
        del given["self"]
        return self._said(given).governor()

    def _said(self, given: dict[str, Any]) -> Said:
        around = getattr(self._module._backend, "config", {})  # noqa: SLF001 - what joblib.parallel_config set
        sentinel = type(self._module.default_parallel_config["n_jobs"])
        return said_by(given, around, unset=sentinel, names=self._names)


def _counting(backend: Any, name: str) -> Any:
    """A joblib backend that gives parallelcfg's answer to how many jobs there are."""

    def count(self: Any, n_jobs: int | None) -> int:  # noqa: ARG001 - joblib's signature
        return 1 if name == "sequential" else effective_n_jobs(n_jobs)

    members = {"effective_n_jobs": count, "default_n_jobs": property(partial(count, n_jobs=None))}
    return type(backend.__name__, (backend,), {**members, "__module__": backend.__module__})
