"""Commands that tell what is in force: `show`, `explain`, `get`, `env`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from parallelcfg.cli.output import complete_keys, echo, print_json, print_table
from parallelcfg.cli.written import env_lines, toml_lines
from parallelcfg.config.context import explain, get_config
from parallelcfg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parallelcfg.config.explanation import Explanation

__all__ = ["env_command", "explain_command", "get_command", "show_command"]


@click.command("show")
@click.option("--origin", is_flag=True, help="Where each value was said.")
@click.option("--format", "form", type=click.Choice(["table", "toml", "json", "env"]), default="table")
@click.option("--all", "shadowed", is_flag=True, help="Also the values that are shadowed.")
def show_command(origin: bool, form: str, shadowed: bool) -> None:
    """Every key in force.

    The TOML output is a valid file with origins as comments.
    """
    explained = _explain_all()
    if form == "json":
        print_json([one.as_dict() for one in explained])
    elif form == "toml":
        echo("\n".join(toml_lines(explained, shadowed=shadowed)))
    elif form == "env":
        echo("\n".join(env_lines(get_config())))
    else:
        heads = ["key", "value", "layer", *(["origin"] if origin else [])]
        print_table(heads, [row[: len(heads)] for row in _rows(explained, shadowed=shadowed)])


def _explain_all() -> list[Explanation]:
    from parallelcfg.config.explanation import explain_all
    from parallelcfg.config.process import current

    return list(explain_all(get_config(), current().resolver.reader))


def _rows(explained: list[Explanation], *, shadowed: bool) -> Iterator[list[str]]:
    for one in explained:
        note = f" ({one.note})" if one.note else ""
        value = one.shown(one.value)
        yield [one.key, value + note, one.winner.layer, one.winner.origin]
        if shadowed:
            for step in one.shadowed:
                if step.layer != "default":
                    yield ["", f"({one.shown(step.value)})", f"({step.layer})", step.origin]


@click.command("explain")
@click.argument("key", shell_complete=complete_keys)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def explain_command(key: str, form: str) -> None:
    """The winner of a key, every shadowed value with its place, and the limit that clamped it."""
    explanation = _explained(key)
    if form == "json":
        parts = explanation.parts
        print_json([one.as_dict() for one in parts] if parts else explanation.as_dict())
    else:
        echo(str(explanation))


@click.command("get")
@click.argument("key", shell_complete=complete_keys)
def get_command(key: str) -> None:
    """The bare value of a key, for shell scripts: none for null, JSON for a table."""
    from parallelcfg.config.explanation import plain
    from parallelcfg.config.spelling import to_text

    explanation = _explained(key)
    value = explanation.value
    echo(json.dumps(plain(value)) if isinstance(value, dict) else to_text(explanation.spelt(value)))


def _explained(key: str) -> Explanation:
    config = get_config()  # problems of the configuration are told before those of the command line
    try:
        return explain(key, config)
    except ConfigError as error:
        if error.problems[0].place:  # a variable that counts CPUs, for example: the key is right
            raise
        raise click.UsageError(error.problems[0].message) from None


@click.command("env")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
def env_command(form: str) -> None:
    """Every variable, its type, its value now, and what it overrides; unknown ones with suggestions."""
    from parallelcfg.cli.variables import variables

    rows = variables(get_config())
    if form == "json":
        print_json(rows)
    else:
        heads = ("name", "type", "now", "overrides")
        print_table(heads, [[str(row[head] or "") for head in heads] for row in rows])
