"""Commands that write configuration files: `set`, `unset`, `init`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parallelcfg.cli.output import complete_keys, complete_values, echo
from parallelcfg.config.context import explain, get_config
from parallelcfg.config.discovery import project_file
from parallelcfg.config.environ import NO_CONFIG, is_set
from parallelcfg.config.places import absolute
from parallelcfg.config.process import current, reload
from parallelcfg.config.spelling import join
from parallelcfg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["init_command", "set_command", "unset_command"]


def _where(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which file is meant."""
    for option in (
        click.option("--profile", help="In this profile of the file."),
        click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="In this file."),
        click.option("--project", is_flag=True, help="In the project's file: the default."),
        click.option("--user", is_flag=True, help="In the user's file."),
    ):
        command = option(command)
    return command


@click.command("set", context_settings={"ignore_unknown_options": True})  # VALUE may be -1
@click.argument("key", shell_complete=complete_keys)
@click.argument("value", shell_complete=partial(complete_values, None))
@_where
def set_command(
    key: str, value: str, user: bool, project: bool, file: Path | None, profile: str | None
) -> None:
    """Change KEY to VALUE in a file, in place: comments, order and everything else stay.

    VALUE is spelt as in an environment variable; none is null. Refuses what would not validate. The project's
    file is made where there is none.
    """
    from parallelcfg.config import editing

    target, layer = _target(user=user, project=project, file=file)
    try:
        path = editing.path_of(key, profile)
        text = editing.spelt(key, value)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    editing.change(target, layer, path, text)
    echo(f"{target}: {'.'.join(path)} = {text}", err=True)
    _tell_what_counts(target, path)


@click.command("unset")
@click.argument("key", shell_complete=complete_keys)
@_where
def unset_command(key: str, user: bool, project: bool, file: Path | None, profile: str | None) -> None:
    """Take KEY out of a file: lower layers and the default count again. Everything else stays."""
    from parallelcfg.config import editing

    target, layer = _target(user=user, project=project, file=file)
    try:
        path = editing.path_of(key, profile)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    editing.remove(target, layer, path)
    echo(f"{target}: without {'.'.join(path)}", err=True)


def _tell_what_counts(target: Path, path: tuple[str, ...]) -> None:
    """Say so where something else hides what a file says now, or keeps programs from running at all."""
    from parallelcfg.config import editing

    reload()
    surroundings = current().resolver.surroundings
    machine = surroundings.machine
    if target not in {one.file for one in surroundings.documents()}:
        if is_set(machine.environ, NO_CONFIG) and target in (project_file(machine), machine.user_file):
            echo(f"note: the file does not count here: {NO_CONFIG} is set", err=True)
        return
    try:
        current().base()
    except ConfigError as error:
        left = "1 problem is" if len(error.problems) == 1 else f"{len(error.problems)} problems are"
        echo(f"note: {left} left in the configuration; parallelcfg validate tells", err=True)
        return
    key = join(path[2:] if path[0] == "profiles" else path)
    try:
        explanation = explain(key)
    except ConfigError:  # of a lock, or of what only a profile says that is not selected
        return
    winner, said = explanation.winner, get_config().sources.get(key)
    if said is None or (said.origin.file, said.origin.path) != (str(target), editing.from_root(target, path)):
        counts = f"{winner.layer} ({winner.origin})" if winner.origin else winner.layer
        echo(
            f"note: {explanation.key} = {explanation.shown(explanation.value)} counts here: {counts}",
            err=True,
        )
    elif explanation.note and "clamped" in explanation.note:
        echo(f"note: {explanation.key} = {explanation.value} here: {explanation.note}", err=True)


def _target(*, user: bool, project: bool, file: Path | None) -> tuple[Path, str]:
    """The file that is meant, and the layer that it belongs to."""
    if user + project + (file is not None) > 1:
        raise click.UsageError("--user, --project and --file exclude each other")
    machine = current().resolver.machine
    if user:
        if machine.user_file is None:
            raise ConfigError(["the home folder is not known, so there is no place for the user's file"])
        return machine.user_file, "user"
    if file is None:
        return project_file(machine) or absolute("parallel.toml", machine.here), "project"
    target = absolute(file, machine.here)
    if not target.parent.is_dir():
        raise click.UsageError(f"no folder {str(file.parent)!r}")
    return target, "system" if target == machine.system_file else "project"


@click.command("init")
@click.option("--pyproject", is_flag=True, help="Add [tool.parallelcfg] to pyproject.toml instead.")
def init_command(pyproject: bool) -> None:
    """Write a commented parallel.toml, and the JSON Schema beside it for editors.

    Never overwrites anything. The nearest file upwards counts: says so where this one hides another.
    """
    from parallelcfg.config.generate import schema_text
    from parallelcfg.config.schema import example

    machine = current().resolver.machine
    own, before = absolute("parallel.toml", machine.here), project_file(machine)
    folder, shared = own.parent, own.with_name("pyproject.toml")
    if pyproject and before == own:
        click.echo(f"note: {before} beside it wins; keep one of them", err=True)
    elif before is not None and (before.parent in folder.parents or (before == shared and not pyproject)):
        click.echo(f"note: {before} no longer counts in {folder} and below; the nearest file does", err=True)
    if pyproject:
        _extend_pyproject(shared, example("", table="tool.parallelcfg"))
        return
    _create(own, example("./parallel.schema.json"))
    schema = folder / "parallel.schema.json"
    if not schema.exists():
        _create(schema, schema_text())


def _create(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise ConfigError([f"{file} exists already; edit it, or use parallelcfg set KEY VALUE"]) from None
    except OSError as error:
        raise ConfigError([f"{file} can't be written: {error.strerror}"]) from None
    click.echo(f"wrote {file}", err=True)


def _extend_pyproject(file: Path, section: str) -> None:
    from parallelcfg.config import editing

    editing.append_table(file, ("tool", "parallelcfg"), section)
    click.echo(f"added [tool.parallelcfg] to {file}", err=True)
