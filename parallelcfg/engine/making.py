"""Making the chosen backend with the parameters that are in force for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from parallelcfg.backends.params import UnknownParam, WrongParam
from parallelcfg.backends.registry import NoBackend, check_params, make_backend
from parallelcfg.config.context import notify
from parallelcfg.config.layers import split
from parallelcfg.config.policy import locked
from parallelcfg.config.snapshot import Origin, Sourced
from parallelcfg.config.spelling import join
from parallelcfg.config.state import said_at
from parallelcfg.errors import BackendUnavailable, ConfigWarning

if TYPE_CHECKING:
    from parallelcfg.backends.base import Backend
    from parallelcfg.backends.select import Choice, Substitution
    from parallelcfg.config.snapshot import Config

__all__ = ["made"]


def made(config: Config, choice: Choice) -> Backend:
    """The chosen backend.

    Parameters
    ----------
    config : Config
        The settings in force.
    choice : Choice
        What `select` made of them.

    Raises
    ------
    ConfigError
        If a parameter has a value that it can't have.
    TypeError
        If the backend has no such parameter, or what was named is none.
    BackendUnavailable
        If it can't be had here. All errors say who has asked.
    """
    __tracebackhide__ = True
    try:
        return make_backend(choice.backend, _params(config, choice.backend, choice.substitution))
    except (UnknownParam, WrongParam) as error:
        raise error.placed(config, choice.backend) from None
    except NoBackend as error:
        raise TypeError(f"{error}{said_at(config, 'backend')}") from None
    except BackendUnavailable as error:
        error.add_place(said_at(config, "backend"))
        raise


def _params(config: Config, backend: object, substitution: Substitution | None) -> dict[str, object]:
    """Constructor parameters: those of the files for this name, then those that code passed."""
    if substitution is not None:
        if config.backend_params:  # a slip shows also where the backend can't be had
            check_params(substitution.asked, config.backend_params)
        return {}
    if not isinstance(backend, str):
        return dict(config.backend_params)
    params = {**config.backends.get(backend, {}), **config.backend_params}
    for key, lock in config.sources.items():
        if lock.origin.layer == "locked" and key.startswith(f"{join(('backends', backend))}."):
            _lock(config, params, key, lock)
    return params


def _lock(config: Config, params: dict[str, object], key: str, lock: Sourced) -> None:
    """Put a locked value back into parameters, over what code passed to the backend by keyword."""
    *tables, name = split(key)[2:]
    place = params
    for table in tables:
        below = place.get(table)
        place[table] = below = dict(below) if isinstance(below, Mapping) else {}
        place = below
    asked = place.get(name, lock.value)
    place[name] = lock.value
    if asked != lock.value:
        said = config.sources.get(join(("backend_params", *split(key)[2:3])))
        origin = Origin("call") if said is None else said.origin
        notify(config, locked(key, lock, Sourced(asked, origin)), ConfigWarning)
