"""Workers of a ray cluster: the backend ``ray``."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from parallelcfg.backends.base import Traits
from parallelcfg.backends.flights import Flights, lost
from parallelcfg.backends.params import LIST, TABLE, TEXT, checked
from parallelcfg.backends.registry import register_parallel_backend
from parallelcfg.config.policy import clamp
from parallelcfg.core.outcome import Lost, Reply
from parallelcfg.errors import BackendUnavailable, WorkerLost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parallelcfg.backends.base import Work
    from parallelcfg.config.snapshot import Config

__all__ = ["RayBackend", "register_ray", "run_on_ray", "slots_for"]

#: Seconds between two looks at which nodes there are: ray tells nobody by itself.
_LOOK = 1.0
#: What becomes of a session at ``ray.shutdown()``.
_GONE = "the ray cluster was lost"

#: Whether this process is one of ray's workers, and so has a task of ours waiting.
_in_task = False


def register_ray() -> None:
    """Make the backend ``ray`` known, as ``ray.util.joblib`` has it; here it is known from the beginning.

    Examples
    --------
    >>> register_ray()
    """
    register_parallel_backend("ray", RayBackend)


def run_on_ray(run: Any, payload: Any, *contents: Any) -> Reply | Lost:
    """Run a batch in a worker process of ray, with as many CPUs as ray has reserved.

    Parameters
    ----------
    run : callable
        Runs it.
    payload : object
        Its argument.
    *contents
        Large data that came another way.
    """
    global _in_task  # noqa: PLW0603 - a fact about this process
    import os

    import ray

    _in_task = True
    context = ray.get_runtime_context()
    cpus = int(context.get_assigned_resources().get("CPU", 1))
    outcome: Reply | Lost = run(payload, *contents, cpus=max(1, cpus))
    if isinstance(outcome, Reply):
        return outcome._replace(worker=f"{context.get_node_id()[:8]}:{os.getpid()}")
    return outcome


class RayBackend:
    """A ray cluster: the one this process is connected to, the one named, or a local one.

    Parameters
    ----------
    address : str, optional
        Of the cluster, as for ``ray.init``: ``"auto"``, ``"ray://host:10001"``, ...; without it, what
        ``RAY_ADDRESS`` says.
    ray_remote_args : mapping of str to object, optional
        Options of the tasks: ``num_cpus``, ``num_gpus``, ``resources``, ``scheduling_strategy``, ...
    scatter : sequence of object, optional
        Arguments that are to be stored on the cluster whatever their size.

    Raises
    ------
    BackendUnavailable
        If ray is not installed; later, if no cluster answers.
    WrongParam
        A `ValueError`: a parameter has a value that it can't have.
    """

    name = "ray"
    traits = Traits(
        uses_processes=True, multi_host=True, cluster=True, can_kill_running=True, times_tasks=False
    )

    def __init__(
        self,
        address: str | None = None,
        *,
        ray_remote_args: Mapping[str, Any] | None = None,
        scatter: Sequence[object] = (),
    ) -> None:
        if find_spec("ray") is None:
            raise BackendUnavailable("the backend 'ray' needs a package: pip install parallelcfg[ray]")
        checked(TEXT, address=address)
        checked(TABLE, ray_remote_args=ray_remote_args)
        checked(LIST, scatter=scatter)
        self._address = address
        self._args = dict(ray_remote_args or {})
        self._chosen = scatter or ()

    def effective_n_jobs(self, config: Config, cpus: int) -> int:
        """How many jobs this configuration means here; -1 is the cluster's CPUs, inside a task its own."""
        if config.n_jobs is not None and config.n_jobs < 0 and not _in_task:
            self._connect()
            cpus = _cluster_slots(self._args)
        return clamp(config.n_jobs, cpus, config.max_jobs)[0]

    def open(self, config: Config, n_jobs: int, threads: int) -> RaySession:  # noqa: ARG002 - the protocol
        """Connect."""
        self._connect()
        if _in_task:  # the waiting task holds CPUs already: asking for more of them could wait for ever
            return RaySession(config, n_jobs, {**self._args, "num_cpus": 0}, self._chosen)
        return RaySession(config, _cluster_slots(self._args), self._args, self._chosen)

    def _connect(self) -> None:
        import ray

        if ray.is_initialized():
            return
        try:
            ray.init(address=self._address)
        except (ConnectionError, ValueError) as error:
            raise BackendUnavailable(f"no ray cluster answers at {self._address}: {error}") from error


