"""The notebook extension: ``%load_ext parallelcfg``.

::

    %parallel                                 the configuration in force, and who said what
    %parallel n_jobs=4 backend=threading      set keys for the session
    %parallel reset                           take back what %parallel has set
    %%parallel n_jobs=2                       set keys for one cell

Settings are process-wide (`parallelcfg.set_config`), so they hold in every cell, whatever contexts the kernel
runs cells in, also in cells with ``await``.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from parallelcfg.backends.registry import known_backends
from parallelcfg.config import process
from parallelcfg.config.context import explain, get_config
from parallelcfg.config.snapshot import Origin
from parallelcfg.config.spelling import from_text, from_untyped_text
from parallelcfg.errors import ConfigError
from parallelcfg.integrations.cells import Cells

if TYPE_CHECKING:
    from parallelcfg.config.process import Handle
    from parallelcfg.config.snapshot import Config

__all__ = ["Magics", "load_ipython_extension", "unload_ipython_extension"]

_CELL = "%%parallel"
_COMMANDS = ("%parallel", _CELL)
_RESET = "reset"
_MAGIC = Origin("set_config", "%parallel")


class Magics:
    """What ``%parallel`` and ``%%parallel`` do in one IPython shell.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._session: list[Handle] = []
        self._cells = Cells(shell)
        self._matcher = make_matcher()

    def load(self) -> None:
        """Register everything with the shell."""
        shell = self._shell
        shell.register_magic_function(self.line, "line", "parallel")
        shell.register_magic_function(self.cell, "cell", "parallel")
        shell.register_magic_function(self.begin_cell, "line", "_parallel_cell")
        shell.input_transformers_cleanup.append(transform)
        self._cells.load()
        if self._matcher is not None:
            shell.Completer.custom_matchers.append(self._matcher)
        else:
            for command in _COMMANDS:
                shell.set_hook("complete_command", _hook, str_key=command)

    def unload(self) -> None:
        """Take everything back, settings included."""
        for handle in self._session:
            handle.reset()
        self._cells.unload()
        self._shell.input_transformers_cleanup.remove(transform)
        if self._matcher is not None:
            self._shell.Completer.custom_matchers.remove(self._matcher)
        for kind, name in (("line", "parallel"), ("cell", "parallel"), ("line", "_parallel_cell")):
            del self._shell.magics_manager.magics[kind][name]

    def line(self, text: str) -> Config | None:
        """Show the configuration, or set keys for the session: %parallel n_jobs=4 backend=threading."""
        __tracebackhide__ = True
        if text.strip() == _RESET:
            while self._session:
                self._session.pop().reset()
            return None
        options = read_options(text)
        if not options:
            return get_config()
        handle = _set(options)
        for before in [one for one in self._session if one.keys <= handle.keys]:  # the cell is run again
            before.reset()
            self._session.remove(before)
        self._session.append(handle)
        for key in options:
            _tell_if_hidden(key)
        return None

    def cell(self, text: str, body: str) -> None:
        """Set keys for one cell: %%parallel n_jobs=2 in its first line."""
        handle = _set(read_options(text))
        try:
            self._shell.run_cell(body)
        finally:
            handle.reset()

    def begin_cell(self, text: str) -> None:
        """Set keys until the end of the cell."""
        __tracebackhide__ = True
        self._cells.add(_set(read_options(text)))


def transform(lines: list[str]) -> list[str]:
    """Turn ``%%parallel`` in a cell's first line into a line magic that the cell's end undoes.

    So the cell remains a cell: its last value is shown, its ``await`` is awaited, its lines keep their
    numbers, and its next line may be another cell magic.
    """
    words = lines[0].split(maxsplit=1) if lines else []
    if not words or words[0] != _CELL:
        return lines
    options = words[1].strip() if len(words) > 1 else ""
    from IPython.core import inputtransformer2

    begin = f"get_ipython().run_line_magic('_parallel_cell', {options!r})\n"
    below: Any = inputtransformer2.cell_magic
    return [begin, *below(lines[1:])]


