"""The bridge: every `joblib.Parallel` of the process obeys parallelcfg, those inside of libraries included.

::

    from parallelcfg.integrations import joblib        PARALLEL_JOBLIB=1 python program.py
    joblib.install()                                   parallelcfg run program.py

What a library leaves open comes from parallelcfg's configuration; what it says itself counts as an argument
of the call, below locks and ``max_jobs``; and its tasks run on parallelcfg's engine. Worker processes get the
bridge too. joblib is imported when somebody else imports it, not by this.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from parallelcfg.config.environ import JOBLIB, is_set
from parallelcfg.integrations.joblib.hook import WhenImported

if TYPE_CHECKING:
    from types import ModuleType

    from parallelcfg.integrations.joblib.patch import Patch
    from parallelcfg.parallel import Parallel

__all__ = ["install", "install_from_environment", "installed", "last_call", "uninstall"]

_MODULE = "joblib.parallel"


class _Bridge:
    """Whether the bridge is up, and what takes it down again."""

    def __init__(self) -> None:
        self.patch: Patch | None = None
        self.hook: WhenImported | None = None

    def install(self) -> None:
        """Change joblib now, or as soon as somebody imports it."""
        if self.patch is not None or self.hook is not None:
            return
        module = sys.modules.get(_MODULE)
        if module is not None:
            self.build(module)
        else:
            self.hook = WhenImported(_MODULE, self.build)
            sys.meta_path.insert(0, self.hook)

    def build(self, module: ModuleType) -> None:
        """Change joblib, which has just been imported."""
        from parallelcfg.integrations.joblib.patch import Patch

        self.hook = None
        self.patch = Patch(module)


_bridge = _Bridge()


def install(*, if_available: bool = False) -> None:
    """Put every `joblib.Parallel` of this process under parallelcfg. Calling it again does nothing.

    Parameters
    ----------
    if_available : bool, default False
        Do nothing, where joblib is not installed, instead of raising.

    Raises
    ------
    ImportError
        If joblib is not installed.

    Examples
    --------
    >>> from parallelcfg import parallel_config
    >>> from parallelcfg.integrations.joblib import install, last_call, uninstall
    >>> install()
    >>> from joblib import Parallel, delayed
    >>> with parallel_config(n_jobs=2, backend="threading"):
    ...     Parallel()(delayed(abs)(x) for x in (-1, 2))
    [1, 2]
    >>> last_call().effective_n_jobs
    2
    >>> uninstall()
    """
    from parallelcfg import worker

    if _MODULE not in sys.modules and find_spec("joblib") is None:
        if if_available:
            return
        raise ImportError("the bridge to joblib needs joblib: pip install 'parallelcfg[joblib]'")
    _bridge.install()
    if _install_in_worker not in worker.SETUP:
        worker.SETUP.append(_install_in_worker)


def uninstall() -> None:
    """Give joblib back to itself; also in worker processes, which are new for the next call."""
    from parallelcfg import worker
    from parallelcfg.backends.shelf import SHELF

    if _bridge.hook is not None:
        sys.meta_path.remove(_bridge.hook)
    if _bridge.patch is not None:
        _bridge.patch.undo()
    _bridge.hook = _bridge.patch = None
    if _install_in_worker in worker.SETUP:
        worker.SETUP.remove(_install_in_worker)
        SHELF.clear(wait=False)


def installed() -> bool:
    """Whether the bridge is up, or waits for joblib to be imported."""
    return _bridge.patch is not None or _bridge.hook is not None


def last_call() -> Parallel[Any] | None:
    """What governed the latest `joblib.Parallel` of this thread: its ``config``, and its ``report``.

    ``explain("n_jobs", last_call().config)`` tells who decided on the jobs of a library's loop.
    """
    return None if _bridge.patch is None else _bridge.patch.last_call()


def install_from_environment(*, otherwise: bool = False) -> None:
    """Install the bridge where ``PARALLEL_JOBLIB`` asks for it: what importing parallelcfg does.

    Worker processes have the variable too. As long as nobody imports joblib, this costs next to nothing.

    Parameters
    ----------
    otherwise : bool, default False
        What to do where the variable is not set; ``parallelcfg run`` installs the bridge then.
    """
    if is_set(os.environ, JOBLIB):
        _bridge.install()
    elif otherwise and not os.environ.get(JOBLIB):
        install(if_available=True)


def _install_in_worker() -> None:
    install(if_available=True)
