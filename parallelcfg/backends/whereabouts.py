"""Workers of a program whose working folder nobody can go to."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["staying_here"]


@contextmanager
def staying_here() -> Iterator[None]:
    """Start a worker within, wherever this process is.

    `multiprocessing` asks for the path of the working folder and has the worker go there. Where that folder
    is gone, or stands below one that may not be entered, the worker stays in the folder that it inherits, or
    goes to the root if even that is forbidden.
    """
    if _can_be_reached():
        yield
        return
    folder = os.curdir if os.access(os.curdir, os.X_OK) else os.sep
    ask, os.getcwd = os.getcwd, lambda: folder  # threads that ask meanwhile would get an error otherwise
    try:
        yield
    finally:
        os.getcwd = ask


def _can_be_reached() -> bool:
    try:
        return os.access(os.getcwd(), os.X_OK)  # noqa: PTH109 - text in, text out
    except OSError:
        return False
