"""`Explanation`: the way of one key through the layers, as an object, text, HTML and JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import date, time
from typing import TYPE_CHECKING

from parallelcfg.config import policy
from parallelcfg.config.keys import DEFAULTS, KEYS
from parallelcfg.config.layers import nest
from parallelcfg.config.spelling import shorten, to_toml
from parallelcfg.config.suggest import suggest
from parallelcfg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parallelcfg.config.places import Reader
    from parallelcfg.config.snapshot import Config, Sourced

__all__ = ["Explanation", "Step", "explain_all", "explain_key", "plain"]


@dataclass(frozen=True)
class Step:
    """What one layer says about a key.

    Parameters
    ----------
    layer : str
        The layer's name.
    value : object
        What it says.
    origin : str
        The place as text; empty for a default.
    file : str or None
        The configuration file, or the source file of the code.
    line, column : int or None
        Where in that file.
    env : str or None
        The environment variable.
    verdict : str
        What became of it: ``"in force"``, ``"shadowed"``, ``"clamped"``, ``"locked"``, or ``"limit"`` for the
        ceiling that clamped.
    """

    layer: str
    value: object
    origin: str
    file: str | None
    line: int | None
    column: int | None
    env: str | None
    verdict: str


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why a key has the value that it has.

    Its text form is meant for a terminal, and notebooks show a table.

    Parameters
    ----------
    key : str
        The dotted key.
    value : object
        The value in force, after limits.
    default : object
        The value without any layer.
    steps : tuple of Step
        What every layer says, highest first, the default last.
    note : str
        What else decided, for example a ceiling.
    parts : tuple of Explanation
        For a table, the explanations of what stands in it.
    """

    key: str
    value: object
    default: object
    steps: tuple[Step, ...]
    note: str = ""
    parts: tuple[Explanation, ...] = field(default=(), repr=False)

    @property
    def type(self) -> str:
        """What values the key takes."""
        return _type(self.key)

    @property
    def winner(self) -> Step:
        """The step whose value counts."""
        return self.steps[0]

    @property
    def shadowed(self) -> tuple[Step, ...]:
        """What the winner hides, highest layer first."""
        return tuple(step for step in self.steps[1:] if step.verdict == "shadowed")

    def __str__(self) -> str:
        if self.parts:
            return "\n".join(map(str, self.parts))
        head = f"{self.key} = {self.shown(self.value)}"
        rows = [self._cells(step) for step in self.steps]
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        widths.append(max((len(row[2]) for row in rows if row[3]), default=0))
        lines = [
            f"  {layer:<{widths[0]}}  {value:>{widths[1]}}   {place:<{widths[2]}}   {verdict}".rstrip()
            for layer, value, place, verdict in rows
        ]
        return "\n".join([f"{head}   ({self.note})" if self.note else head, *lines])

    __repr__ = __str__  # who asks at a prompt wants to read it

    def shown(self, value: object) -> str:
        """A value of this key for people: as TOML, sizes with their units, null for None."""
        return "null" if value is None else to_toml(self.spelt(value))

    def spelt(self, value: object) -> object:
        """A value of this key the way people write it, for example ``"1M"``."""
        return KEYS[self.key].spell(value) if self.key in KEYS else value

    def _cells(self, step: Step) -> tuple[str, str, str, str]:
        verdict = "" if step.verdict in {"in force", "limit"} or step.layer == "default" else step.verdict
        layer = "max_jobs" if step.verdict == "limit" else step.layer
        return layer, self.shown(step.value), step.origin, verdict

    def _repr_html_(self) -> str:
        from parallelcfg.config.html import explanation_html

        return explanation_html(self)

    def as_dict(self) -> dict[str, object]:
        """The explanation as plain data, the form of the command's JSON output."""
        winner = self.winner
        return {
            "key": self.key,
            "value": plain(self.value),
            "default": plain(self.default),
            "type": self.type,
            "layer": winner.layer,
            "origin": winner.origin,
            "file": winner.file,
            "line": winner.line,
            "column": winner.column,
            "env": winner.env,
            "locked": winner.layer == "locked",
            "note": self.note,
            "shadowed": [{**asdict(step), "value": plain(step.value)} for step in self.steps[1:]],
        }


