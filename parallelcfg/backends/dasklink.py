"""Which dask cluster to use, and how the calling thread stands to it."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from parallelcfg.backends.shelf import SHELF
from parallelcfg.errors import BackendUnavailable, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Link", "capacity", "connect", "eligible", "in_task", "names_cluster", "slots_for", "spelled"]


class Link:
    """A connection to a scheduler, for one session at a time.

    Parameters
    ----------
    client : distributed.Client
        The connection.
    release : callable, optional
        Called with the link when the session ends; by default nothing is to be done.
    cluster : distributed.LocalCluster, optional
        Ends with the link.
    """

    def __init__(
        self, client: Any, release: Callable[[Link], None] | None = None, cluster: Any = None
    ) -> None:
        if client.asynchronous:
            raise ConfigError("the dask client is asynchronous; pass one made without asynchronous=True")
        self.client = client
        self._release = release
        self._cluster = cluster
        self._owner = os.getpid()

    @property
    def address(self) -> str:
        """Where the scheduler is."""
        scheduler = self.client.scheduler
        return "an unknown address" if scheduler is None else str(scheduler.address)

    @property
    def same_process(self) -> bool:
        """Whether workers share this process's memory."""
        return self.address.startswith("inproc:")

    def workers(self) -> Mapping[str, Any]:
        """What the scheduler says about each worker, by address."""
        found: Mapping[str, Any] = self.client.sync(self.client.scheduler.identity)["workers"]
        return found

    def usable(self) -> bool:
        """Whether this process made it and the scheduler is there."""
        return self._owner == os.getpid() and self.client.status == "running"

    def stop(self, *, kill: bool, wait: bool = False) -> None:  # noqa: ARG002 - the protocol's signature
        """Disconnect, and end the cluster if it was made for this link."""
        self.client.close()
        if self._cluster is not None:
            self._cluster.close()

    def release(self) -> None:
        """Give it back."""
        if self._release is not None:
            self._release(self)


def names_cluster(address: str | None, client: Any) -> bool:
    """Whether there is a cluster to connect to; else a local one has to be made."""
    import dask.config
    from distributed import default_client

    if client is not None or address or dask.config.get("scheduler-address", None) or in_task():
        return True
    try:
        default_client()
    except ValueError:
        return False
    return True


def connect(address: str | None, client: Any, workers: int) -> Link:
    """A link to the cluster that is meant.

    Parameters
    ----------
    address : str or None
        Of a scheduler; None: dask's own configuration knows it, or the default client is connected to it, or
        a local cluster has to be made.
    client : distributed.Client or None
        Used as it is.
    workers : int
        Processes of a local cluster.

    Raises
    ------
    BackendUnavailable
        If no scheduler answers.
    """
    import dask.config
    from distributed import default_client, get_client

    if client is not None:
        return Link(client)
    if in_task():
        return Link(get_client(), _seat())
    address = address or dask.config.get("scheduler-address", None)
    if address:
        return SHELF.lease(("dask", address), partial(_dial, address))
    try:
        return Link(default_client())
    except ValueError:  # there is none
        return _local(workers)


def _dial(address: str) -> Link:
    from distributed import Client

    try:
        client = Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise BackendUnavailable(f"no dask scheduler answers at {address}: {error}") from error
    return Link(client, partial(_shelve, address))


def _shelve(address: str, link: Link) -> None:
    if link.usable():
        SHELF.give_back(("dask", address), link)
    else:
        link.stop(kill=True)


def _local(workers: int) -> Link:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
    return Link(Client(cluster, set_as_default=False), lambda link: link.stop(kill=True), cluster)


def in_task() -> bool:
    """Whether the calling code is a task of dask."""
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


def _seat() -> Callable[[Link], None] | None:
    """Give up the calling thread's seat in its worker, lest waiting tasks take up all seats; the way back."""
    from distributed import rejoin, secede
    from distributed.threadpoolexecutor import thread_state

    if not getattr(thread_state, "proceed", False):  # no seat, or given up before
        return None
    secede()
    seated = threading.get_ident()

    def back(_: Link) -> None:
        if threading.get_ident() == seated:  # a generator may end in another thread
            rejoin()

    return back


def slots_for(workers: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> int:
    """How many batches can run at the same time, each with these options of dask's; see `capacity`."""
    only = None if options["allow_other_workers"] else options["workers"]
    return capacity(workers, only, options["resources"])


def capacity(
    workers: Mapping[str, Mapping[str, Any]],
    only: Sequence[str] | None = None,
    resources: Mapping[str, float] | None = None,
) -> int:
    """How many tasks can run at the same time.

    Parameters
    ----------
    workers : mapping
        What the scheduler says about each worker, by address.
    only : sequence of str, optional
        Addresses, names or hosts of workers that count. A name may be a number, of which this is the text.
    resources : mapping, optional
        What one task takes.

    Examples
    --------
    >>> workers = {"tcp://a:1": {"nthreads": 4, "resources": {"GPU": 1}}, "tcp://b:1": {"nthreads": 2}}
    >>> capacity(workers), capacity(workers, only=["tcp://b:1"]), capacity(workers, resources={"GPU": 1})
    (6, 2, 1)
    """
    total = 0
    for worker in eligible(workers, only).values():
        has = worker.get("resources", {})
        slots = [int(has.get(name, 0) // amount) for name, amount in (resources or {}).items() if amount > 0]
        total += min([worker["nthreads"], *slots])
    return total


def eligible(
    workers: Mapping[str, Mapping[str, Any]], only: Sequence[str] | None
) -> Mapping[str, Mapping[str, Any]]:
    """The workers that count; see `capacity`."""
    if only is None:
        return workers
    wanted = {str(one) for one in only}
    return {
        address: worker
        for address, worker in workers.items()
        if {address, str(worker.get("name")), worker.get("host")} & wanted
    }


def spelled(only: Sequence[object], workers: Mapping[str, Mapping[str, Any]]) -> list[object]:
    """Addresses, names and hosts as dask wants them: its own clusters number their workers.

    Examples
    --------
    >>> spelled(["1", "alice", "10.0.0.1"], {"tcp://10.0.0.1:1": {"name": 1}})
    [1, 'alice', '10.0.0.1']
    """
    names = {str(worker.get("name")): worker.get("name") for worker in workers.values()}
    return [names.get(str(one), str(one)) for one in only]
