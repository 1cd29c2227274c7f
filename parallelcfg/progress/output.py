"""Where progress is written, if it can be: it must not cost a call its results."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["say", "visible"]


def say(stream: TextIO, text: str) -> None:
    """Write text and let it out, unless the stream is closed, full or not there.

    Parameters
    ----------
    stream : file
        Standard error or output; None in programs that have none.
    text : str
        With its end of line.
    """
    with suppress(AttributeError, OSError, ValueError):
        stream.write(text)
        stream.flush()


def visible() -> bool:
    """Whether somebody sees a bar move."""
    try:
        return sys.stderr.isatty() or _in_notebook()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _in_notebook() -> bool:
    """Whether output goes to a notebook's cells."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
