"""The `run` command: a program under settings of the command line, as if Python itself ran it."""

from __future__ import annotations

import builtins
import pkgutil
import runpy
import sys
import zipfile
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

import click
from click.shell_completion import CompletionItem

from parallelcfg.cli.output import complete_values
from parallelcfg.config.context import get_config
from parallelcfg.config.keys import KEYS
from parallelcfg.config.layers import split
from parallelcfg.config.process import current, set_command_line
from parallelcfg.config.suggest import suggest
from parallelcfg.errors import ConfigError
from parallelcfg.integrations.joblib import install_from_environment

if TYPE_CHECKING:
    from types import CodeType, TracebackType

__all__ = ["Program", "run_command"]


class _Run(click.Command):
    """Takes ``--KEY VALUE`` pairs up to the program; what follows is the program's own."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Options up to the program; then, and for the program itself, names of files."""
        rest = list(ctx.args)
        while rest and rest[0].startswith("--") and rest[0] != "--":
            option = rest.pop(0)
            if "=" not in option and rest:
                rest.pop(0)
        if not rest and incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(incomplete, type="file")]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # for completion, of what is not finished yet
            ctx.args = list(args)
            return []
        settings: dict[str, str] = {}
        rest = list(args)
        while rest and rest[0].startswith("-") and rest[0] not in {"-", "-m", "--"}:
            option = rest.pop(0)
            if option in ctx.help_option_names:
                return super().parse_args(ctx, [option])
            name, equals, value = option.partition("=")
            key = self._key(ctx, name)
            if not equals and not rest:
                ctx.fail(f"{name} needs a value")
            settings[key] = value if equals else rest.pop(0)
        if rest[:1] == ["--"]:
            rest.pop(0)
        if not rest or rest == ["-m"]:
            last = list(settings.items())[-1:] if not rest else []
            taken = "".join(
                f"; {value} was taken for the value of --{key.replace('_', '-')}"
                for key, value in last
                if Path(value).exists()
            )
            ctx.fail(f"nothing to run: expected a SCRIPT, -m MODULE or - for standard input{taken}")
        program = Program(*_split(rest))
        if not (program.is_module or program.name == "-"):
            found = Path(program.name)
            if not found.exists():
                ctx.fail(f"no file {program.name!r}")
            if found.is_dir() and not (found / "__main__.py").exists():
                ctx.fail(f"no __main__.py in the folder {program.name!r}")
        ctx.params = {"settings": settings, "program": program}
        return []

    def _key(self, ctx: click.Context, option: str) -> str:
        """The dotted key that an option sets."""
        first, dot, below = option.removeprefix("--").partition(".")
        key = first.replace("-", "_")
        if not option.startswith("--") or not _is_key(key + dot + below):
            self._refuse(ctx, option, key)
        return key + dot + below

    def _refuse(self, ctx: click.Context, option: str, key: str) -> NoReturn:
        near = suggest(key, [name.replace("_", "-") for name in KEYS])
        hint = f"; {near.replace(chr(39), chr(39) + '--', 1)}" if near else ""
        ctx.fail(f"no key for the option {option}{hint} (options of the program come after it)")


def _is_key(key: str) -> bool:
    """Whether a dotted name is that of a key, or of something inside of a table."""
    try:
        first, *below = split(key)
    except ValueError:
        return False
    return first in KEYS and (not below or KEYS[first].is_table)


def _split(rest: list[str]) -> tuple[str, bool, list[str]]:
    return (rest[1], True, rest[2:]) if rest[0] == "-m" else (rest[0], False, rest[1:])


