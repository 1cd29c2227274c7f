"""Cells of a notebook that run, and the settings that end with them."""

from __future__ import annotations

from collections import defaultdict
from threading import get_ident
from typing import TYPE_CHECKING, Any

from parallelcfg.integrations.output import await_output

if TYPE_CHECKING:
    from parallelcfg.config.process import Handle

__all__ = ["Cells"]


class Cells:
    """Knows which cell of an IPython shell runs inside of which, and takes back what each has set at its end.

    A cell may run others, by ``%run`` or ``run_cell``. Silent ones are cells, too, but have no
    ``post_run_cell``.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        # By thread, outermost first: kernels handle messages of widgets in other threads than cells
        self._running: defaultdict[int, list[list[Handle]]] = defaultdict(list)
        self._latest = shell.last_execution_result
        self._listeners = {
            "pre_execute": self._begin,
            "post_execute": self._end,
            "post_run_cell": lambda _: await_output(),
        }

    def load(self) -> None:
        """Listen to the shell."""
        for event, listener in self._listeners.items():
            self._shell.events.register(event, listener)

    def unload(self) -> None:
        """Take back all settings, and listen no more."""
        for event, listener in self._listeners.items():
            self._shell.events.unregister(event, listener)
        for handle in (one for cells in self._running.values() for cell in cells for one in cell):
            handle.reset()

    def add(self, handle: Handle) -> None:
        """Settings that end with the cell that runs."""
        running = self._running[get_ident()]
        if not running:  # it has loaded the extension
            running.append([])
        running[-1].append(handle)

    def _begin(self) -> None:
        self._latest = self._shell.last_execution_result
        self._running[get_ident()].append([])

    def _end(self) -> None:
        before, self._latest = self._latest, self._shell.last_execution_result
        if self._latest is not before and not self._latest.info.raw_cell.strip():
            return  # IPython tells the end of an empty cell, though not its beginning
        running = self._running[get_ident()]
        for handle in running.pop() if running else ():
            handle.reset()
