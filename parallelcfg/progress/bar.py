"""Progress as a tqdm bar: in the terminal, or as a widget in notebooks."""

from __future__ import annotations

import sys
import threading
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

from parallelcfg.progress.output import say, visible

if TYPE_CHECKING:
    from parallelcfg.progress.events import ProgressEvent

__all__ = ["Bar", "have_tqdm"]

_UP = "\x1b[A"
#: tqdm's constructor shall not draw: it does not know the count yet.
_AT_ONCE = 1e-9


def have_tqdm() -> bool:
    """Whether tqdm is installed."""
    from importlib.util import find_spec

    return find_spec("tqdm") is not None


class Bar:
    """A tqdm bar that counts tasks.

    Bars of nested calls in the same process find their places by themselves, below the outer one, and vanish
    when they are full. Those of worker processes, which know nothing of each other, are told theirs.

    Parameters
    ----------
    position : int or None
        Lines below the outermost bar; None: the first that is free in this process.
    """

    pace = 0.1  # as long as tqdm leaves between two drawings

    def __init__(self, position: int | None = None) -> None:
        self._position = position
        self._bar: Any = None
        self._due = 0.0

    def begin(self, total: int | None) -> None:
        """Take a place, so that bars of calls inside of this one stand below, but draw nothing yet."""
        tqdm = _tqdm()
        if self._position is not None and not hasattr(tqdm, "_lock"):
            # tqdm's own is a semaphore for several processes, which knows none but forked ones, and which
            # stays behind when a worker and those who would tidy up after it are killed together.
            tqdm.set_lock(threading.RLock())
        self._bar = tqdm(
            total=total,
            unit="task",
            dynamic_ncols=True,
            position=self._position,
            leave=None,
            file=self._file(),
            delay=_AT_ONCE,
        )
        if self._bar.pos == 0:
            self._bar.leave = True  # tqdm's own choice, which its widget does not know

    def show(self, event: ProgressEvent) -> None:
        """So far is the call."""
        if event.elapsed < self._due:
            return
        self._due = event.elapsed + self.pace
        self._set(event)
        if not self._bar.update(0):  # it thinks that not enough has changed; but time passes too
            self._bar.refresh()

    def stop(self, event: ProgressEvent) -> None:
        """The call is over, one way or another."""
        self._set(event)
        if self._bar.leave and not getattr(self._bar, "displayed", True):
            self._bar.refresh()  # the end of a widget does not show it
        self._bar.close()  # the end of a bar of text does

    def _file(self) -> Any:
        if self._position is not None:
            return _ThereAndBack()
        return None if visible() else _Unseen()

    def _set(self, event: ProgressEvent) -> None:
        self._bar.n, self._bar.total = event.done, event.total
        if event.failed or event.retried:
            named = {"failed": event.failed, "retried": event.retried}
            counts = ", ".join(f"{name} {count:,}" for name, count in named.items() if count)
            self._bar.set_postfix_str(counts, refresh=False)


@cache
def _tqdm() -> Any:
    """The class of bars that suits the terminal or the notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets gets a bar of text
        from tqdm.auto import tqdm
    return tqdm


class _Unseen:
    """Standard error that may be closed, full or not there, and never says so.

    tqdm keeps its lock when it can't draw, and whoever draws a bar next would wait for ever.
    """

    encoding = "utf-8"

    def write(self, text: str) -> None:
        say(sys.stderr, text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    def fileno(self) -> int:
        return sys.stderr.fileno()


class _ThereAndBack(_Unseen):
    """Standard error that lets text out only when the cursor is back on its line.

    tqdm steps down to a bar's line, draws and steps up again in several writes. Where several processes do so
    on one terminal, another's text must not come between.
    """

    def __init__(self) -> None:
        self._held: list[str] = []
        self._below = 0

    def write(self, text: str) -> None:
        self._held.append(text)
        self._below += text.count("\n") - text.count(_UP)

    def flush(self) -> None:
        if self._below == 0 and self._held:
            whole, self._held = "".join(self._held), []
            say(sys.stderr, whole)
