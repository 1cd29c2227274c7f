"""Where a worker process of loky begins.

loky's own entry imports all that its executors need, several times what a worker of ours does. Its launcher
runs the module of its class, so a class of this module begins here, with `multiprocessing` alone.
"""

from __future__ import annotations

import os
import pickle
import site
import sys
from contextlib import suppress
from multiprocessing import process
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LeanProcess"]


class LeanProcess(process.BaseProcess):
    """A process that loky launches, and that imports nothing of it.

    Parameters
    ----------
    target : callable
        What it runs.
    args : tuple
        Arguments of ``target``.
    env : mapping of str to str
        Environment variables that it is started with, besides those of this process.
    """

    _start_method = "spawn"  # of processes that tasks start
    init_main_module = False  # loky asks for it: functions of the main module travel by value

    def __init__(self, target: Callable[..., object], args: tuple[Any, ...], env: Mapping[str, str]) -> None:
        from pathlib import Path  # not at the top: the process itself has no need of it

        super().__init__(target=target, args=args)
        self._args = args
        self.env = dict(env)
        self._search_path = {**os.environ, **env}.get("PYTHONPATH")
        home = str(Path(__file__).parents[1])
        if home not in site.getsitepackages():  # this package was found by a path that the process may lack
            self.env["PYTHONPATH"] = os.pathsep.join(filter(None, (home, self._search_path)))

    def __getstate__(self) -> dict[str, Any]:
        from multiprocessing.reduction import ForkingPickler

        # The standard library's way for connections: loky's leads to loky's modules
        return {**self.__dict__, "_args": bytes(ForkingPickler.dumps(self._args))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _args=pickle.loads(state["_args"]))

    def run(self) -> None:
        """Be a worker, in the environment that was asked for."""
        if self._search_path is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = self._search_path
        super().run()

    @staticmethod
    def _Popen(process_obj: process.BaseProcess) -> Any:  # noqa: N802 - the standard library's name
        from loky.backend.popen_loky_posix import Popen

        class LeanPopen(Popen):  # type: ignore[misc]  # loky has no type annotations
            DupFd = _Inherited

            def __init__(self, process_obj: process.BaseProcess) -> None:
                # loky's own asks for streams that can be flushed, which daemons and GUI programs lack
                for stream in (sys.stdout, sys.stderr):
                    with suppress(AttributeError, ValueError, OSError):
                        stream.flush()
                self.returncode = None
                self._fds: list[int] = []
                self._launch(process_obj)

        return LeanPopen(process_obj)


class _Inherited:
    """A file descriptor that a process inherits, as `multiprocessing` unpickles it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def detach(self) -> int:
        return self._fd


def _begin() -> int:
    """Be the process that loky's launcher has written to the pipe."""
    from multiprocessing import resource_tracker, spawn

    here = process.current_process()
    with os.fdopen(int(sys.argv[sys.argv.index("--pipe") + 1]), "rb") as pipe:
        here._inheriting = True  # type: ignore[attr-defined]  # as `multiprocessing` marks those on their way
        try:
            surroundings = pickle.load(pipe)
            resource_tracker._resource_tracker._fd = surroundings.get("mp_tracker_fd")  # type: ignore[attr-defined]
            spawn.prepare(surroundings)
            own = pickle.load(pipe)
        except (EOFError, pickle.UnpicklingError):  # cut short: whoever started this is gone
            return 1
        finally:
            del here._inheriting  # type: ignore[attr-defined]
    return own._bootstrap()  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(_begin())
