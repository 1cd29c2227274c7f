"""Progress as a tqdm bar: in the terminal, or as a widget in notebooks."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parallelcfg.progress.events import ProgressEvent

__all__ = ["Bar", "have_tqdm"]

_UP = "\x1b[A"


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

    def __init__(self, position: int | None = None) -> None:
        self._position = position
        self._bar: Any = None

    def show(self, event: ProgressEvent) -> None:
        """The call has begun, or a batch has ended."""
        if self._bar is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a notebook without ipywidgets gets a bar of text
                from tqdm.auto import tqdm

                self._bar = tqdm(
                    total=event.total,
                    unit="task",
                    dynamic_ncols=True,
                    position=self._position,
                    leave=None,
                    file=None if self._position is None else _ThereAndBack(),
                )
            if self._bar.pos == 0:
                self._bar.leave = True  # tqdm's own choice, which its widget does not know
        if event.total != self._bar.total:
            self._bar.total = event.total
        if event.failed or event.retried:
            named = {"failed": event.failed, "retried": event.retried}
            counts = ", ".join(f"{name} {count:,}" for name, count in named.items() if count)
            self._bar.set_postfix_str(counts, refresh=False)
        self._bar.update(event.done - self._bar.n)

    def stop(self, event: ProgressEvent) -> None:
        """The call is over, one way or another."""
        self.show(event)
        self._bar.close()


class _ThereAndBack:
    """Standard error that lets text out only when the cursor is back on its line.

    tqdm steps down to a bar's line, draws and steps up again in several writes. Where several processes do so
    on one terminal, another's text must not come between.
    """

    encoding = "utf-8"

    def __init__(self) -> None:
        self._held: list[str] = []
        self._below = 0

    def write(self, text: str) -> None:
        self._held.append(text)
        self._below += text.count("\n") - text.count(_UP)

    def flush(self) -> None:
        if self._below == 0 and self._held:
            whole, self._held = "".join(self._held), []
            sys.stderr.write(whole)
            sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    def fileno(self) -> int:
        return sys.stderr.fileno()
