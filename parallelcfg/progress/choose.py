"""From ``progress`` and ``verbose`` to whoever shows them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from parallelcfg import worker
from parallelcfg.config.state import current_scope, said_at
from parallelcfg.errors import ConfigError
from parallelcfg.progress.bar import Bar, have_tqdm
from parallelcfg.progress.events import Several, Told
from parallelcfg.progress.lines import LogLines, VerboseLines

if TYPE_CHECKING:
    from parallelcfg.config.snapshot import Config
    from parallelcfg.progress.events import Display

__all__ = ["chosen_display"]


def chosen_display(config: Config, backend: str, n_jobs: int) -> Display:
    """Who shows the progress of a call for which ``progress`` or ``verbose`` is set; see `display_for`."""
    displays: list[Display] = []
    if config.verbose:
        displays.append(VerboseLines(config.verbose, backend, n_jobs))
    if callable(config.progress):
        displays.append(Told(config.progress))
    elif config.progress:
        displays.append(_bar_or_lines(config))
    return displays[0] if len(displays) == 1 else Several(tuple(displays))


def _bar_or_lines(config: Config) -> Display:
    """A bar where somebody can see it, else log lines; ``"tqdm"`` and ``"log"`` leave no choice."""
    wanted = config.progress
    scope = current_scope()
    nested = scope is not None and scope.depth > 0
    if wanted == "tqdm" and not have_tqdm():
        where = said_at(config, "progress")
        message = f"progress='tqdm'{where} needs tqdm: pip install 'parallelcfg[progress]', or say 'log'"
        raise ConfigError([message])
    if wanted == "tqdm" or (wanted != "log" and _visible() and have_tqdm()):
        return Bar(None if worker.seat is None else 1 + worker.seat.ordinal)
    return LogLines(quiet=nested)


def _visible() -> bool:
    """Whether somebody sees a bar move."""
    return sys.stderr.isatty() or _in_notebook()


def _in_notebook() -> bool:
    """Whether output goes to a notebook's cells."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
