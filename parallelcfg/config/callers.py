"""The user's own line of code from which this package was called."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from parallelcfg.config.snapshot import Origin

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["caller_frame", "caller_origin"]

#: This package; and joblib, through which the bridge is called: its user's line is the one to name.
_BETWEEN = frozenset({__name__.partition(".")[0], "joblib"})


def caller_frame() -> FrameType | None:
    """The nearest frame outside of this package; None where there is none."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.stack costs milliseconds
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame = frame.f_back
    return frame


def caller_origin(layer: str) -> Origin:
    """That frame's place, as the origin of values that a layer says."""
    frame = caller_frame()
    return Origin(layer) if frame is None else Origin(layer, frame.f_code.co_filename, frame.f_lineno)
