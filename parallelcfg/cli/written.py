"""What is in force, written so that it can be read back: as a file, as variables."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from parallelcfg.config.environ import names_exactly, variable_name
from parallelcfg.config.keys import KEYS
from parallelcfg.config.layers import split
from parallelcfg.config.spelling import from_untyped_text, join, to_text, to_toml, to_untyped_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from parallelcfg.config.explanation import Explanation
    from parallelcfg.config.snapshot import Config

__all__ = ["env_lines", "toml_lines"]

_BACKEND = 2  # depth of the tables that have parameters


def toml_lines(explained: list[Explanation], *, shadowed: bool) -> Iterator[str]:
    """A file that says what is in force, with origins as comments.

    Parameters
    ----------
    explained : list of Explanation
        Every key; what stands in one table side by side.
    shadowed : bool
        Whether to tell shadowed values too, as comments.
    """
    table: tuple[str, ...] = ()
    for one in explained:
        path = split(one.key)
        above, below = (path[:_BACKEND], path[_BACKEND:]) if len(path) > 1 else ((), path)
        if above != table:
            table = above
            yield f"\n[{join(table)}]"
        if one.winner.value == {} and len(path) <= _BACKEND:
            continue  # an empty table has nothing to say
        name = join(below)
        origin = f": {one.winner.origin}" if one.winner.origin else ""
        yield f"{name} = {to_toml(one.spelt(one.winner.value))}  # {one.winner.layer}{origin}"
        if shadowed:
            yield from (
                f"# {name} = {to_toml(one.spelt(step.value))}  # {step.layer}: {step.origin}, shadowed"
                for step in one.shadowed
                if step.layer != "default"
            )


def env_lines(config: Config) -> Iterator[str]:
    """Assignments of variables, for a shell, that say a configuration.

    Parameters
    ----------
    config : Config
        What is in force.
    """
    for name, key in KEYS.items():
        if not key.is_table:
            yield _assignment((name,), to_text(key.spell(getattr(config, name))))
    tables = {name: dict(table) for name, table in config.backends.items()}
    for path, value in _shares(("backends",), tables):
        yield _assignment(path, to_untyped_text(value))


def _assignment(path: tuple[str, ...], text: str) -> str:
    return f"{variable_name(path)}={shlex.quote(text)}"


def _shares(path: tuple[str, ...], table: Mapping[str, object]) -> Iterator[tuple[tuple[str, ...], object]]:
    """What each variable has to say of a table: those of the things in it, and its own for the rest."""
    rest: dict[str, object] = {}
    for name, value in table.items():
        below = (*path, name)
        if not names_exactly(below):
            rest[name] = value
        elif isinstance(value, dict) and value and len(below) == _BACKEND:
            yield from _shares(below, value)
        elif from_untyped_text(to_untyped_text(value)) == value:
            yield below, value
        else:
            rest[name] = value  # nan or a date: values that only TOML has
    if rest:
        yield path, rest
