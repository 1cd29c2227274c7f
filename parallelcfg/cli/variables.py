"""The environment variables as the `env` command tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallelcfg.config.context import explain
from parallelcfg.config.environ import RESERVED, read, variable_name
from parallelcfg.config.keys import KEYS
from parallelcfg.config.process import current
from parallelcfg.config.spelling import join
from parallelcfg.config.suggest import suggest

if TYPE_CHECKING:
    from parallelcfg.config.snapshot import Config

__all__ = ["variables"]


def variables(config: Config) -> list[dict[str, object]]:
    """Every variable that sets a key, those that are no keys, and those that nobody knows.

    Parameters
    ----------
    config : Config
        What is in force.
    """
    environ = current().resolver.machine.environ
    said, unknown = read(environ, KEYS, [key.name for key in KEYS.values() if key.is_table])
    named = {variable_name((key,)): (key,) for key in KEYS} | {one.name: one.path for one in said}
    rows = [_row(name, path, environ.get(name), config) for name, path in named.items()]
    rows += [
        {"name": name, "key": None, "type": text, "now": environ.get(name), "overrides": None}
        for name, text in RESERVED.items()
    ]
    for name in unknown:
        near = suggest(name, [*named, *RESERVED])
        text = f"unknown; {near}" if near else "unknown"
        rows.append({"name": name, "key": None, "type": text, "now": environ[name], "overrides": None})
    return rows


def _row(name: str, path: tuple[str, ...], now: str | None, config: Config) -> dict[str, object]:
    key = join(path)
    kind = KEYS[key].expected if key in KEYS else "whatever the backend takes"
    return {
        "name": name,
        "key": key,
        "type": kind,
        "now": now,
        "overrides": _effect(name, key, config) if now else "",
    }


def _effect(name: str, key: str, config: Config) -> str:
    """What a variable that is set hides, or what hides it."""
    if key not in config.sources:
        return ""
    explanation = explain(key, config)
    steps = explanation.steps
    place = next((index for index, step in enumerate(steps) if step.env == name), None)
    if place is None:
        return ""
    below = [step for step in steps[place + 1 :] if step.layer != "default" and step.verdict != "limit"]
    hidden = ", ".join(f"{explanation.shown(step.value)} of {step.origin or step.layer}" for step in below)
    if place == 0:
        return hidden
    return f"overridden by {steps[0].layer}"
