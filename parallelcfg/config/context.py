"""The department of global state: what is in force here and now.

::

    process:   files, environment  <  set_config()  <  command line        all threads, see `process`
    context:   parallel_config(), innermost last      a ContextVar: per thread, per asyncio task
    task:      the Config that came with a task takes the process's place, and outer contexts do not apply

Standard library only: workers import this. What needs pydantic is imported when something has to be resolved.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import ref

from parallelcfg.config import process, state
from parallelcfg.config.callers import caller_origin
from parallelcfg.config.process import notify, reload, set_config
from parallelcfg.config.snapshot import UNSET, Config, Origin, Unset
from parallelcfg.config.state import current_scope, entered
from parallelcfg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from os import PathLike
    from types import TracebackType

    from parallelcfg.config.explanation import Explanation
    from parallelcfg.config.machine import Machine

__all__ = [
    "current_scope",
    "entered",
    "explain",
    "get_config",
    "notify",
    "parallel_backend",
    "parallel_config",
    "reload",
    "resolve_call",
    "set_config",
    "using_machine",
]


def get_config(**overrides: object) -> Config:
    """The settings in force here, as a frozen `Config`.

    Parameters
    ----------
    **overrides
        Keys and values to put on top, as `Parallel` would.

    Raises
    ------
    ConfigError
        With every problem of every layer.

    Examples
    --------
    >>> get_config(n_jobs=2).n_jobs
    2
    """
    if overrides:
        return resolve_call(process.keys_only(overrides, "get_config"), {})
    return state.settled(state.in_force())


def resolve_call(
    overrides: Mapping[str, object], backend_params: Mapping[str, object], caller: Origin | None = None
) -> Config:
    """The settings of one call.

    Parameters
    ----------
    overrides : mapping
        What the caller really passed, by key; None means unset for ``n_jobs`` and ``backend``.
    backend_params : mapping
        Constructor parameters for whichever backend is chosen.
    caller : Origin, optional
        Where the call stands; without it, the nearest frame outside of this package.

    Raises
    ------
    ConfigError
        With every problem of every layer.
    """
    __tracebackhide__ = True
    said = process.really_said(overrides)
    if not said and not backend_params:
        return state.settled(state.in_force())
    from parallelcfg.config.resolve import extend

    origin = caller or caller_origin("call")
    problems: tuple[Problem, ...] = ()
    try:
        below = state.in_force()
    except ConfigError as error:
        problems = error.problems
    recent = process.current().recent
    key = None if backend_params or problems else recent.key(said, origin)
    if key is not None and (known := recent.find(key, below)) is not None:
        return state.settled(known)
    try:
        layer = process.checked(said, backend_params, origin)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    config = extend(below, layer)
    if key is not None:
        recent.keep(key, below, config)
    return state.settled(config)


class parallel_config:  # noqa: N801 - joblib's name
    """Set the configuration of every `Parallel` in a ``with`` block, or from here until `unregister`.

    Holds for the current thread and asyncio task. The parameters are the keys of the configuration, see
    docs/configuration.md; what is not passed stays as it was. The object may be kept for any number of
    ``with`` blocks, one after the other, inside of each other, and in any thread.

    Parameters
    ----------
    backend : str or object, optional
        Name of a backend, a backend instance or factory, or a multiprocessing context.
    n_jobs, verbose, temp_folder, max_nbytes, mmap_mode, prefer, require, inner_max_num_threads : optional
        As in joblib.
    return_as, timeout, deadline, pre_dispatch, batch_size, max_pending_results, on_error : optional
        Keys that joblib has no such context for.
    retries, progress, strict, forward_logs, seed, trace, max_jobs, backends : optional
        More of them.
    **backend_params
        Constructor parameters of the backend that is chosen.

    Raises
    ------
    ConfigError
        A value is wrong; raised here, not later.

    Examples
    --------
    >>> with parallel_config(n_jobs=2, verbose=5):
    ...     get_config().n_jobs
    2
    """

    def __init__(
        self,
        backend: object = None,
        *,
        n_jobs: int | Unset | None = UNSET,
        verbose: int | Unset = UNSET,
        temp_folder: str | PathLike[str] | Unset | None = UNSET,
        max_nbytes: int | str | Unset | None = UNSET,
        mmap_mode: str | Unset | None = UNSET,
        prefer: str | Unset | None = UNSET,
        require: str | Unset | None = UNSET,
        inner_max_num_threads: int | Unset | None = UNSET,
        return_as: str | Unset = UNSET,
        timeout: float | Unset | None = UNSET,
        deadline: float | Unset | None = UNSET,
        pre_dispatch: int | str | Unset = UNSET,
        batch_size: int | str | Unset = UNSET,
        max_pending_results: int | Unset | None = UNSET,
        on_error: str | Unset = UNSET,
        retries: int | Unset = UNSET,
        progress: bool | str | Callable[..., object] | Unset = UNSET,
        strict: bool | Unset = UNSET,
        forward_logs: bool | Unset = UNSET,
        seed: int | Unset | None = UNSET,
        trace: str | PathLike[str] | Unset | None = UNSET,
        max_jobs: int | Unset | None = UNSET,
        backends: Mapping[str, Mapping[str, object]] | Unset = UNSET,
        **backend_params: object,
    ) -> None:
        values = dict(locals())
        for name in ("self", "backend_params"):
            del values[name]
        __tracebackhide__ = True
        self._open(values, backend_params)

    def _open(self, values: Mapping[str, object], backend_params: Mapping[str, object]) -> None:
        __tracebackhide__ = True
        self._layer = process.checked(
            process.really_said(values), backend_params, caller_origin("parallel_config")
        )
        self._layer.owner = ref(self)
        state.push(self._layer)  # until the first block: it may never come
        if backend_params:
            try:
                self._check_params(backend_params)
            except BaseException:
                self.unregister()
                raise

    def _check_params(self, backend_params: Mapping[str, object]) -> None:
        """A misspelt key must not wait, as a parameter of the backend, until somebody runs tasks."""
        from parallelcfg.backends.params import UnknownParam, WrongParam
        from parallelcfg.backends.registry import check_params, default_backend

        config = state.in_force()
        said = self._layer.get("backend")  # the parameters are meant for it, also where it is overruled
        chosen = (config.backend if said is None else said.value) or default_backend()
        try:
            check_params(chosen, backend_params)
        except (UnknownParam, WrongParam) as error:
            raise error.placed(config, chosen) from None

    def __enter__(self) -> Config:
        state.remove(self._layer)
        state.push(self._layer.again())
        try:
            return get_config()
        except BaseException:
            self.unregister()  # Python calls no __exit__ after a failed __enter__
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.unregister()

    def unregister(self) -> None:
        """End it. What was opened since stays in force; calling it again does nothing."""
        state.remove(state.latest(self))


class parallel_backend(parallel_config):  # noqa: N801 - joblib's name
    """The older form of `parallel_config`, with all CPUs by default.

    Parameters
    ----------
    backend : str or object
        As in `parallel_config`.
    n_jobs : int
        As in `parallel_config`, but -1 by default.
    inner_max_num_threads : int, optional
        As in `parallel_config`.
    **backend_params
        Constructor parameters of the backend.

    Examples
    --------
    >>> with parallel_backend("threading"):
    ...     get_config().n_jobs
    -1
    """

    def __init__(
        self,
        backend: object,
        n_jobs: int | None = -1,
        inner_max_num_threads: int | None = None,
        **backend_params: object,
    ) -> None:
        threads = UNSET if inner_max_num_threads is None else inner_max_num_threads
        super().__init__(backend, n_jobs=n_jobs, inner_max_num_threads=threads, **backend_params)  # type: ignore[arg-type]  # names of keys among them are keys


def explain(key: str, config: object = None) -> Explanation:
    """Why a key has the value that it has: the winner, every shadowed value, and the limit that clamped it.

    Parameters
    ----------
    key : str
        A key, dotted for what stands inside a table: ``"backends.dask.address"``.
    config : Config or Parallel, optional
        Explain this configuration, not the one in force.

    Raises
    ------
    ConfigError
        There is no such key.
    TypeError
        ``key`` is no text, or ``config`` is neither a `Config` nor has one.

    Examples
    --------
    >>> with parallel_config(verbose=10):
    ...     explain("verbose").value
    10
    """
    from parallelcfg.config.explanation import explain_key

    if not isinstance(key, str):
        raise TypeError(f"explain() takes the name of a key as text, got {key!r}")
    chosen = get_config() if config is None else getattr(config, "config", config)
    if not isinstance(chosen, Config):
        raise TypeError(f"explain() takes a Config or a Parallel, got {config!r}")
    return explain_key(key, chosen, process.current().resolver.reader)


@contextmanager
def using_machine(machine: Machine) -> Iterator[None]:
    """Resolve on a made-up machine, without what was set in this process. For tests.

    Parameters
    ----------
    machine : Machine
        Where files and environment come from.
    """
    before = process.replaced(process.Process(machine))
    try:
        with entered(None):
            yield
    finally:
        process.replaced(before)