class RaySession(Flights):
    """A session on a ray cluster.

    Parameters
    ----------
    config : Config
        Its ``n_jobs`` and ``max_jobs`` bound what is out at the same time.
    slots : int
        How many tasks the cluster can run at the same time.
    args : mapping
        Options of the tasks.
    chosen : sequence of object
        What is stored whatever its size.
    """

    def __init__(self, config: Config, slots: int, args: Mapping[str, Any], chosen: Sequence[object]) -> None:
        import ray

        super().__init__(config, slots, chosen)
        self._ray = ray
        self._task = ray.remote(**args)(run_on_ray) if args else ray.remote(run_on_ray)
        self._left = threading.Event()
        if not _in_task:
            look = partial(self._look, args, _connection())
            threading.Thread(target=look, name="parallelcfg-ray", daemon=True).start()

    def put(self, value: object) -> Any:
        """Store a value on the cluster."""
        if not self._ray.is_initialized():  # here and elsewhere: ray itself would start a new cluster
            raise WorkerLost(_GONE)
        return self._ray.put(value)

    def _pack(self, work: Work) -> tuple[Any, ...]:
        return work.run, work.payload, *work.handles

    def _start(self, batch_id: int, args: tuple[Any, ...]) -> Any:  # noqa: ARG002 - heirs may want it
        if not self._ray.is_initialized():
            raise WorkerLost(_GONE)
        return self._task.remote(*args)

    def _follow(self, batch_id: int, future: Any) -> None:
        future.future().add_done_callback(partial(self._ended, batch_id))

    def _ended(self, batch_id: int, future: Any) -> None:
        if not self._ray.is_initialized():  # what says that the task had to exit is no fault of the task
            self._settle(batch_id, lost(_GONE))
            return
        error = future.exception()
        self._settle(batch_id, future.result() if error is None else self._explain(error))

    def _cancel(self, futures: list[Any]) -> None:
        if self._ray.is_initialized():
            for future in futures:
                self._ray.cancel(future, force=True)

    def _explain(self, error: BaseException) -> Lost:
        if isinstance(error, WorkerLost):
            return Lost(error)
        return lost(f"ray could not run a batch: {type(error).__name__}: {error}", error)

    def _leave(self) -> None:
        self._left.set()

    def _look(self, args: Mapping[str, Any], connection: object) -> None:
        while not self._left.wait(_LOOK):
            if _connection() != connection:
                self._lose(lost(_GONE))  # ray tells no future
                return
            with suppress(self._ray.exceptions.RaySystemError):  # shut down a moment ago
                self._resize(_cluster_slots(args))


def _connection() -> object:
    """What this process is connected to, and as which job; None for nothing."""
    import ray
    from ray.runtime_context import get_runtime_context  # the name in `ray` would connect where nothing is

    try:
        context = get_runtime_context()
        return context.gcs_address, context.get_job_id()
    except (AttributeError, OSError, RuntimeError, ray.exceptions.RaySystemError):  # shut down, or nearly so
        return None


def _cluster_slots(args: Mapping[str, Any]) -> int:
    import ray

    return slots_for(ray.cluster_resources(), args)


def slots_for(resources: Mapping[str, float], args: Mapping[str, Any]) -> int:
    """How many tasks can run at the same time.

    Parameters
    ----------
    resources : mapping
        What the cluster has.
    args : mapping
        Options of the tasks.

    Examples
    --------
    >>> slots_for({"CPU": 8, "GPU": 2}, {}), slots_for({"CPU": 8, "GPU": 2}, {"num_gpus": 0.5})
    (8, 4)
    """
    needs = {"CPU": args.get("num_cpus", 1), "GPU": args.get("num_gpus", 0), **args.get("resources", {})}
    found = [int(resources.get(name, 0) // need) for name, need in needs.items() if need]
    return min(found) if found else int(resources.get("CPU", 1))
