"""Commands that check and describe: `validate`, `schema`, `completion`."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import get_completion_class

from parallelcfg.cli.output import print_json
from parallelcfg.errors import ConfigError, Problem

__all__ = ["completion_command", "schema_command", "validate_command"]


@click.command("validate")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--system", is_flag=True, help="Check the files as the system's, where [locked] counts.")
@click.option(
    "--format", "style", type=click.Choice(["text", "json"]), default="text", help="json: a list on stdout."
)
@click.pass_context
def validate_command(ctx: click.Context, files: tuple[Path, ...], system: bool, style: str) -> None:
    """Every problem of every layer, or of the given files alone.

    Exits with 0, or with 1 and the problems on stderr. What is only a warning elsewhere is a problem here.
    """
    from parallelcfg.config.places import absolute
    from parallelcfg.config.process import current
    from parallelcfg.config.validation import problems_in_force, problems_of_file

    if system and not files:
        raise click.UsageError(
            "--system is for files that are named; all layers in force know which they are"
        )
    problems: list[Problem] = []
    here = current().resolver.machine.here
    for file in files:
        problems += problems_of_file(absolute(file, here), "system" if system else "project")
    if not files:
        problems = problems_in_force()
    if style == "json":
        print_json([problem._asdict() for problem in problems])
        ctx.exit(1 if problems else 0)
    if problems:
        raise ConfigError(tuple(problems))


@click.command("schema")
def schema_command() -> None:
    """The JSON Schema of parallel.toml, for editors and linters."""
    from parallelcfg.config.schema import file_schema

    print_json(file_schema())


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """The completion script of a shell.

    For bash, put this into ~/.bashrc: eval "$(parallelcfg completion bash)"
    """
    from parallelcfg.cli.app import cli

    generator = get_completion_class(shell)
    assert generator is not None, "click has the three of them"
    click.echo(generator(cli, {}, "parallelcfg", "_PARALLELCFG_COMPLETE").source())
