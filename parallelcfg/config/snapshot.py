"""What a resolved configuration is: frozen values, each with the place that it came from.

Standard library only: a worker process unpickles these without importing pydantic. The keys, their types
and defaults are declared in `settings`; a test holds the fields of `Config` against that declaration.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LAYERS", "UNSET", "Config", "Origin", "Scope", "Sourced", "Unset"]

#: Names of the layers, lowest precedence first. What a system file locks stands above all of them.
LAYERS = (
    "default",
    "system",
    "user",
    "project",
    "environment",
    "set_config",
    "command_line",
    "parallel_config",
    "call",
    "locked",
)


class Unset(enum.Enum):
    """The type of `UNSET`, what public signatures say where None is a value of its own."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return self.value


UNSET: Final = Unset.UNSET


class Origin(NamedTuple):
    """Where a value was said.

    Parameters
    ----------
    layer : str
        One of `LAYERS`.
    file : str or None
        The TOML file, or the source file of the code that said it.
    line : int or None
        Line in that file, from 1. For TOML files it is found only when someone asks (`explain`, errors).
    column : int or None
        Column of the key in that line, from 1.
    variable : str or None
        Name of the environment variable.
    path : tuple of str
        The key's path inside a TOML file, from its root: what is needed to find line and column later.
    """

    layer: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    variable: str | None = None
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The place without looking into files: variable, file (and line of code), or the layer."""
        if self.variable is not None:
            return self.variable
        if self.file is None:
            return self.layer.replace("_", " ")
        return self.file if self.line is None else f"{self.file}:{self.line}"


class Sourced(NamedTuple):
    """A value of a key with its origin, and everything that it shadows, highest layer first.

    The shadowed values shadow nothing themselves; the last one is the default of a key that has one.
    """

    value: object
    origin: Origin
    shadowed: tuple[Sourced, ...] = ()

    @property
    def history(self) -> tuple[Sourced, ...]:
        """The value itself, then everything that it shadows; each without shadows of its own."""
        return (Sourced(self.value, self.origin), *self.shadowed)


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Config(NamedTuple):
    """Every setting in force, frozen: what a `Parallel` call, its threads and its workers obey.

    Attributes carry the names of the configuration keys and validated values in canonical types:
    ``max_nbytes`` is an integer number of bytes or None, ``temp_folder`` an absolute path or None,
    ``backends`` maps a backend's name to its constructor parameters.

    Two further fields are no keys: ``backend_params`` are constructor parameters that code passed by
    keyword, meant for whichever backend is chosen, and ``sources`` has the origin of every value that
    somebody said, by its dotted key (``"n_jobs"``, ``"backends.dask.address"``, ``"backend_params.env"``).
    """

    backend: object
    n_jobs: int | None
    verbose: int
    temp_folder: str | None
    max_nbytes: int | None
    mmap_mode: str | None
    prefer: str | None
    require: str | None
    inner_max_num_threads: int | None
    return_as: str
    timeout: float | None
    deadline: float | None
    pre_dispatch: int | str
    batch_size: int | str
    max_pending_results: int | None
    on_error: str
    retries: int
    progress: bool | str | Callable[..., object]
    strict: bool
    forward_logs: bool
    seed: int | None
    trace: str | None
    max_jobs: int | None
    backends: Mapping[str, Mapping[str, object]]
    backend_params: Mapping[str, object] = _NOTHING
    sources: Mapping[str, Sourced] = _NOTHING

    def __reduce__(self) -> tuple[object, ...]:
        values = [getattr(self, name) for name in _FIELDS]
        backends = {name: dict(table) for name, table in self.backends.items()}
        return _restore, (*values, backends, dict(self.backend_params), dict(self.sources))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"{name} = {value!r}: a Config is frozen; set_config() and parallel_config() change settings"
        )

    def __repr__(self) -> str:
        """What somebody said; the rest is as by default."""
        said = [f"{name}={getattr(self, name)!r}" for name in _FIELDS if name in self.sources]
        tables = {name: dict(table) for name, table in self.backends.items()}
        said += [f"backends={tables!r}"] * bool(tables)
        said += [f"backend_params={dict(self.backend_params)!r}"] * bool(self.backend_params)
        return f"Config({', '.join(said)})"

    def _repr_html_(self) -> str:
        from parallelcfg.config.html import config_html

        return config_html(self)

    def for_tasks(self) -> Config:
        """What a task inherits: the settings that describe work, without those that describe one call.

        ``n_jobs`` and ``backend`` start afresh in a task, unless they are locked, and so do the parameters
        passed to the call's own backend. ``return_as`` and ``on_error`` are a contract between a call and its
        caller: where the call itself said them, a task sees what they shadowed. Objects that only mean
        something in this process (a progress callback, a cluster client) stay behind.

        Returns
        -------
        Config
            Always picklable.
        """
        sources = {
            key: inherited
            for key, said in self.sources.items()
            if (inherited := _inherited(key, said)) is not None
        }
        changed = {
            key: sources[key].value if key in sources else said.history[-1].value
            for key, said in self.sources.items()
            if key in _STARTS_AFRESH or key in _CALLERS_OWN or key == "progress"
        }
        backends = {
            name: MappingProxyType({key: value for key, value in table.items() if _is_plain(value)})
            for name, table in self.backends.items()
        }
        return self._replace(
            **changed,  # type: ignore[arg-type]  # keyed by field name, values validated before
            backends=MappingProxyType(backends),
            backend_params=_NOTHING,
            sources=MappingProxyType(sources),
        )


_STARTS_AFRESH = frozenset({"n_jobs", "backend"})
_CALLERS_OWN = frozenset({"return_as", "on_error"})
_FIELDS = tuple(name for name in Config._fields if name not in {"backends", "backend_params", "sources"})


def _restore(*values: Any) -> Config:
    *plain, backends, params, sources = values
    return Config(
        **dict(zip(_FIELDS, plain, strict=True)),
        backends=MappingProxyType({name: MappingProxyType(table) for name, table in backends.items()}),
        backend_params=MappingProxyType(params),
        sources=MappingProxyType(sources),
    )


def _inherited(key: str, said: Sourced) -> Sourced | None:
    """The part of a value's history that a task may see; None where it sees none of it."""
    if key.startswith("backend_params."):
        return None
    history = [one for one in said.history if _is_plain(one.value)]
    if key in _STARTS_AFRESH:
        history = [one for one in history if one.origin.layer == "locked"]
    elif key in _CALLERS_OWN:
        history = [one for one in history if one.origin.layer != "call"]
    if not history or history[0].origin.layer == "default":
        return None
    return Sourced(history[0].value, history[0].origin, tuple(history[1:]))


def _is_plain(value: object) -> bool:
    """Whether a value could also stand in a file: such values mean the same in every process."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, (str, int, float, bool))


class Scope(NamedTuple):
    """What a task inherits from the call that runs it, in whatever thread, process or host.

    Parameters
    ----------
    config : Config
        The base of nested calls, in place of files, environment and `set_config`.
    depth : int
        How many parallel calls surround the task: 1 in a task of the outermost call. A sequential call adds
        none.
    cpus : int
        CPU budget of the task: what ``n_jobs=-1`` and inner threads mean there.
    backend : str or None
        Who runs nested calls for which nobody names a backend; None: threads, below them nobody.
    unpacking : bool
        Whether the task is on its way into a worker still: what calls then is a module that is imported for
        it.
    """

    config: Config
    depth: int
    cpus: int
    backend: str | None = None
    unpacking: bool = False
