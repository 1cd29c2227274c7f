"""Every exception and warning of the package.

::

    Exception
    └── ParallelError
        ├── ConfigError (ValueError)              bad configuration, all problems at once
        ├── BackendUnavailable (ImportError)      a backend's package or service is missing
        ├── TaskNotPicklable (pickle.PicklingError)   an argument, function or result can't travel
        ├── TaskError                             what stands in a failed task's place (on_error="return")
        ├── TaskFailure                           the cause of a task's exception: index, call, traceback
        ├── WorkerLost (RuntimeError)             a worker died with tasks in its hands
        ├── TaskTimeout (TimeoutError)            one task ran longer than ``timeout``
        └── DeadlineExceeded (TimeoutError)       the call ran longer than ``deadline``

    UserWarning
    └── ParallelWarning
        ├── ConfigWarning                         a file, variable or key was ignored or masked
        ├── SubstitutionWarning                   another backend or job count than the one asked for
        └── SharingWarning                        large data travel a slower way than configured

Under ``strict = true`` the warnings of this tree are raised as `ConfigError`.

All of them survive pickling, so they may come from a worker.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BackendUnavailable",
    "ConfigError",
    "ConfigWarning",
    "DeadlineExceeded",
    "ParallelError",
    "ParallelWarning",
    "Problem",
    "SharingWarning",
    "SubstitutionWarning",
    "TaskError",
    "TaskFailure",
    "TaskNotPicklable",
    "TaskTimeout",
    "WorkerLost",
]


class ParallelError(Exception):
    """Base class of the errors that this package raises on its own account."""


class Problem(NamedTuple):
    """One thing that is wrong in one place of the configuration.

    Parameters
    ----------
    message : str
        What is wrong and what was expected.
    layer : str
        Name of the layer that holds the value, for example ``"project"``.
    place : str
        Where the value stands: ``file:line:column``, ``environment variable NAME`` or ``file:line`` of
        the code that said it.
    key : str
        Dotted name of the key; empty for a problem of a whole file.
    value : str
        ``repr`` of the value, shortened; empty where there is none.
    suggestion : str
        What to write instead; empty where nothing is close.
    excerpt : str
        The source line with carets below the culprit, ready to print; empty for code and variables.
    """

    message: str
    layer: str = ""
    place: str = ""
    key: str = ""
    value: str = ""
    suggestion: str = ""
    excerpt: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        if self.suggestion:
            text += f" ({self.suggestion})"
        return f"{text}\n{self.excerpt}" if self.excerpt else text


class ConfigError(ParallelError, ValueError):
    """The configuration is wrong; carries and prints every problem of every layer.

    Parameters
    ----------
    problems : list of Problem or str
        What is wrong. A plain string becomes a problem without a place.

    Attributes
    ----------
    problems : tuple of Problem
        In the order of the layers, lowest first.

    Examples
    --------
    >>> print(ConfigError(["n_jobs must not be 0"]))
    1 problem in the configuration
      n_jobs must not be 0
    """

    def __init__(self, problems: list[Problem | str] | tuple[Problem, ...] | str) -> None:
        listed = [problems] if isinstance(problems, str) else problems
        self.problems = tuple(Problem(p) if isinstance(p, str) else p for p in listed)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        lines = [f"{count} problem{'' if count == 1 else 's'} in the configuration"]
        lines += [str(problem) for problem in self.problems]
        return "\n".join(lines).replace("\n", "\n  ")


class BackendUnavailable(ParallelError, ImportError):
    """A backend can't be used here; the message names what to install or start, and who asked for it."""

    def add_place(self, where: str) -> None:
        """Add the place that named the backend to the message, as `said_at` gives it."""
        self.msg = f"{self}{where}"
        self.args = (self.msg,)


class TaskNotPicklable(ParallelError, pickle.PicklingError):
    """A task's function, argument or result can't be pickled; the message names the task and the object."""


