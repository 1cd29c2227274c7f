"""`KEYS`: what everybody needs to know of each key.

The facts come from the declaration in `settings` by way of `declared`, so that the common case, plain values
of the right type, needs no pydantic: importing it would take longer than starting the workers. Whatever is
not plainly right goes to pydantic, which validates it or says what is wrong.
"""

from __future__ import annotations

from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from parallelcfg.config.declared import DECLARED
from parallelcfg.config.snapshot import Origin, Sourced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parallelcfg.config.facts import Facts
    from parallelcfg.config.fields import Field

__all__ = ["DEFAULTS", "KEYS", "Key"]

_TYPES = {"bool": bool, "int": int, "float": float, "str": str}


class Key:
    """One key of the configuration.

    Parameters
    ----------
    name : str
        Its name.
    facts : Facts
        Facts of its declaration.

    Attributes
    ----------
    default : object
        Its default in canonical form.
    nullable : bool
        Whether it may be null, which files and variables spell ``"none"``.
    is_path : bool
        Whether its value names a file or folder.
    is_table : bool
        Whether it is a table of tables: ``backends``.
    scalars : frozenset of type
        The types that the text of an environment variable may turn into.
    """

    def __init__(self, name: str, facts: Facts) -> None:
        self.name = name
        self.default = facts.default
        self.nullable = facts.nullable
        self.is_path = facts.is_path
        self.is_table = facts.is_table
        self.scalars = frozenset(_TYPES[scalar] for scalar in facts.scalars)
        self._facts = facts

    def __repr__(self) -> str:
        return f"Key({self.name!r})"

    @cached_property
    def _field(self) -> Field:
        from parallelcfg.config.fields import FIELDS

        return FIELDS[self.name]

    @property
    def help(self) -> str:
        """What it means."""
        return self._field.help

    @property
    def expected(self) -> str:
        """What its values are, as a phrase."""
        return self._field.expected

    @property
    def schema(self) -> dict[str, object]:
        """JSON Schema of the values that a file may hold."""
        return self._field.schema

    @property
    def words(self) -> tuple[str, ...]:
        """Those of its values that are words, for completion.

        Examples
        --------
        >>> KEYS["prefer"].words, KEYS["verbose"].words
        (('processes', 'threads', 'none'), ())
        """
        if self.name == "backend":
            from parallelcfg.backends.registry import known_backends

            return known_backends()
        schema: Any = self.schema
        listed = [word for one in schema.get("anyOf", [schema]) for word in one.get("enum", [])]
        return tuple(listed or (["true", "false"] if schema.get("type") == "boolean" else []))

    def spell(self, value: object) -> object:
        """A canonical value the way people write it, for example ``"1M"``."""
        return self._field.spell(value) if self._facts.spelt else value

    def validate(self, value: object) -> object:
        """The value in its canonical form.

        Raises
        ------
        ValueError
            With a text that says what was expected.
        """
        if self.is_plainly_right(value) or (self._facts.function and callable(value)):
            return value
        return self._field.validate(value)

    def is_plainly_right(self, value: object) -> bool:
        """Whether the value is valid, and its own canonical form, by the plain facts of the declaration.

        What is said of such a value is the same on every machine and at every time.
        """
        facts = self._facts
        if type(value) is str:
            return value in facts.words
        if type(value) is int:
            least = facts.least
            return least is not None and least <= value <= facts.most and value not in facts.never
        if type(value) is bool:
            return facts.boolean
        return value is None and facts.nullable


#: Every key by its name, in the order of the declaration.
KEYS: Mapping[str, Key] = MappingProxyType({name: Key(name, facts) for name, facts in DECLARED.items()})

#: Every key's default, as the lowest layer.
DEFAULTS: Mapping[str, Sourced] = MappingProxyType(
    {name: Sourced(key.default, Origin("default")) for name, key in KEYS.items()}
)
