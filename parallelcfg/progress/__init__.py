"""How far a call is, shown to people or told to a function: counted in tasks, updated batch by batch."""

from __future__ import annotations

from parallelcfg.progress.choose import display_for
from parallelcfg.progress.events import Display, ProgressEvent

__all__ = ["Display", "ProgressEvent", "display_for"]
