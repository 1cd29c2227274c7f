"""What workers print, on its way into a notebook."""

from __future__ import annotations

import sys
from time import monotonic, sleep
from typing import Any

__all__ = ["await_output"]

#: File descriptors that workers inherit, by the streams that stand for them.
_DESCRIPTORS = {"stdout": 1, "stderr": 2}
#: Seconds between two looks. Whoever reads tells nobody.
_GLANCE = 0.001


def await_output(patience: float = 0.5) -> None:
    """Wait until the kernel has read what workers have printed by now, lest it comes when the cell is over.

    Workers inherit the standard streams, which in a kernel end in pipes that threads of the kernel read. What
    they read they send as output of the cell that runs. Many a program that runs notebooks listens to no
    other cell's, so that what is read a moment too late would be lost.

    Parameters
    ----------
    patience : float, default 0.5
        Longest time to wait, in seconds.
    """
    deadline = monotonic() + patience
    for name, descriptor in _DESCRIPTORS.items():
        if _is_watched(getattr(sys, name)):
            while _unread(descriptor) and monotonic() < deadline:
                sleep(_GLANCE)
            sleep(_GLANCE)  # it was read, and is being passed on


def _is_watched(stream: Any) -> bool:
    """Whether a stream of ipykernel reads what is written to the file descriptor that it stands for."""
    return getattr(stream, "watch_fd_thread", None) is not None


def _unread(descriptor: int) -> int:
    """How many bytes were written to a pipe and not read yet."""
    import fcntl
    import termios

    size = bytearray(4)
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, size)
    except OSError:  # closed, or no pipe any more
        return 0
    return int.from_bytes(size, sys.byteorder)
