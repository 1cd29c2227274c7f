"""Doing something as soon as a module is imported by somebody else."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["WhenImported"]


class WhenImported(MetaPathFinder):
    """A finder for one module, to be put in front of `sys.meta_path`; it leaves when the module is found.

    Parameters
    ----------
    name : str
        The module.
    then : callable
        Takes the module as soon as its code has run.
    """

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, with a loader that goes on to what comes then."""
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_then(module: ModuleType) -> None:
            run(module)
            self._then(module)

        spec.loader.exec_module = run_and_then  # type: ignore[method-assign]  # this loader is for this module
        return spec
