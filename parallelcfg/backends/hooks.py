"""A session that runs batches through joblib's hooks.

::

    submit ──▶ Parcel ──▶ backend.submit(parcel, callback) ──▶ somewhere: parcel()
                                                                     │ Reply
    done ◀── retrieve_result_callback(out) ◀── callback(out) ◀───────┘

Such a backend decides by itself whether a task leaves the process. So a batch is handed over as it is, in a
`Parcel`, and becomes bytes only when somebody pickles the parcel, with whatever pickler.
"""

from __future__ import annotations

import pickle
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from parallelcfg import worker
from parallelcfg.core.outcome import Lost, Reply, ended
from parallelcfg.errors import TaskNotPicklable, WorkerLost
from parallelcfg.transport.board import Running
from parallelcfg.transport.pickling import dumps
from parallelcfg.transport.refusal import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from parallelcfg.backends.base import Done, Work
    from parallelcfg.backends.custom import ParallelBackendBase
    from parallelcfg.config.snapshot import Config
    from parallelcfg.orders import Orders

__all__ = ["HookSession", "Parcel"]


class Parcel:
    """A batch as joblib's hooks know tasks: a function without arguments, for any pickler.

    Parameters
    ----------
    work : Work
        The batch as it is, for `worker.run_local`.
    nested : tuple of (object, int or None) or None
        Backend and number of jobs of parallel calls inside of tasks; None for the package's own rule.
    """

    def __init__(self, work: Work, nested: tuple[object, int | None] | None) -> None:
        batch_id, batch, orders, patience = work.payload
        if nested is not None:
            orders = _with_nested(orders, *nested)
        self._payload = batch_id, batch, orders, patience
        #: When it was pickled, in seconds of the monotonic clock; None while it has not left the process.
        self.left: float | None = None

    def __len__(self) -> int:
        return len(self._payload[1])

    def __call__(self) -> Reply:
        """Run the batch, here and now."""
        return worker.run_local(self._payload)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        batch_id, batch, orders, patience = self._payload
        try:
            packed = dumps(batch.parts, name=None)
        except TaskNotPicklable as error:
            refusals = (refusal(batch, position, dumps) for position in range(len(batch)))
            raise next(filter(None, refusals), error) from None
        self.left = monotonic()
        packed_orders = pickle.dumps(orders, pickle.HIGHEST_PROTOCOL)
        return partial, (worker.run_bytes, (batch_id, packed_orders, None, packed, len(batch), patience))


@dataclass(frozen=True, slots=True)
class _Sent:
    parcel: Parcel
    done: Done
    at: float