def plain(value: object) -> object:
    """A value for JSON, which has neither dates nor nan: they become text, as TOML writes them.

    Objects that only code can say become their ``repr``.
    """
    try:
        text = json.dumps(value, default=_as_text)
    except (TypeError, ValueError):
        return shorten(value)
    return json.loads(text, parse_constant=lambda name: to_toml(float(name)))


def _as_text(value: object) -> str:
    return str(value) if isinstance(value, (date, time)) else shorten(value)


def explain_key(key: str, config: Config, reader: Reader) -> Explanation:
    """Explain one key of a configuration.

    Parameters
    ----------
    key : str
        The dotted key.
    config : Config
        What is in force.
    reader : Reader
        Gives the texts of configuration files, for positions.

    Raises
    ------
    ConfigError
        There is no such key.
    """
    if key == "n_jobs":
        return _jobs(config, reader)
    said = config.sources.get(key) or DEFAULTS.get(key)
    if said is None or _below(key, config):
        return _table(key, config, reader)
    steps = _steps(said, reader)
    default = DEFAULTS[key].value if key in DEFAULTS else None
    return Explanation(key, said.value, default, steps)


def explain_all(config: Config, reader: Reader) -> Iterator[Explanation]:
    """Explain every key, what stands in tables one by one."""
    for key in (*KEYS, "backend_params"):
        below = _below(key, config)
        for name in below or ([key] if key in KEYS else []):
            yield explain_key(name, config, reader)


def _cpus() -> int:
    from parallelcfg.config.cpus import cpu_count

    return cpu_count()


def _who_decided() -> str:
    """Which limit left fewer CPUs than the machine has, as a clause; empty where none did."""
    from parallelcfg.config.cpus import available_cpus, cpu_count

    found = available_cpus()
    if cpu_count() < found.count:
        return ", this worker's share"
    return f", decided by {found.decided.place}" if found.decided is not found.limits[0] else ""


def _below(key: str, config: Config) -> list[str]:
    return sorted(name for name in config.sources if name.startswith(f"{key}."))


def _table(key: str, config: Config, reader: Reader) -> Explanation:
    below = _below(key, config)
    if not below:
        near = suggest(key.lower().removeprefix("parallel_"), (*KEYS, *config.sources))
        about = (
            f"no layer says {key!r}"
            if key.partition(".")[0] in {"backends", "backend_params"}
            else f"unknown key {key!r}"
        )
        raise ConfigError([f"{about} ({near})" if near else about])
    parts = tuple(explain_key(name, config, reader) for name in below)
    return Explanation(key, nest(config.sources, key), None, parts[0].steps, parts=parts)


def _steps(said: Sourced, reader: Reader) -> tuple[Step, ...]:
    verdict = "locked" if said.origin.layer == "locked" else "in force"
    steps = [_step(said, reader, verdict)]
    steps += [_step(one, reader, "shadowed") for one in said.shadowed]
    return tuple(steps)


def _step(said: Sourced, reader: Reader, verdict: str) -> Step:
    origin = said.origin
    found = reader.find(origin)
    return Step(
        origin.layer, said.value, found.text, origin.file, found.line, found.column, origin.variable, verdict
    )


def _jobs(config: Config, reader: Reader) -> Explanation:
    """Explain ``n_jobs``, which is what the layers say as far as the ceiling lets it."""
    said = config.sources.get("n_jobs") or DEFAULTS["n_jobs"]
    steps = _steps(said, reader)
    wanted = config.n_jobs
    counts_down = wanted is not None and wanted < 0
    given, clamped = policy.clamp(wanted, _cpus() if counts_down else 1, config.max_jobs)
    value: object = wanted
    note = f"{given} on this machine{_who_decided()}" if counts_down else ""
    if clamped:
        value, note = given, f"clamped by max_jobs; {wanted} was asked for"
        limit = _step(config.sources["max_jobs"], reader, "limit")
        first, *below = steps  # in a task, a lock may be all there is
        steps = (replace(first, verdict="clamped"), *below[:-1], limit, *below[-1:])
    return Explanation("n_jobs", value, DEFAULTS["n_jobs"].value, steps, note)


def _type(key: str) -> str:
    return KEYS[key].expected if key in KEYS else "whatever the backend takes"
