"""From ``progress`` and ``verbose`` to whoever shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallelcfg import worker
from parallelcfg.config.state import current_scope, said_at
from parallelcfg.errors import ConfigError
from parallelcfg.progress.bar import Bar, have_tqdm
from parallelcfg.progress.events import Several, Told
from parallelcfg.progress.lines import LogLines, VerboseLines
from parallelcfg.progress.output import visible

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
    if wanted == "tqdm" or (wanted != "log" and visible() and have_tqdm()):
        return Bar(None if worker.seat is None else 1 + worker.seat.ordinal)
    return LogLines(quiet=nested)