#: So IPython leaves it out when it asks whether what is typed is complete: a blank line ends cell magics.
transform.has_side_effects = True  # type: ignore[attr-defined]


def read_options(text: str) -> dict[str, str]:
    """The ``key=value`` pairs of a magic's line, spelt as in environment variables.

    Examples
    --------
    >>> read_options("n_jobs=4 backends.loky.idle_worker_timeout=60")
    {'n_jobs': '4', 'backends.loky.idle_worker_timeout': '60'}
    """
    __tracebackhide__ = True
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError([f"%parallel {text}: {str(error)[:1].lower()}{str(error)[1:]}"]) from None
    options: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            hint = f"{_RESET!r} stands alone" if _RESET in words else "without blanks, as in n_jobs=4"
            raise ConfigError([f"%parallel: expected KEY=VALUE, got {word!r} ({hint})"])
        if options.setdefault(key, value) != value:
            raise ConfigError([f"%parallel: {key} is said twice, {options[key]!r} and {value!r}"])
    return options


def complete(line: str) -> list[str]:
    """What may follow in a magic's line: keys, and after ``=`` the values that a key names."""
    from parallelcfg.config.keys import KEYS

    last = line.rsplit(" ", maxsplit=1)[-1]
    key, equals, begun = last.partition("=")
    if not equals:
        names = [f"{name}." if key.is_table else f"{name}=" for name, key in KEYS.items()]
        names += [f"backends.{backend}." for backend in known_backends()] if "." in last else [_RESET]
        return [name for name in names if name.startswith(last)]
    return [word for word in (KEYS[key].words if key in KEYS else ()) if word.startswith(begun)]


def _hook(shell: object, event: Any) -> list[str]:  # noqa: ARG001 - IPython's signature
    return complete(event.text_until_cursor)


def make_matcher() -> Any:
    """What completes these commands with `complete`'s words alone; None before IPython 8.6.

    The words of a hook stand below all the names that Python knows.
    """
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:
        return None

    def parallel_matcher(context: Any) -> dict[str, Any]:
        command, blank, _ = context.text_until_cursor.lstrip().partition(" ")
        if command not in _COMMANDS or not blank:
            return {"completions": []}
        words = complete(context.text_until_cursor)
        return {"completions": [SimpleCompletion(word) for word in words], "suppress": True, "ordered": True}

    return context_matcher()(parallel_matcher)


def _set(options: dict[str, str]) -> Handle:
    """Put options in force for the whole process."""
    __tracebackhide__ = True
    layer = process.checked({key: _value(key, text) for key, text in options.items()}, {}, _MAGIC)
    process.current().add(layer)
    return process.Handle(layer)


def _tell_if_hidden(key: str) -> None:
    """Say so where something else counts, such as a `parallel_config` that was opened without ``with``."""
    explanation = explain(key)
    winner = explanation.winner
    if winner.file != _MAGIC.file and not explanation.parts:
        print(f"{key} = {winner.value!r} counts all the same: {winner.layer} ({winner.origin})")  # noqa: T201


def _value(name: str, text: str) -> object:
    from parallelcfg.config.keys import KEYS

    key = KEYS.get(name.partition(".")[0])
    if key is None:
        return text  # checking will say that there is no such key
    return from_untyped_text(text) if key.is_table else from_text(text, key.scalars, nullable=key.nullable)


_loaded: dict[int, Magics] = {}


def load_ipython_extension(ipython: Any) -> None:
    """Give a notebook ``%parallel``: what ``%load_ext parallelcfg`` calls.

    Parameters
    ----------
    ipython : IPython.core.interactiveshell.InteractiveShell
        The shell.
    """
    if id(ipython) not in _loaded:
        _loaded[id(ipython)] = Magics(ipython)
        _loaded[id(ipython)].load()


def unload_ipython_extension(ipython: Any) -> None:
    """Take ``%parallel`` away again, and what it has set.

    Parameters
    ----------
    ipython : IPython.core.interactiveshell.InteractiveShell
        The shell.
    """
    magics = _loaded.pop(id(ipython), None)
    if magics is not None:
        magics.unload()