class TaskFailure(ParallelError):
    """The ``__cause__`` of an exception that came from a worker process.

    Parameters
    ----------
    index : int
        Position of the task in the iterable, from 0.
    call : str
        The call as text, shortened, for example ``"f(3, y=2)"``.
    traceback : str
        The worker's traceback as text.
    """

    def __init__(self, index: int, call: str, traceback: str) -> None:
        self.index = index
        self.call = call
        self.traceback = traceback
        super().__init__(index, call, traceback)

    def __str__(self) -> str:
        return f"task {self.index}, {self.call}, failed in its worker\n\n{self.traceback}"


class TaskError(ParallelError):
    """What stands in a failed task's place under ``on_error="return"``.

    Parameters
    ----------
    index : int
        Position of the task in the iterable, from 0.
    exception : BaseException
        What the last attempt raised.
    traceback : str
        The last attempt's traceback as text.
    attempts : int
        How many times the task was tried.

    Examples
    --------
    >>> TaskError(2, ValueError("odd"), "", 1)
    TaskError(index=2, exception=ValueError('odd'), attempts=1)
    """

    def __init__(self, index: int, exception: BaseException, traceback: str, attempts: int) -> None:
        self.index = index
        self.exception = exception
        self.traceback = traceback
        self.attempts = attempts
        super().__init__(index, exception, traceback, attempts)

    def __reduce__(self) -> tuple[Callable[..., TaskError], tuple[object, ...]]:
        from parallelcfg.transport.failures import pack_exception

        return _task_error, (self.index, pack_exception(self.exception)[0], self.traceback, self.attempts)

    def __str__(self) -> str:
        tries = "" if self.attempts == 1 else f" after {self.attempts} attempts"
        return f"task {self.index} failed{tries}: {type(self.exception).__name__}: {self.exception}"

    def __repr__(self) -> str:
        return f"TaskError(index={self.index}, exception={self.exception!r}, attempts={self.attempts})"


def _task_error(index: int, exception: bytes, traceback: str, attempts: int) -> TaskError:
    from parallelcfg.transport.failures import unpack_exception

    return TaskError(index, unpack_exception(exception), traceback, attempts)


class WorkerLost(ParallelError, RuntimeError):
    """A worker died, was killed or could not be started while tasks were in its hands.

    Parameters
    ----------
    event : str
        What happened to it.
    causes : str
        What usually stands behind that, and where to look.
    tasks : tuple of (int, str)
        Index and call of each task that it was running, or could have been; known to the call only.

    Examples
    --------
    >>> print(WorkerLost("a worker was killed by SIGKILL", "out of memory?", ((3, "f(3)"),)))
    a worker was killed by SIGKILL with task 3, f(3), in its hands; out of memory?
    """

    def __init__(self, event: str, causes: str = "", tasks: tuple[tuple[int, str], ...] = ()) -> None:
        self.event = event
        self.causes = causes
        self.tasks = tasks
        super().__init__(event)

    def __reduce__(self) -> tuple[type[WorkerLost], tuple[object, ...]]:
        return type(self), (self.event, self.causes, self.tasks)

    def __str__(self) -> str:
        text = self.event
        if self.tasks:
            some = ", ".join(f"task {index}, {call}" for index, call in self.tasks[:3])
            more = f" and {len(self.tasks) - 3} more" if len(self.tasks) > 3 else ""  # noqa: PLR2004 - see above
            text += f" with {some}{more}, in its hands"
        return f"{text}; {self.causes}" if self.causes else text


class TaskTimeout(ParallelError, TimeoutError):
    """A task ran longer than ``timeout`` seconds, counted from its start on the worker."""


class DeadlineExceeded(ParallelError, TimeoutError):
    """A whole call ran longer than ``deadline`` seconds."""


class ParallelWarning(UserWarning):
    """Base class of the package's warnings."""


class ConfigWarning(ParallelWarning):
    """Something in the configuration was ignored, masked or looks like a slip."""


class SubstitutionWarning(ParallelWarning):
    """The call runs on another backend or with another number of jobs than the one asked for."""


class SharingWarning(ParallelWarning):
    """Large data travel a slower way than configured, for want of room or rights."""
