"""Layers -> validated `Config`: every problem of every layer in one exception.

::

    files, environment ──entries──> check ──layer──┐
    set_config, command line (checked before) ─────┼─ merge ──> base Config   (cached while nothing changes)
                                                   │
    parallel_config, Parallel(...) ── check ───────┴─ extend ─> Config

Each layer is checked by itself, so that a wrong value is reported even while a higher layer masks it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from parallelcfg.config.entries import Entry, check
from parallelcfg.config.keys import DEFAULTS, KEYS
from parallelcfg.config.layers import CodeLayer, merge, nest, split
from parallelcfg.config.snapshot import Config, Origin, Sourced
from parallelcfg.config.surroundings import Surroundings
from parallelcfg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from parallelcfg.config.machine import Machine
    from parallelcfg.config.places import Reader
    from parallelcfg.config.surroundings import Seen

__all__ = ["Base", "Recent", "Resolver", "check_code", "extend"]

_TABLES = tuple(name for name, key in KEYS.items() if key.is_table)
_PLAIN_KEYS = tuple(name for name in KEYS if name not in _TABLES)
_PLAIN_SET = frozenset(_PLAIN_KEYS)
#: So many calls are remembered.
_KEPT = 64


class Base(NamedTuple):
    """What the layers below the code's contexts come to.

    Parameters
    ----------
    config : Config
        The settings.
    notices : tuple of Problem
        What was ignored or masked: warnings, or errors under ``strict``.
    has_locks : bool
        Whether the system's file locks something.
    """

    config: Config
    notices: tuple[Problem, ...]
    has_locks: bool


class _Resolved(NamedTuple):
    """What was resolved last, and from what."""

    process: tuple[Mapping[str, Sourced], ...]
    seen: Seen
    base: Base


class Resolver:
    """Resolves what stands outside of contexts, and remembers it until something changes.

    Parameters
    ----------
    machine : Machine
        Where files and environment come from. Files are read once in a resolver's life.
    """

    def __init__(self, machine: Machine) -> None:
        self.surroundings = Surroundings(machine)
        # One reference, so that threads that resolve at the same time see all of it or nothing
        self._latest: _Resolved | None = None

    @property
    def machine(self) -> Machine:
        """Where files and environment come from."""
        return self.surroundings.machine

    @property
    def reader(self) -> Reader:
        """Finds the places that origins name."""
        return self.surroundings.reader

    def base(self, process: tuple[Mapping[str, Sourced], ...]) -> Base:
        """Resolve the files, the environment and the process-wide layers of the code.

        Parameters
        ----------
        process : tuple of mapping
            Checked layers of `set_config` and the command line, lowest first.

        Raises
        ------
        ConfigError
            With every problem of every layer.
        """
        latest = self._latest
        if latest is not None and process is latest.process:
            seen = self.surroundings.still(latest.seen)
            if seen is latest.seen:
                return latest.base
            if seen is not None:
                self._latest = latest._replace(seen=seen)
                return latest.base
        gathered = self.surroundings.gather()
        if gathered.problems:
            raise ConfigError(tuple(gathered.problems))
        locked = [one.layer for one in gathered.layers if one.locked]
        chain: Mapping[str, Sourced] = {}
        for layer in (*(one.layer for one in gathered.layers if not one.locked), *process, *locked):
            chain = merge(chain, layer, DEFAULTS)
        base = Base(build(chain), tuple(gathered.notices), any(locked))
        self._latest = _Resolved(process, gathered.seen, base)
        return base


def build(chain: Mapping[str, Sourced]) -> Config:
    """Freeze merged layers."""
    values = {name: (chain.get(name) or DEFAULTS[name]).value for name in _PLAIN_KEYS}
    return Config(
        **values,  # type: ignore[arg-type]  # keyed by field name, values validated
        backends=_tables(chain),
        backend_params=MappingProxyType(nest(chain, "backend_params")),
        sources=MappingProxyType(dict(chain)),
    )


def extend(config: Config, layer: Mapping[str, Sourced]) -> Config:
    """Put one more checked layer on top of a configuration."""
    below = config.sources
    if "backend" in layer and layer["backend"].value != config.backend:
        # Parameters are meant for the backend that they came with, which a lock may overrule
        chosen = below.get("backend")
        if chosen is not None and chosen.origin.layer == "locked":
            layer = _without_params(layer)
        else:
            below = _without_params(below)
    chain = merge(below, layer, DEFAULTS)
    changed: dict[str, object] = {name: chain[name].value for name in layer if name in _PLAIN_SET}
    says_tables = len(changed) < len(layer)
    if says_tables:
        changed["backends"] = _tables(chain)
    if says_tables or config.backend_params:
        changed["backend_params"] = MappingProxyType(nest(chain, "backend_params"))
    return config._replace(**changed, sources=MappingProxyType(chain))  # type: ignore[arg-type]  # as in build


def _without_params(layer: Mapping[str, Sourced]) -> dict[str, Sourced]:
    return {key: said for key, said in layer.items() if not key.startswith("backend_params.")}


class Recent:
    """What the latest calls came to: a loop calls from the same line with the same arguments over and over.

    Only values that are plainly right are kept, whose meaning depends on nothing but themselves.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, tuple[Config, Config]] = {}

    def key(self, values: Mapping[str, object], origin: Origin) -> Hashable | None:
        """What these values are found by; None where the result must not be kept."""
        if not all(name in KEYS and KEYS[name].is_plainly_right(value) for name, value in values.items()):
            return None
        return origin, tuple(values), tuple(map(type, values.values())), *values.values()

    def find(self, key: Hashable, below: Config) -> Config | None:
        """What the values made of the configuration ``below``, if that is still known."""
        before, config = self._found.get(key, (None, None))
        return config if before is below else None

    def keep(self, key: Hashable, below: Config, config: Config) -> None:
        """Remember it."""
        if len(self._found) >= _KEPT:
            self._found.clear()
        self._found[key] = below, config


def _tables(chain: Mapping[str, Sourced]) -> Mapping[str, Mapping[str, object]]:
    tables = nest(chain, "backends")
    return MappingProxyType({name: MappingProxyType(table) for name, table in tables.items()})  # type: ignore[arg-type]  # checked: tables of tables


def check_code(
    values: Mapping[str, object], params: Mapping[str, object], origin: Origin, resolver: Resolver
) -> CodeLayer:
    """Check what code said.

    Parameters
    ----------
    values : mapping
        Values by dotted key.
    params : mapping
        Constructor parameters for whichever backend is chosen; taken as they are.
    origin : Origin
        Where the code stands.
    resolver : Resolver
        Knows the machine.

    Raises
    ------
    ConfigError
        With every problem.
    """
    __tracebackhide__ = True
    entries = [Entry(split(name), value, origin) for name, value in values.items()]
    checked = check(entries, resolver.machine, resolver.reader)
    if checked.problems:
        raise ConfigError(tuple(checked.problems))
    layer = CodeLayer(checked.layer)
    layer.update((f"backend_params.{name}", Sourced(value, origin)) for name, value in params.items())
    return layer
