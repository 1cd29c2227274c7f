"""What a thread or an asyncio task sees: the scope that it is in, and the contexts that are open.

The ContextVar of the package. Standard library only: workers import this.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from parallelcfg.config import policy, process
from parallelcfg.errors import ConfigError, ConfigWarning

if TYPE_CHECKING:
    from parallelcfg.config.layers import CodeLayer
    from parallelcfg.config.snapshot import Config, Scope

__all__ = [
    "agreeing",
    "current_scope",
    "entered",
    "in_force",
    "latest",
    "place_of",
    "push",
    "remove",
    "said_at",
    "settled",
]


class _State:
    """The task that a context is in, and its layers, innermost last."""

    __slots__ = ("layers", "resolved", "scope")

    def __init__(self, scope: Scope | None = None, layers: tuple[CodeLayer, ...] = ()) -> None:
        self.scope, self.layers = scope, layers
        self.resolved: tuple[Config, Config] | None = None  # the base, and what the layers made of it


_OUTSIDE = _State()
_state: ContextVar[_State] = ContextVar("parallelcfg")  # without a default, which would be shared by all


def current_scope() -> Scope | None:
    """The scope of the task that this code runs in; None outside of tasks."""
    return _state.get(_OUTSIDE).scope


class entered:  # noqa: N801 - reads as what it does, in ``with entered(scope)``
    """Resolve from a task's inherited configuration, untouched by contexts that were opened outside.

    Parameters
    ----------
    scope : Scope or None
        What the task inherits; None restores the process's own view.
    """

    __slots__ = (
        "_scope",
        "_token",
    )  # not by contextlib: every batch passes here

    def __init__(self, scope: Scope | None) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        self._token = _state.set(_State(self._scope))

    def __exit__(self, *_: object) -> None:
        _state.reset(self._token)


def push(layer: CodeLayer) -> None:
    """Put a checked layer on top of the current context's."""
    from parallelcfg.config.layers import stacked

    outer = _state.get(_OUTSIDE)
    _state.set(_State(outer.scope, stacked(outer.layers, layer)))


def latest(owner: object) -> CodeLayer | None:
    """The uppermost layer of the current context that an object can take back."""
    layers = reversed(_state.get(_OUTSIDE).layers)
    return next((one for one in layers if one.owner is not None and one.owner() is owner), None)


def remove(layer: CodeLayer | None) -> None:
    """Take a layer out of the current context, if it is there; those above it stay."""
    # Not by token: a notebook runs cells in contexts of their own, and a token is good for one only
    state = _state.get(_OUTSIDE)
    rest = tuple(one for one in state.layers if one is not layer)
    if len(rest) < len(state.layers):
        _state.set(_State(state.scope, rest))


def in_force() -> Config:
    """The configuration of the current context, not yet `settled`."""
    state = _state.get(_OUTSIDE)
    base = process.current().base() if state.scope is None else state.scope.config
    if not state.layers:
        return base
    if state.resolved is not None and state.resolved[0] is base:
        return state.resolved[1]
    from parallelcfg.config.resolve import extend

    config = base
    for layer in state.layers:
        config = extend(config, layer)
    state.resolved = (base, config)
    return config


def settled(config: Config) -> Config:
    """The configuration, if it agrees with itself; tells what was ignored on the way to it.

    Raises
    ------
    ConfigError
        Settings contradict each other, or something was ignored under ``strict``.
    """
    __tracebackhide__ = True
    agreeing(config)
    outside = process.current()
    if (outside.notices or outside.has_locks) and current_scope() is None:
        overruled = policy.overruled(config)
        if config.strict and (outside.notices or overruled):
            raise ConfigError(
                [*outside.notices, *(f"{one} (an error because strict = true)" for one in overruled)]
            )
        for notice in (*map(str, outside.notices), *overruled):
            process.notify(config, notice, ConfigWarning)
    return config


def said_at(config: Config, key: str) -> str:
    """Where a key's value was said, as errors add it: ``" (parallel.toml:3:1)"``; empty for a default.

    Finding the line may take a look into a file: for what is raised, not for what may never be read.
    """
    place = place_of(config, key)
    return f" ({place})" if place else ""


def place_of(config: Config, key: str) -> str:
    """The same without parentheses."""
    said = config.sources.get(key)
    if said is None:
        return ""
    return process.current().resolver.reader.find(said.origin).text or str(said.origin)


def agreeing(config: Config) -> None:
    """Refuse settings that contradict each other.

    Raises
    ------
    ConfigError
        They do.
    """
    __tracebackhide__ = True
    if config.prefer is None or config.require is None:
        return
    message = policy.contradiction(config)
    if message:
        from parallelcfg.config.entries import problem

        reader = process.current().resolver.reader
        raise ConfigError(
            [problem(config.sources["prefer"].origin, message, "prefer", reader, value=config.prefer)]
        )
