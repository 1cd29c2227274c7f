"""`Parallel`: resolve the settings, plan, run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from parallelcfg.backends.shelf import SHELF
from parallelcfg.config.context import resolve_call
from parallelcfg.config.snapshot import UNSET, Config, Unset
from parallelcfg.engine.held import Held
from parallelcfg.engine.launch import launch
from parallelcfg.engine.observe import Recorder
from parallelcfg.engine.plan import make_plan
from parallelcfg.progress import display_for

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from os import PathLike
    from types import TracebackType

    from typing_extensions import TypeVar as _TypeVarWithDefault
    from typing_extensions import Unpack

    from parallelcfg.engine.plan import Plan
    from parallelcfg.errors import TaskError
    from parallelcfg.report import Report
    from parallelcfg.task import Task
    from parallelcfg.typing import AnyShape, AsList, AsListWithErrors, AsStream, AsStreamWithErrors, Options

    _Streams = Literal["generator", "generator_unordered"]

__all__ = ["Parallel", "effective_n_jobs", "shutdown"]

T = TypeVar("T")
if TYPE_CHECKING:  # so that annotations may say `Parallel` alone
    Shape = _TypeVarWithDefault("Shape", default=Any)
else:
    Shape = TypeVar("Shape")


class Parallel(Generic[Shape]):
    """Run tasks in parallel, under the configuration in force.

    Every parameter that is left out comes from the layers below: `parallel_config`, `set_config`, the
    environment, project, user and system files, defaults. Names, order and meaning are joblib's.

    Parameters
    ----------
    n_jobs : int, optional
        Concurrent jobs: -1 all CPUs at the caller's disposal, -2 all but one; None: unset, which means one
        where no layer says otherwise.
    backend : str, Backend, ParallelBackendBase, callable or multiprocessing context, optional
        Who runs the tasks: ``"loky"``, ``"threading"``, ``"multiprocessing"``, ``"sequential"``, ``"dask"``,
        ``"ray"`` or a registered name; an instance; a factory; a context of `multiprocessing`.
    return_as : {"list", "generator", "generator_unordered"}, optional
        Shape of the result. Generators give results while tasks run.
    verbose : int, optional
        Progress messages; more than 10 reports every batch, from 50 on to standard output.
    timeout : float, optional
        Longest time for one task in seconds, counted from its start on the worker. Hard on process backends;
        elsewhere the task has failed, but goes on. On threading, a fresh thread takes the place of its own.
    pre_dispatch : int or str, optional
        Batches taken from the iterator ahead of the workers: ``"all"``, a number, or arithmetic over
        ``n_jobs``.
    batch_size : int or "auto", optional
        Tasks per dispatch.
    temp_folder : str, optional
        Folder for large arrays.
    max_nbytes : int or str, optional
        Bytes from which on arrays are shared in memory, for example ``"1M"``; None turns it off.
    mmap_mode : {"r", "r+", "w+", "c"} or None, optional
        How tasks see such arrays.
    prefer : {None, "processes", "threads"}, optional
        Soft hint, ignored where a backend is set.
    require : {None, "sharedmem"}, optional
        Hard constraint.
    inner_max_num_threads : int, optional
        Threads of BLAS, OpenMP and the like inside a worker.
    deadline : float, optional
        Longest time for the whole call, in seconds.
    max_pending_results : int, optional
        Unread results from which on a generator stops dispatching.
    on_error : {"raise", "return"}, optional
        With ``"return"`` a failed task yields a `TaskError` in its place.
    retries : int, optional
        More attempts for a task that failed or whose worker died.
    progress, strict, forward_logs, seed, trace, max_jobs, backends : optional
        See the table of keys.
    **backend_params
        Constructor parameters of the backend.

    Raises
    ------
    ConfigError
        If a value is wrong, in any layer; all problems at once.
    TypeError
        If a name is neither a key nor a parameter of the backend.

    Examples
    --------
    >>> from parallelcfg import delayed
    >>> Parallel(n_jobs=2, backend="threading")(delayed(abs)(x) for x in (-1, 2, -3))
    [1, 2, 3]
    >>> with Parallel(n_jobs=2, backend="threading") as parallel:
    ...     first = parallel(delayed(max)(x, 1) for x in range(3))
    ...     second = parallel(delayed(sum)((x, 1)) for x in first)
    >>> second
    [2, 2, 3]
    """

    __slots__ = (
        "__weakref__",
        "_busy",
        "_held",
        "_plan",
        "_report",
    )  # `p.n_jobs = 3` is an error

    @overload
    def __init__(
        self: Parallel[AsList],
        n_jobs: int | Unset | None = ...,
        backend: object = ...,
        return_as: Literal["list"] | Unset = ...,
        *args: Any,
        on_error: Literal["raise"] | Unset = ...,
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Parallel[AsListWithErrors],
        n_jobs: int | Unset | None = ...,
        backend: object = ...,
        return_as: Literal["list"] | Unset = ...,
        *args: Any,
        on_error: Literal["return"],
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Parallel[AsStream],
        n_jobs: int | Unset | None = ...,
        backend: object = ...,
        return_as: _Streams = ...,
        *args: Any,
        on_error: Literal["raise"] | Unset = ...,
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Parallel[AsStreamWithErrors],
        n_jobs: int | Unset | None = ...,
        backend: object = ...,
        return_as: _Streams = ...,
        *args: Any,
        on_error: Literal["return"],
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Parallel[AnyShape],
        n_jobs: int | Unset | None = ...,
        backend: object = ...,
        return_as: str | Unset = ...,
        *args: Any,
        on_error: str | Unset = ...,
        **options: Unpack[Options],
    ) -> None: ...

    def __init__(  # type: ignore[misc]  # the overloads spell out what follows `return_as` as keywords only
        self,
        n_jobs: int | Unset | None = UNSET,
        backend: object = UNSET,
        return_as: str | Unset = UNSET,
        verbose: int | Unset = UNSET,
        timeout: float | Unset | None = UNSET,
        pre_dispatch: int | str | Unset = UNSET,
        batch_size: int | str | Unset = UNSET,
        temp_folder: str | PathLike[str] | Unset | None = UNSET,
        max_nbytes: int | str | Unset | None = UNSET,
        mmap_mode: str | Unset | None = UNSET,
        prefer: str | Unset | None = UNSET,
        require: str | Unset | None = UNSET,
        *,
        inner_max_num_threads: int | Unset | None = UNSET,
        deadline: float | Unset | None = UNSET,
        max_pending_results: int | Unset | None = UNSET,
        on_error: str | Unset = UNSET,
        retries: int | Unset = UNSET,
        progress: object = UNSET,
        strict: bool | Unset = UNSET,
        forward_logs: bool | Unset = UNSET,
        seed: int | Unset | None = UNSET,
        trace: str | PathLike[str] | Unset | None = UNSET,
        max_jobs: int | Unset | None = UNSET,
        backends: Mapping[str, Mapping[str, object]] | Unset = UNSET,
        **backend_params: Any,
    ) -> None:
        said = dict(locals())
        __tracebackhide__ = True  # IPython and pytest show the user's lines
        del said["self"], said["backend_params"]
        overrides = {key: value for key, value in said.items() if value is not UNSET}
        self._plan: Plan = make_plan(resolve_call(overrides, backend_params))
        self._report: Report | None = None
        self._held: Held | None = None
        self._busy = threading.Lock()

    if not TYPE_CHECKING:  # a checker would take every name for an attribute

        def __getattr__(self, name: str) -> Any:
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            hint = f"; its settings are in config: .config.{name}" if name in Config._fields else ""
            raise AttributeError(text + hint, name=name, obj=self)

    @property
    def config(self) -> Config:
        """The settings that this object obeys, frozen when it was made."""
        return self._plan.config

    @property
    def n_jobs(self) -> int:
        """How many jobs were asked for, 1 where nobody did; `effective_n_jobs` will run."""
        return self._plan.config.n_jobs or 1

    @property
    def backend_name(self) -> str:
        """Who will really run the tasks."""
        return self._plan.backend.name

    @property
    def effective_n_jobs(self) -> int:
        """How many jobs will really run at the same time."""
        return self._plan.n_jobs

    @property
    def report(self) -> Report:
        """What the last call did, or what the present one has done so far."""
        if self._report is None:
            self._report = Recorder(self._plan, None).report
            self._report.ended = self._report.began  # nothing runs
        return self._report

    @overload
    def __call__(self: Parallel[AsList], iterable: Iterable[Task[T]]) -> list[T]: ...
    @overload
    def __call__(self: Parallel[AsListWithErrors], iterable: Iterable[Task[T]]) -> list[T | TaskError]: ...
    @overload
    def __call__(self: Parallel[AsStream], iterable: Iterable[Task[T]]) -> Generator[T, None, None]: ...
    @overload
    def __call__(
        self: Parallel[AsStreamWithErrors], iterable: Iterable[Task[T]]
    ) -> Generator[T | TaskError, None, None]: ...
    @overload
    def __call__(self: Parallel[AnyShape], iterable: Iterable[Task[T]]) -> Any: ...

    def __call__(self, iterable: Iterable[Any]) -> Any:
        """Run the tasks.

        Parameters
        ----------
        iterable : iterable of Task
            What `delayed` made.

        Returns
        -------
        list or iterator
            One result for each task, in the order of the tasks (as they finish, with
            ``return_as="generator_unordered"``).

        Raises
        ------
        BaseException
            What a task or the iterable raised, with its own type.
        """
        __tracebackhide__ = True
        held = self._held
        if (held is None or not held.is_open) and not self._plan.possible:
            self._plan = make_plan(self._plan.config)
        plan = self._plan
        recorder = Recorder(plan, display_for(plan.config, plan.backend.name, plan.n_jobs))
        self._report = recorder.report
        if held is None:
            return launch(iterable, plan, recorder, None)
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("this Parallel object runs another call; give each thread its own")
        try:
            return launch(iterable, plan, recorder, held)
        finally:
            self._busy.release()

    def __enter__(self) -> Parallel[Shape]:
        self._held = self._held or Held()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def __repr__(self) -> str:
        return f"Parallel(n_jobs={self.effective_n_jobs}, backend={self.backend_name!r})"


def effective_n_jobs(n_jobs: int | None = -1) -> int:
    """How many jobs ``Parallel(n_jobs=n_jobs)`` would run at the same time, here and now.

    Parameters
    ----------
    n_jobs : int or None, default -1
        The request; None asks for the configured number.

    Returns
    -------
    int
        At least 1, at most ``max_jobs``.

    Raises
    ------
    ConfigError
        If ``n_jobs`` is 0 or no integer.

    Examples
    --------
    >>> effective_n_jobs(3)
    3
    """
    global _last_asked  # noqa: PLW0603 - a cache of one entry: libraries ask the same again and again
    around = resolve_call({}, {})
    last_around, last_jobs, asked = _last_asked
    if last_around is not around or last_jobs is not n_jobs:
        asked = around if n_jobs is None else resolve_call({"n_jobs": n_jobs}, {})
        _last_asked = around, n_jobs, asked
    return make_plan(asked).n_jobs


_last_asked: tuple[Config | None, int | None, Any] = None, None, None


def shutdown(wait: bool = True) -> None:
    """Stop all idle workers that were kept warm for later calls.

    Parameters
    ----------
    wait : bool, default True
        Return when they are gone.

    Examples
    --------
    >>> shutdown()
    """
    SHELF.clear(wait=wait)
