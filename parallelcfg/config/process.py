"""What is in force in the whole process: every thread, every notebook cell.

The one module-level state besides the ContextVar of `context`. Standard library only, like that module.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import ref

from parallelcfg.config.callers import caller_origin, warn_caller
from parallelcfg.config.snapshot import UNSET, Config, Origin
from parallelcfg.errors import ConfigError, ConfigWarning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from parallelcfg.config.layers import CodeLayer
    from parallelcfg.config.machine import Machine
    from parallelcfg.config.resolve import Recent, Resolver
    from parallelcfg.errors import ParallelWarning, Problem
    from parallelcfg.typing import Keys

__all__ = [
    "Handle",
    "Process",
    "checked",
    "current",
    "keys_only",
    "notify",
    "really_said",
    "reload",
    "replaced",
    "set_command_line",
    "set_config",
]

_NONE_IS_UNSET = frozenset({"n_jobs", "backend"})  # as in joblib


class Process:
    """The layers below all contexts, and the machine that they come from.

    Parameters
    ----------
    machine : Machine, optional
        Where files and environment come from; the real one by default.

    Attributes
    ----------
    layers : tuple of mapping
        What `set_config` and then the command line said, lowest first.
    notices : tuple of Problem
        What was ignored or masked when the layers were last resolved.
    has_locks : bool
        Whether the system's file locked something then.
    """

    def __init__(self, machine: Machine | None = None) -> None:
        self._machine = machine
        self._resolver: Resolver | None = None
        self._recent: Recent | None = None
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self.layers: tuple[CodeLayer, ...] = ()
        self.notices: tuple[Problem, ...] = ()
        self.has_locks = False

    @property
    def resolver(self) -> Resolver:
        """Resolves files and environment; made at first use, which imports pydantic."""
        resolver = self._resolver
        if resolver is None:
            from parallelcfg.config.machine import Machine
            from parallelcfg.config.resolve import Resolver

            resolver = self._resolver = Resolver(self._machine or Machine())
        return resolver

    @property
    def recent(self) -> Recent:
        """What the latest calls came to."""
        if self._recent is None:
            from parallelcfg.config.resolve import Recent

            self._recent = Recent()
        return self._recent

    def base(self) -> Config:
        """The configuration outside of all contexts."""
        found = self.resolver.base(self.layers)
        self.notices = found.notices
        self.has_locks = found.has_locks
        return found.config

    def add(self, layer: CodeLayer) -> None:
        """Put a checked layer above those of its kind; the command line stays on top."""
        from parallelcfg.config.layers import stacked

        with self._lock:
            self.layers = tuple(sorted(stacked(self.layers, layer), key=_is_command_line))

    def remove(self, layer: CodeLayer) -> None:
        """Take a layer away, if it is still there."""
        with self._lock:
            self.layers = tuple(one for one in self.layers if one is not layer)

    def forget_files(self) -> None:
        """Read files again when they are next needed, and tell again what is wrong with them."""
        self._resolver = None
        self._told.clear()

    def first_time(self, text: str) -> bool:
        """Whether a warning is told for the first time."""
        if text in self._told:
            return False
        self._told.add(text)
        return True


def _is_command_line(layer: CodeLayer) -> bool:
    return any(said.origin.layer == "command_line" for said in layer.values())


_current = Process()


def current() -> Process:
    """The process-wide state in force."""
    return _current


def replaced(process: Process) -> Process:
    """Put another state in force and return the one that was; for tests on a made-up machine."""
    global _current
    before, _current = _current, process
    return before


def really_said(values: Mapping[str, object]) -> dict[str, object]:
    """The arguments that a caller really passed: not `UNSET`, and no None where that means unset."""
    return {
        key: value
        for key, value in values.items()
        if value is not UNSET and not (value is None and key in _NONE_IS_UNSET)
    }


def checked(values: Mapping[str, object], backend_params: Mapping[str, object], origin: Origin) -> CodeLayer:
    """What code said, as a layer; see `resolve.check_code`."""
    __tracebackhide__ = True
    from parallelcfg.config.resolve import check_code

    layer = check_code(values, backend_params, origin, _current.resolver)
    if any(key.startswith("backends.") for key in layer):
        from parallelcfg.config.surroundings import unknown_backends
        from parallelcfg.config.validation import wrong_params

        reader = _current.resolver.reader
        problems = wrong_params([layer], reader)
        if problems:
            raise ConfigError(tuple(problems))
        for notice in unknown_backends([layer], reader):
            if _current.first_time(str(notice)):
                warn_caller(str(notice), ConfigWarning)
    return layer


class Handle:
    """Undoes one `set_config`, when asked to or at the end of a ``with`` block.

    Examples
    --------
    >>> from parallelcfg import get_config, set_config
    >>> with set_config(n_jobs=2):
    ...     get_config().n_jobs
    2
    >>> get_config().n_jobs
    """

    def __init__(self, layer: CodeLayer) -> None:
        self._layer = layer
        layer.owner = ref(self)

    @property
    def keys(self) -> frozenset[str]:
        """The keys that it has set."""
        return frozenset(self._layer)

    def __repr__(self) -> str:
        said = ", ".join(f"{key}={one.value!r}" for key, one in self._layer.items())
        return f"<set_config({said})>"

    def __enter__(self) -> Handle:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.reset()

    def reset(self) -> None:
        """Take the settings back; those of other calls stay. Calling it again does nothing."""
        _current.remove(self._layer)


def set_config(**keys: Unpack[Keys]) -> Handle:
    """Set keys for the whole process: every thread, every notebook cell.

    Parameters
    ----------
    **keys
        Keys and values. Contexts and arguments of `Parallel` still win over them.

    Returns
    -------
    Handle
        Its method ``reset()`` takes them back.

    Examples
    --------
    >>> from parallelcfg import get_config, set_config
    >>> handle = set_config(n_jobs=2)
    >>> get_config().n_jobs
    2
    >>> handle.reset()
    """
    __tracebackhide__ = True
    layer = checked(really_said(keys_only(keys, "set_config")), {}, caller_origin("set_config"))
    handle = Handle(layer)
    _current.add(layer)
    return handle


def set_command_line(options: Mapping[str, str]) -> None:
    """Put the options of a command line in force, spelt as text, above everything process-wide."""
    problems: tuple[Problem, ...] = ()
    for key, text in options.items():  # each a layer of its own: one may say a table, the next a key in it
        try:
            _current.add(checked({key: text}, {}, Origin("command_line")))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def reload() -> None:
    """Read the configuration files again, at the next use; also looks for the project's file anew."""
    _current.forget_files()


def keys_only(values: Mapping[str, object], function: str) -> Mapping[str, object]:
    """The same values, if all their names are keys; else the TypeError of a Python function."""
    from parallelcfg.config.keys import KEYS
    from parallelcfg.config.suggest import suggest

    for name in values:
        if name not in KEYS:
            near = suggest(name, KEYS)
            text = f"{function}() got an unexpected keyword argument {name!r}"
            raise TypeError(f"{text}; {near}" if near else text)
    return values


def notify(config: Config, message: str, category: type[ParallelWarning], *, once: bool = True) -> None:
    """Warn at the line of the caller's own code; under ``strict``, raise instead.

    Parameters
    ----------
    config : Config
        Decides on ``strict``.
    message : str
        What was substituted, ignored or masked, and what to do about it.
    category : type
        A class of warnings of this package.
    once : bool
        Say the same thing once per process only.

    Raises
    ------
    ConfigError
        Under ``strict``.
    """
    __tracebackhide__ = True
    if config.strict:
        raise ConfigError([f"{message} (an error because strict = true)"])
    if once and not _current.first_time(message):
        return
    warn_caller(message, category)
