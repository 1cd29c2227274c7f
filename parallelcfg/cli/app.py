"""The command's front door: finds the subcommand, turns errors into exit codes.

Exit codes: 0 done, 1 problems in the configuration, 2 wrong usage. `run` ends with the program's own code.
"""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from importlib import import_module

import click

from parallelcfg.cli.output import echo
from parallelcfg.errors import ParallelError, ParallelWarning

__all__ = ["cli", "main"]

_INTERRUPTED = 130

#: Where each command lives, and its short help: a list of commands needs no import of theirs.
_COMMANDS = {
    "show": ("parallelcfg.cli.show", "Every key in force."),
    "explain": (
        "parallelcfg.cli.show",
        "The winner of a key, what it shadows, and the limit that clamped it.",
    ),
    "get": ("parallelcfg.cli.show", "The bare value of a key, for shell scripts."),
    "env": ("parallelcfg.cli.show", "Every environment variable, what it sets and what it overrides."),
    "set": ("parallelcfg.cli.edit", "Change a key in a file, in place."),
    "unset": ("parallelcfg.cli.edit", "Take a key out of a file."),
    "init": ("parallelcfg.cli.edit", "Write a commented parallel.toml."),
    "validate": ("parallelcfg.cli.check", "Every problem of every layer, or of the given files."),
    "schema": ("parallelcfg.cli.check", "The JSON Schema of parallel.toml."),
    "doctor": ("parallelcfg.cli.doctor", "CPUs, backends, folders, and a live round trip."),
    "run": ("parallelcfg.cli.run", "Run a program under these settings."),
    "completion": ("parallelcfg.cli.check", "The completion script of a shell."),
}


class _Lazy(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click decides on the signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS:
            from parallelcfg.config.suggest import suggest

            near = suggest(args[0], _COMMANDS)
            ctx.fail(f"no command {args[0]!r}{f'; {near}' if near else ''}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="parallelcfg")
def cli() -> None:
    """Show, explain and change how parallel loops are configured, and run programs under it."""


def main() -> None:
    """Run the command line and exit."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", ParallelWarning)
        warnings.showwarning = _show_warning  # type: ignore[assignment]  # takes what it is given
        outcome = _outcome()
    if callable(outcome):
        outcome()  # the user's program, which runs after click is done, so that nothing stands in its way
    sys.exit(outcome if isinstance(outcome, int) else 0)


def _outcome() -> object:
    """What the subcommand returns: a program to run, or nothing; an exit code where it fails."""
    try:
        return cli.main(standalone_mode=False, prog_name="parallelcfg")
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except ParallelError as error:
        echo(str(error), err=True)
        return 1
    except OSError as error:
        if error.filename is not None:  # of a file: no output of this command
            raise
        return _unwritten(error)


def _unwritten(error: OSError) -> int:
    """Say that the output has no place; what Python still holds of it goes nowhere when it exits."""
    with suppress(OSError):  # an output without a descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    echo(f"the output can't be written: {error.strerror or error}", err=True)
    return 1


def _show_warning(message: Warning | str, *_: object) -> None:
    """A warning as the command says it: without the line of code that noticed."""
    echo(f"warning: {message}", err=True)