@dataclass(frozen=True)
class Program:
    """What to run.

    Parameters
    ----------
    name : str
        A path, the name of a module, or ``-`` for standard input.
    is_module : bool
        Whether it is the name of a module.
    args : list of str
        Its own arguments.
    """

    name: str
    is_module: bool
    args: list[str]

    def __call__(self) -> None:
        """Run it as ``__main__``, with ``sys.argv`` and ``sys.path`` as Python sets them."""
        sys.argv = [self.name, *self.args]
        self._set_path()
        try:
            self._execute()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            own = _own_part(error.__traceback__)
            sys.excepthook(type(error), error.with_traceback(own), own)
            sys.exit(1)

    def _set_path(self) -> None:
        """Put in place what ``parallelcfg``'s own start has left as the first folder of imports."""
        if self.is_module:
            here = current().resolver.machine.here
            first = "" if here is None else str(here)
        elif self._holds_modules:
            first = str(self._path)
        else:
            first = "" if self.name == "-" else str(self._path.resolve().parent)
        if not getattr(sys.flags, "safe_path", False):  # new in Python 3.11
            sys.path[0] = first
        elif self._holds_modules:
            sys.path.insert(0, first)

    def _execute(self) -> None:
        """Run it in a ``__main__`` that stays: threads and `atexit` may outlive the last line."""
        main = sys.modules["__main__"] = ModuleType("__main__")
        vars(main).update(__builtins__=builtins, __annotations__={})
        if self.is_module:
            _run_module_as_main(self.name)
        elif self._holds_modules:
            _run_module_as_main("__main__", alter_argv=False)
        else:
            if self.name != "-":
                path = str(self._path)
                loader = SourceFileLoader("__main__", path)
                vars(main).update(__file__=path, __loader__=loader, __cached__=None)
            exec(self._code(), vars(main))  # noqa: S102 - what the user asks for

    @cached_property
    def _path(self) -> Path:
        return Path(self.name).absolute()

    @cached_property
    def _holds_modules(self) -> bool:
        """Whether it is a folder or an archive."""
        named = not self.is_module and self.name != "-"
        return named and (self._path.is_dir() or zipfile.is_zipfile(self._path))

    def _code(self) -> CodeType:
        """The script's, whether compiled or not."""
        if self.name == "-":
            return compile(sys.stdin.read(), "<stdin>", "exec")
        with self._path.open("rb") as file:
            compiled: CodeType | None = pkgutil.read_code(file)
        return compiled or compile(self._path.read_bytes(), str(self._path), "exec")


#: What ``python -m`` itself calls; its public relatives take ``__main__`` away at the end.
_run_module_as_main = runpy._run_module_as_main  # type: ignore[attr-defined] # noqa: SLF001


def _own_part(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the program's own first line on."""
    machinery = {__file__, "<frozen runpy>", runpy.__file__}
    while traceback is not None and traceback.tb_frame.f_code.co_filename in machinery:
        traceback = traceback.tb_next
    return traceback


def _options() -> list[click.Parameter]:
    """An option for each key: for help and completion, `_Run` reads them itself."""
    return [
        click.Option(
            [f"--{name.replace('_', '-')}"],
            metavar="VALUE",
            help=f"{key.help}: {key.expected}.",
            shell_complete=partial(complete_values, name),
        )
        for name, key in KEYS.items()
        if not key.is_table
    ]


@click.command(
    "run", cls=_Run, params=_options(), options_metavar="[--KEY VALUE]... SCRIPT | -m MODULE | - [ARGS]..."
)
def run_command(settings: dict[str, str], program: Program) -> Program:
    """Run SCRIPT, -m MODULE or - (standard input) with its ARGS under these settings.

    Options stand above files, environment and set_config(); contexts and arguments in the program's code
    still win. A backend's parameters are written --backends.loky.idle_worker_timeout 60. Loops of libraries
    that use joblib obey too, unless PARALLEL_JOBLIB=0.
    """
    set_command_line(settings)
    _check()
    install_from_environment(otherwise=True)
    return program


def _check() -> None:
    """Tell problems before the program starts; a backend that nobody knows it may yet register."""
    try:
        get_config()
    except ConfigError as error:
        if any(problem.key != "backend" for problem in error.problems):
            raise
