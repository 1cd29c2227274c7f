"""The C library's heap in a worker process: what tasks free is kept for the next ones, until none come.

glibc returns the end of its heap to the system when more than a threshold of it is free. The threshold begins
at 128 KiB and follows the largest block ever freed, up to 64 MiB; meanwhile a task that computes with arrays
may return and fetch the same pages at every step, and each costs a page fault. Where there are arrays, a
worker goes to the end of that road at once; when it is idle, it returns all that is free.

Source: mallopt(3), and DEFAULT_MMAP_THRESHOLD_MAX in glibc's malloc.c.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any

__all__ = ["holds", "keep_freed", "let_go"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
#: Where the dynamic threshold ends, if a pointer has 8 bytes; that of trimming is twice it.
_LARGEST_BLOCK = 32 << 20

#: Who sets one of these has decided already.
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_")

_may_hold = False


def keep_freed() -> None:
    """Tasks are about to run: keep what they free, if numpy is loaded and nobody has tuned the C library."""
    global _may_hold  # noqa: PLW0603 - a process has one heap
    _may_hold = "numpy" in sys.modules and _glibc() is not None


def holds() -> bool:
    """Whether tasks have run that may have left something to return."""
    return _may_hold


def let_go() -> None:
    """Return all that is free to the system."""
    global _may_hold  # noqa: PLW0603 - as above
    if _may_hold:
        _may_hold = False
        _glibc().malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library, which keeps what is freed from now on; None if it is another one, or tuned already."""
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    tuned |= not os.environ.keys().isdisjoint(_VARIABLES)
    if sys.platform != "linux" or sys.maxsize < 1 << 32 or tuned:
        return None
    import ctypes  # not at the top: numpy has it loaded

    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return None
    library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
    library.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_BLOCK)
    return library
