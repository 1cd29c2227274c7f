"""Commands that write configuration files: `set`, `init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from parallelcfg.cli.output import complete_keys
from parallelcfg.config.files import project_file
from parallelcfg.config.process import current
from parallelcfg.errors import ConfigError

if TYPE_CHECKING:
    from parallelcfg.config.machine import Machine

__all__ = ["init_command", "set_command"]


@click.command("set", context_settings={"ignore_unknown_options": True})  # VALUE may be -1
@click.argument("key", shell_complete=complete_keys)
@click.argument("value")
@click.option("--user", is_flag=True, help="In the user's file.")
@click.option("--project", is_flag=True, help="In the project's file, the default; made where there is none.")
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="In this file.")
@click.option("--profile", help="In this profile of the file.")
def set_command(
    key: str, value: str, user: bool, project: bool, file: Path | None, profile: str | None
) -> None:
    """Change KEY to VALUE in a file, in place: comments, order and everything else stay.

    VALUE is spelt as in an environment variable; none is null. Refuses what would not validate.
    """
    from parallelcfg.config import editing

    if user + project + (file is not None) > 1:
        raise click.UsageError("--user, --project and --file exclude each other")
    machine = current().resolver.machine
    target = _target(machine, user=user, file=file)
    try:
        path = editing.path_of(key, profile)
        text = editing.spelt(key, value)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    layer = "user" if user else "system" if target == machine.system_file else "project"
    editing.change(target, layer, path, text)
    click.echo(f"{target}: {'.'.join(path)} = {text}", err=True)


def _target(machine: Machine, *, user: bool, file: Path | None) -> Path:
    if file is not None:
        return machine.cwd / file
    if user:
        return machine.user_file
    return project_file(machine) or machine.cwd / "parallel.toml"


@click.command("init")
@click.option("--pyproject", is_flag=True, help="Add [tool.parallelcfg] to pyproject.toml instead.")
def init_command(pyproject: bool) -> None:
    """Write a commented parallel.toml, and the JSON Schema beside it for editors.

    Never overwrites anything. The nearest file upwards counts: says so where this one hides another.
    """
    from parallelcfg.config.generate import schema_text
    from parallelcfg.config.schema import example

    machine = current().resolver.machine
    folder, before = machine.cwd, project_file(machine)
    if before is not None and before.parent in folder.parents:
        click.echo(f"note: {before} no longer counts in {folder} and below; the nearest file does", err=True)
    if pyproject:
        _extend_pyproject(folder / "pyproject.toml", example("", table="tool.parallelcfg"))
        return
    _create(folder / "parallel.toml", example("./parallel.schema.json"))
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