class HookSession:
    """Workers behind joblib's hooks.

    Parameters
    ----------
    backend : ParallelBackendBase
        The backend, configured.
    workers : int
        How many jobs it runs at the same time.
    config : Config
        The settings of the call, or of the first one in a ``with`` block.
    completed : callable
        Told of every batch: the backend, its number of tasks, and seconds from submission to result.
    released : callable
        Called when the backend has terminated.
    """

    def __init__(
        self,
        backend: ParallelBackendBase,
        workers: int,
        config: Config,
        *,
        completed: Callable[[ParallelBackendBase, int, float], None],
        released: Callable[[], None],
    ) -> None:
        self.workers = workers
        self._backend = backend
        self._timeout = config.timeout or 0.0
        self._completed = completed
        self._lock = threading.Lock()
        self._sent: dict[int, _Sent] = {}
        self._over = False
        self._nested = _nested(backend)
        self._aborter: threading.Thread | None = None
        self._leaving = ExitStack()  # in reverse order, whatever fails
        self._leaving.callback(released)
        self._leaving.callback(backend.terminate)
        self._leaving.callback(self._aborted)

    @property
    def over(self) -> bool:
        """Whether the session was aborted or closed."""
        return self._over

    def submit(self, batch_id: int, work: Work, done: Done) -> None:
        """Hand a batch to the backend."""
        sent = _Sent(Parcel(work, self._nested), done, monotonic())
        with self._lock:
            over = self._over
            if not over:
                self._sent[batch_id] = sent
        if over:
            done(batch_id, Lost(ended()))
            return
        called_back = partial(self._called_back, batch_id)
        try:
            job = self._backend.submit(sent.parcel, callback=called_back)
            if not self._backend.supports_retrieve_callback:
                self._wait_for(batch_id, job)
        except Exception as error:
            self._finish(batch_id, self._lost(error))

    def running(self) -> dict[int, Running]:
        """What runs now: exactly in this process; elsewhere each task of a batch is granted its full time."""
        with self._lock:
            away = [(batch_id, sent.parcel) for batch_id, sent in self._sent.items()]
        elsewhere = {
            batch_id: Running(0, 0, parcel.left + (len(parcel) - 1) * self._timeout)
            for batch_id, parcel in away
            if parcel.left is not None
        }
        return elsewhere | worker.board.running()

    def kill(self, batch_id: int) -> None:
        """There is no hook for this: see `Traits.can_kill_running`."""
        raise RuntimeError(f"batch {batch_id} can't be stopped")

    def abort(self) -> None:
        """Drop queued work and stop running work where the backend can."""
        with self._lock:
            if self._over:
                return
            self._over = True
            dropped, self._sent = self._sent, {}
        # In a thread of its own: the backend may join the very thread that is reporting a result right now
        self._aborter = threading.Thread(
            target=self._backend.abort_everything, kwargs={"ensure_ready": False}, name="parallelcfg-abort"
        )
        self._aborter.start()
        for batch_id, sent in dropped.items():
            sent.done(batch_id, Lost(WorkerLost("the call was aborted"), innocent=True))

    @contextmanager
    def calling(self, config: Config) -> Iterator[None]:
        """What surrounds one call; the backend is in the middle of none when it terminates."""
        with ExitStack() as leaving:
            if config.return_as == "list":  # else results are awaited in other threads than this
                leaving.enter_context(self._backend.retrieval_context())
            leaving.callback(self._backend.stop_call)
            leaving.callback(self._aborted)
            self._backend.start_call()
            yield

    def _aborted(self) -> None:
        """Wait for the backend to have aborted, if it was asked to."""
        if self._aborter is not None:
            self._aborter.join()

    def close(self) -> None:
        """Let the backend terminate."""
        if self._sent:
            self.abort()
        self._over = True
        self._leaving.close()

    def _called_back(self, batch_id: int, *out: Any) -> None:
        if self._backend.supports_retrieve_callback:
            self._retrieve(batch_id, self._backend.retrieve_result_callback, *out)

    def _wait_for(self, batch_id: int, job: Any) -> None:
        # A daemon: after an abort some jobs never end, and nobody waits for them
        threading.Thread(
            target=self._retrieve,
            args=(batch_id, self._backend.retrieve_result, job),
            name="parallelcfg-retrieve",
            daemon=True,
        ).start()

    def _retrieve(self, batch_id: int, retrieve: Callable[..., Any], *out: Any) -> None:
        sent = self._sent.get(batch_id)
        if sent is None:  # aborted, or reported already
            return
        try:
            outcome = _checked(retrieve(*out))
            self._completed(self._backend, len(sent.parcel), monotonic() - sent.at)
        except BaseException as error:
            outcome = self._lost(error)
        self._finish(batch_id, outcome)

    def _finish(self, batch_id: int, outcome: Reply | Lost) -> None:
        with self._lock:
            sent = self._sent.pop(batch_id, None)
        if sent is not None:
            sent.done(batch_id, outcome)

    def _lost(self, error: BaseException) -> Lost:
        if isinstance(error, pickle.PicklingError):
            return Lost(error)
        lost = WorkerLost(f"{type(self._backend).__name__} lost a batch", f"{type(error).__name__}: {error}")
        lost.__cause__ = error
        return Lost(lost)


def _nested(backend: ParallelBackendBase) -> tuple[object, int | None] | None:
    """What the backend wants parallel calls in its tasks to run on."""
    nested = backend.get_nested_backend()
    if nested is None:
        return None
    return nested if isinstance(nested, tuple) else (nested, None)


def _with_nested(orders: Orders, backend: object, n_jobs: int | None) -> Orders:
    scope = orders.scope
    config = scope.config._replace(backend=backend, n_jobs=n_jobs)
    return orders._replace(scope=scope._replace(config=config))


def _checked(outcome: Any) -> Reply | Lost:
    if not isinstance(outcome, (Reply, Lost)):
        raise TypeError(f"expected what the submitted function returned, got {outcome!r}")
    return outcome
