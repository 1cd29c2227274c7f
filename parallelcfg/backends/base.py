"""The contract between the engine and whoever runs its tasks.

Three small shapes. A `Backend` opens a `Session`; a session runs `Work`; `Traits` say what the backend can
do, so that nothing ever asks for a backend's type. A session knows nothing of `Parallel`, of batch sizes, of
pickling or of printing: it applies a function to a payload somewhere else and reports back exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from parallelcfg.config.snapshot import Config
    from parallelcfg.core.outcome import Lost, Reply
    from parallelcfg.transport.board import Running

__all__ = [
    "AbandoningSession",
    "Backend",
    "ClusterSession",
    "DividingSession",
    "Done",
    "HearingSession",
    "Session",
    "Traits",
    "Work",
]


class Traits(NamedTuple):
    """What a backend can do.

    Parameters
    ----------
    shares_memory : bool
        Tasks see the caller's objects themselves; batches travel as they are, not as bytes.
    uses_processes : bool
        Tasks run outside the caller's process.
    multi_host : bool
        Workers may sit on other machines: no shared files, clocks or memory.
    can_kill_running : bool
        A running task can be stopped: ``timeout`` and ``abort`` are hard.
    in_caller : bool
        `Session.submit` runs the work before it returns, in the calling thread.
    single_in_caller : bool
        One job needs no worker: the call runs on the sequential backend instead.
    pickles_itself : bool
        Batches are handed over as they are, and the backend pickles them where it needs to.
    times_tasks : bool
        `Session.running` knows since when each task runs; without that, ``timeout`` can't be obeyed.
    batch_size : callable or None
        What ``batch_size="auto"`` means, anew for each batch; None: the engine measures.
    cluster : bool
        Sessions are `ClusterSession`: they store large data themselves, and workers come and go.
    nests : bool
        Calls inside tasks may use it again, and do so where nobody names a backend.
    hears_calls : bool
        Sessions are `HearingSession`: they are told when each call begins and ends.
    divides : bool
        Sessions are `DividingSession`: they can take back what a worker has not begun.
    answers : bool
        Workers may ask for something in the middle of a batch (None, sent to the parent), and get what
        `Work.answer` says.
    abandons : bool
        Sessions are `AbandoningSession`: a task that is late, and that nobody can stop, costs them no worker.
    """

    shares_memory: bool = False
    uses_processes: bool = False
    multi_host: bool = False
    can_kill_running: bool = False
    in_caller: bool = False
    single_in_caller: bool = True
    pickles_itself: bool = False
    times_tasks: bool = True
    batch_size: Callable[[], int] | None = None
    cluster: bool = False
    nests: bool = False
    hears_calls: bool = False
    divides: bool = False
    answers: bool = False
    abandons: bool = False


class Work(NamedTuple):
    """A batch ready to be run: ``work()`` gives its `Reply`.

    Parameters
    ----------
    run : callable
        A function that takes the payload; importable by name where the backend uses processes.
    payload : object
        Bytes for backends that use processes, the batch itself for those that share memory.
    handles : tuple
        What `ClusterSession.put` made of large data. After the payload, ``run`` takes what each stands for.
    answer : callable, optional
        Says what the worker may ask for; stays in the caller's process. See `Traits.answers`.
    """

    run: Callable[..., Reply | Lost]
    payload: Any
    handles: tuple[Any, ...] = ()
    answer: Callable[[], Any] | None = None

    def __call__(self) -> Reply | Lost:
        """Run the batch, here and now."""
        return self.run(self.payload)


Done = Callable[[int, "Reply | Lost"], None]
"""How a session reports the end of a submission: ``done(batch_id, outcome)``."""


class Session(Protocol):
    """Workers at one call's (or one ``with`` block's) disposal.

    ``done`` is called exactly once for every submission, also when the worker dies, when the session is
    aborted, and for a submission that comes after that; from whatever thread the session likes.
    """

    @property
    def workers(self) -> int:
        """How many batches can run at the same time. May change while the session is open."""

    @property
    def over(self) -> bool:
        """Whether the session was aborted or closed: it takes no more work."""

    def submit(self, batch_id: int, work: Work, done: Done) -> None:
        """Run ``work`` on a worker and report to ``done``. Returns at once, unless ``Traits.in_caller``."""

    def running(self) -> dict[int, Running]:
        """Which task of which batch runs now, and since when; empty where the backend can't tell."""

    def kill(self, batch_id: int) -> None:
        """Stop the worker that runs a batch, where ``Traits.can_kill_running``; reported as a loss."""

    def abort(self) -> None:
        """Drop queued work and stop running work where possible. Idempotent."""

    def close(self) -> None:
        """Give the workers back. Idempotent."""


class HearingSession(Session, Protocol):
    """A session that is told of each call, of which a ``with`` block makes several."""

    def calling(self, config: Config) -> AbstractContextManager[None]:
        """What surrounds one call: entered before its first batch, left when its last one has ended."""


class DividingSession(Session, Protocol):
    """A session that can divide a batch while it runs."""

    def divide(self, sizes: dict[int, int], least: int) -> tuple[int | None, int]:
        """Take back half of the tasks that have not been begun, of the batch with the most of them.

        Parameters
        ----------
        sizes : dict of int to int
            The batches in question, with the number of tasks that each has.
        least : int
            So many tasks that have not been begun are worth it.

        Returns
        -------
        tuple
            The batch, and how many of its tasks, from the first on, its worker will run at most. The others
            are the caller's. (None, 0) where there is no such batch.
        """


class AbandoningSession(Session, Protocol):
    """A session that has another worker for what would wait behind a task that is late."""

    def abandon(self, batch_id: int, position: int, error: BaseException) -> None:
        """End a batch with the task that runs, which goes on by itself; what becomes of it is ignored.

        ``done`` is told what has come of the tasks before it, and that this one has failed. Nothing happens
        where the worker has gone on to another task meanwhile.

        Parameters
        ----------
        batch_id : int
            The batch.
        position : int
            Position of the task in it.
        error : BaseException
            What it has failed of.
        """


class ClusterSession(Session, Protocol):
    """What the session of a backend with ``Traits.cluster`` does besides."""

    @property
    def chosen(self) -> Sequence[object]:
        """Objects that are to be stored whatever their size, wherever they are a task's argument."""

    def put(self, value: object) -> object:
        """Store a value, as it is now, where all workers reach it, for as long as the handle lives."""

    def watch(self, resized: Callable[[], None]) -> None:
        """Call ``resized`` whenever `workers` has changed; whoever watched before is told no more."""


@runtime_checkable
class Backend(Protocol):
    """A way of running tasks: a name, traits, and `open`."""

    @property
    def name(self) -> str:
        """The name that configuration uses."""

    @property
    def traits(self) -> Traits:
        """What it can do."""

    def effective_n_jobs(self, config: Config, cpus: int) -> int:
        """How many jobs this configuration means here, given the CPUs at the caller's disposal."""

    def open(self, config: Config, n_jobs: int, threads: int) -> Session:
        """Get ``n_jobs`` workers ready, each to use so many inner threads."""
