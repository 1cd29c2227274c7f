"""Workers of a dask cluster: the backend ``dask``."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from parallelcfg.backends.base import Traits
from parallelcfg.backends.dasklink import connect, names_cluster, slots_for
from parallelcfg.backends.dasksession import DaskSession
from parallelcfg.backends.params import AMOUNT, FLAG, LIST, NUMBER, SECONDS, TABLE, TEXT, checked
from parallelcfg.config.policy import clamp
from parallelcfg.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parallelcfg.backends.dasklink import Link
    from parallelcfg.config.snapshot import Config

__all__ = ["DaskBackend"]

#: Seconds between two looks for a worker that fits; dask's own client looks as often for any.
_PAUSE = 0.1


class DaskBackend:
    """A dask cluster.

    Parameters
    ----------
    address : str, optional
        Of the scheduler. Without it, dask's own configuration (``DASK_SCHEDULER_ADDRESS``), the default
        client, or a local cluster for the time of the call.
    client : distributed.Client, optional
        A connection to use as it is.
    scatter : sequence of object, optional
        Arguments that are to be stored on the cluster whatever their size; a task gets the same object as
        its fellows on the same worker.
    workers : sequence of str, optional
        Addresses, names or hosts of the workers that may run tasks.
    allow_other_workers : bool, default False
        Take ``workers`` as a wish only.
    resources : mapping of str to float, optional
        What each batch takes of its worker's resources.
    retries : int, optional
        How often dask itself tries a batch again. The configuration key of this name is about tasks.
    priority : float, optional
        Higher is earlier.
    wait_for_workers_timeout : float, default 10
        Seconds to wait for the first worker that may run a batch.

    Raises
    ------
    BackendUnavailable
        If dask is not installed; later, if no scheduler answers or no worker may run a batch.
    WrongParam
        A `ValueError`: a parameter has a value that it can't have.
    """

    name = "dask"
    traits = Traits(uses_processes=True, multi_host=True, cluster=True, nests=True, times_tasks=False)

    def __init__(
        self,
        address: str | None = None,
        *,
        client: Any = None,
        scatter: Sequence[object] = (),
        workers: Sequence[str] | None = None,
        allow_other_workers: bool = False,
        resources: Mapping[str, float] | None = None,
        retries: int | None = None,
        priority: float = 0,
        wait_for_workers_timeout: float = 10.0,
    ) -> None:
        if find_spec("distributed") is None:
            raise BackendUnavailable("the backend 'dask' needs a package: pip install parallelcfg[dask]")
        checked(TEXT, address=address)
        checked(LIST, scatter=scatter, workers=workers)
        checked(FLAG, allow_other_workers=allow_other_workers)
        checked(TABLE, resources=resources)
        checked(AMOUNT, retries=retries)
        checked(NUMBER, priority=priority)
        checked(SECONDS, wait_for_workers_timeout=wait_for_workers_timeout)
        self._address = address
        self._client = client
        self._chosen = scatter or ()
        self._patience = wait_for_workers_timeout
        self._options = {
            "workers": workers,
            "allow_other_workers": allow_other_workers,
            "resources": resources,
            "retries": retries,
            "priority": priority,
        }

    def effective_n_jobs(self, config: Config, cpus: int) -> int:
        """How many jobs this configuration means here; -1 is all threads of the cluster."""
        negative = config.n_jobs is not None and config.n_jobs < 0
        if negative and names_cluster(self._address, self._client):
            session = self.open(config, 0, 1)
            try:
                return session.workers
            finally:
                session.close()
        return clamp(config.n_jobs, cpus, config.max_jobs)[0]

    def open(self, config: Config, n_jobs: int, threads: int) -> DaskSession:  # noqa: ARG002 - the protocol
        """Connect, and wait for a worker that may run a batch."""
        link = connect(self._address, self._client, n_jobs)
        try:
            self._wait(link)
            return DaskSession(link, config, self._options, self._chosen)
        except BaseException:
            link.release()
            raise

    def _wait(self, link: Link) -> None:
        limit = monotonic() + self._patience
        try:
            link.client.wait_for_workers(1, timeout=self._patience)
            while not slots_for(link.workers(), self._options):
                if monotonic() >= limit:
                    raise TimeoutError
                sleep(_PAUSE)
        except (TimeoutError, asyncio.TimeoutError) as error:  # two different ones on Python 3.10
            message = f"the dask scheduler at {link.address} has no worker{self._wish()}"
            raise BackendUnavailable(f"{message} after {self._patience:g} s") from error

    def _wish(self) -> str:
        """What workers have to be, in words."""
        asked = {name: self._options[name] for name in ("workers", "resources") if self._options[name]}
        if self._options["allow_other_workers"]:
            asked.pop("workers", None)
        return (
            " that fits " + ", ".join(f"{name}={value!r}" for name, value in asked.items()) if asked else ""
        )
