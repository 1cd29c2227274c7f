"""Constructor parameters of the built-in backends: a wrong one is told before any worker starts."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import TYPE_CHECKING, NamedTuple

from parallelcfg.config.entries import problem
from parallelcfg.config.environ import spelt_in_table
from parallelcfg.config.process import current
from parallelcfg.config.spelling import join, shorten
from parallelcfg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from parallelcfg.config.places import Reader
    from parallelcfg.config.snapshot import Config, Sourced
    from parallelcfg.errors import Problem

__all__ = [
    "AMOUNT",
    "CALLABLE",
    "COUNT",
    "FLAG",
    "LIST",
    "NUMBER",
    "SECONDS",
    "TABLE",
    "TEXT",
    "VARIABLE",
    "Kind",
    "UnknownParam",
    "WrongParam",
    "checked",
    "checked_each",
]


class Kind(NamedTuple):
    """What a parameter takes.

    Parameters
    ----------
    expected : str
        For people.
    fits : callable
        Whether a value is one of these.
    """

    expected: str
    fits: Callable[[object], bool]


def _or_none(expected: str, fits: Callable[[object], bool]) -> Kind:
    return Kind(f"{expected} or none", lambda value: value is None or fits(value))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not isnan(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


TEXT = _or_none("text", lambda value: isinstance(value, str))
SECONDS = _or_none("seconds > 0", lambda value: _is_number(value) and value > 0)  # type: ignore[operator]
AMOUNT = _or_none("an integer >= 0", lambda value: _is_whole(value) and value >= 0)  # type: ignore[operator]
COUNT = _or_none("an integer >= 1", lambda value: _is_whole(value) and value >= 1)  # type: ignore[operator]
TABLE = _or_none("a table", lambda value: isinstance(value, Mapping))
VARIABLE = Kind("text in quotes, or a number", lambda value: isinstance(value, str) or _is_number(value))
CALLABLE = _or_none("a callable", callable)
LIST = _or_none("a list", lambda value: isinstance(value, (list, tuple)))
NUMBER = Kind("a number", _is_number)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))


class UnknownParam(TypeError):
    """A backend has no such parameter.

    Parameters
    ----------
    name : str
        The parameter.
    message : str
        What is wrong.
    accepted : tuple of str
        What the backend has instead.
    """

    def __init__(self, name: str, message: str, accepted: tuple[str, ...]) -> None:
        super().__init__(name, message, accepted)
        self.name, self.message, self.accepted = name, message, accepted

    def __str__(self) -> str:
        return self.message

    def placed(self, config: Config, backend: object) -> Exception:
        """An error of the configuration, if a table there has it; else Python's own, for a keyword."""
        said = _said(config, join(("backends", str(backend), self.name)))
        if said is None:
            return TypeError(self.message)
        return ConfigError([self.at(said, current().resolver.reader)])

    def at(self, said: Sourced, reader: Reader) -> Problem:
        """The same as a problem at the place where it was said."""
        hint = spelt_in_table(said.origin.variable or "", self.name, self.accepted)
        return problem(said.origin, self.message, self.name, reader, value=said.value, suggestion=hint)


def _said(config: Config, *names: str) -> Sourced | None:
    """Who said a parameter, or something in the table that it is."""
    below = tuple(f"{name}." for name in names)
    found = (said for key, said in config.sources.items() if key in names or key.startswith(below))
    return next(found, None)


class WrongParam(ValueError):
    """A backend's parameter has a value that it can't have.

    Parameters
    ----------
    name : str
        The parameter; dotted, for what a table has.
    value : object
        Its value.
    expected : str
        What it takes.
    path : tuple of str, optional
        The name's parts, where it is dotted.
    """

    def __init__(self, name: str, value: object, expected: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(name, value, expected, path)
        self.name, self.value, self.expected = name, value, expected
        self.path = path or (name,)

    def __str__(self) -> str:
        return f"{self.name}={shorten(self.value)}: expected {self.expected}"

    def at(self, said: Sourced, reader: Reader) -> Problem:
        """The same as a problem at the place where the value was said."""
        message = str(self) if said.origin.variable is None else f"expected {self.expected}"
        return problem(said.origin, message, self.name, reader, value=self.value, at_value=True)

    def placed(self, config: Config, backend: object) -> ConfigError:
        """The same as an error of the configuration that has the value."""
        names = join(("backend_params", *self.path)), join(("backends", str(backend), *self.path))
        said = _said(config, *names)
        return ConfigError([str(self) if said is None else self.at(said, current().resolver.reader)])


def checked(kind: Kind, **said: object) -> None:
    """Refuse values that are not of a kind.

    Parameters
    ----------
    kind : Kind
        What is expected.
    **said
        Parameters by name.

    Raises
    ------
    WrongParam
        One is not.

    Examples
    --------
    >>> checked(SECONDS, idle_worker_timeout=None)
    >>> checked(SECONDS, idle_worker_timeout=-3)
    Traceback (most recent call last):
    parallelcfg.backends.params.WrongParam: idle_worker_timeout=-3: expected seconds > 0 or none
    """
    for name, value in said.items():
        if not kind.fits(value):
            raise WrongParam(name, value, kind.expected)


def checked_each(kind: Kind, name: str, table: Mapping[str, object] | None) -> None:
    """Refuse a table if something in it is not of a kind.

    Parameters
    ----------
    kind : Kind
        What is expected of each value.
    name : str
        The parameter.
    table : mapping or None
        Its value.

    Raises
    ------
    WrongParam
        One is not, or ``table`` is none.

    Examples
    --------
    >>> checked_each(VARIABLE, "env", {"RETRIES": 3})
    >>> checked_each(VARIABLE, "env", {"DEBUG": False})
    Traceback (most recent call last):
    parallelcfg.backends.params.WrongParam: env.DEBUG=False: expected text in quotes, or a number
    """
    checked(TABLE, **{name: table})
    for key, value in (table or {}).items():
        if not kind.fits(value):
            path = name, str(key)
            raise WrongParam(join(path), value, kind.expected, path)
