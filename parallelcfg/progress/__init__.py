"""How far a call is, shown to people or told to a function: counted in tasks, updated batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallelcfg.progress.events import Display, ProgressEvent

if TYPE_CHECKING:
    from parallelcfg.config.snapshot import Config

__all__ = ["Display", "ProgressEvent", "display_for"]


def display_for(config: Config, backend: str, n_jobs: int) -> Display | None:
    """Who shows the progress of a call; None for nobody.

    Parameters
    ----------
    config : Config
        Its ``progress`` and ``verbose`` say what is wanted.
    backend : str
        Name of the backend.
    n_jobs : int
        Jobs at the same time.

    Raises
    ------
    ConfigError
        If tqdm was asked for by name and is not installed.
    """
    if not config.progress and not config.verbose:
        return None
    from parallelcfg.progress.choose import chosen_display  # most programs need none of it

    return chosen_display(config, backend, n_jobs)
