"""The user's own line of code from which this package was called."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

from parallelcfg.config.snapshot import Origin

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["caller_frame", "caller_origin", "notebook", "warn_caller"]

#: This package; and joblib, through which the bridge is called: its user's line is the one to name.
_BETWEEN = frozenset({__name__.partition(".")[0], "joblib"})


def caller_frame() -> FrameType | None:
    """The nearest frame outside of this package; None where there is none."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - inspect.stack costs milliseconds
    while frame is not None and str(frame.f_globals.get("__name__") or "").partition(".")[0] in _BETWEEN:
        frame = frame.f_back
    return frame


def caller_origin(layer: str) -> Origin:
    """That frame's place, as the origin of values that a layer says."""
    frame = caller_frame()
    if frame is None:
        return Origin(layer)
    file = frame.f_code.co_filename
    return Origin(layer, _cell(file) if "ipykernel" in file or file[:1] == "<" else file, frame.f_lineno)


def _cell(file: str) -> str:
    """What IPython calls a cell, for example ``Cell In[3]``; any other name as it is."""
    shell = notebook()
    named = None if shell is None else shell.compile.format_code_name(file)
    return file if named is None else " ".join(named)


def notebook() -> Any:
    """The IPython shell that runs this program; None elsewhere."""
    get_ipython = getattr(sys.modules.get("IPython.core.getipython"), "get_ipython", None)
    return None if get_ipython is None else get_ipython()


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the line of the user's own code."""
    frame = caller_frame()
    if frame is None:
        warnings.warn(message, category, stacklevel=2)
        return
    warnings.warn_explicit(
        message, category, frame.f_code.co_filename, frame.f_lineno, module=frame.f_globals.get("__name__")
    )
