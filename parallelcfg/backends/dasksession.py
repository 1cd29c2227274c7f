"""One call's batches on a dask cluster."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from parallelcfg.backends.dasklink import eligible, slots_for, spelled
from parallelcfg.backends.flights import Flights, lost
from parallelcfg.core.outcome import Lost, Reply
from parallelcfg.transport import pickling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parallelcfg.backends.base import Work
    from parallelcfg.backends.dasklink import Link
    from parallelcfg.config.snapshot import Config

__all__ = ["DaskSession", "run_on_worker"]

#: How many workers get large data at once, so that the death of one loses nothing.
_COPIES = 2
#: Milliseconds between two looks at which workers there are; dask's own client looks as seldom.
_LOOK = 1000
#: Batches of more bytes go through the cluster's store, not through the scheduler.
_LARGE = 1 << 23
#: What a cancelled future raises, in one version of distributed or another.
_CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)


def run_on_worker(packed: bytes, *contents: Any) -> Reply | Lost:
    """Run a batch on a dask worker, where each task has one of the worker's threads.

    Parameters
    ----------
    packed : bytes
        Pickle of a function and its payload.
    *contents
        Large data that came another way.
    """
    from distributed import get_worker

    run, payload = pickle.loads(packed)
    outcome = run(payload, *contents, cpus=1)
    return outcome._replace(worker=get_worker().address) if isinstance(outcome, Reply) else outcome


class DaskSession(Flights):
    """A session on a dask cluster.

    Futures are waited for in the client's own thread, where ``done`` is called too.

    Parameters
    ----------
    link : Link
        The cluster.
    config : Config
        Its ``n_jobs`` and ``max_jobs`` bound what is out at the same time.
    options : mapping
        What goes to dask with each batch.
    chosen : sequence of object
        What is stored whatever its size.
    """

    def __init__(
        self, link: Link, config: Config, options: Mapping[str, Any], chosen: Sequence[object]
    ) -> None:
        from tornado.ioloop import PeriodicCallback

        self._link = link
        self._client = link.client
        self._options = self._sent = options
        self._places: list[str] | None = None
        self._name = f"parallelcfg-{uuid.uuid4().hex[:12]}"
        super().__init__(config, self._count(link.workers()), chosen)
        self._looks = PeriodicCallback(self._look, _LOOK)
        self._client.loop.add_callback(self._looks.start)

    def put(self, value: object) -> Any:
        """Store a value on the cluster."""
        if self._link.same_process:
            value = pickling.loads(pickling.dumps(value))  # as it is now
        (future,) = self._client.scatter([value], workers=self._places, broadcast=_COPIES, hash=False)
        return future

    def _pack(self, work: Work) -> tuple[Any, ...]:
        packed: Any = pickle.dumps((work.run, work.payload), pickle.HIGHEST_PROTOCOL)
        return (self.put(packed) if len(packed) > _LARGE else packed, *work.handles)

    def _start(self, batch_id: int, args: tuple[Any, ...]) -> Any:
        key = f"{self._name}-{batch_id}"
        return self._client.submit(run_on_worker, *args, key=key, pure=False, **self._sent)

    def _follow(self, batch_id: int, future: Any) -> None:
        self._client.loop.add_callback(self._wait, batch_id, future)

    def _cancel(self, futures: list[Any]) -> None:
        if self._link.usable():
            self._client.loop.add_callback(partial(self._client.cancel, futures, asynchronous=True))

    def _leave(self) -> None:
        self._client.loop.add_callback(self._looks.stop)  # its loop may outlive the client
        self._link.release()

    async def _wait(self, batch_id: int, future: Any) -> None:
        outcome: Reply | Lost
        try:
            (outcome,) = await self._client.gather([future], asynchronous=True)
        except BaseException as error:  # what a cancelled future raises is no Exception
            outcome = self._explain(error)
            if not self._link.usable():
                self._lose(outcome)  # dask itself would wait for the scheduler to come back
        future.release()
        self._settle(batch_id, outcome)

    def _explain(self, error: BaseException) -> Lost:
        if self._link.usable():
            if isinstance(error, _CANCELLED):  # not by us: the scheduler forgot it, with a worker that died
                return lost("dask forgot a batch, whose worker may have died", error)._replace(innocent=True)
            return lost(f"dask could not run a batch: {type(error).__name__}: {error}", error)
        return lost(f"the dask scheduler at {self._link.address} was lost", error)

    async def _look(self) -> None:
        if self._client.scheduler is None:  # closed
            self._looks.stop()
            return
        try:
            found = await self._client.scheduler.identity()
        except OSError:  # the futures tell, too
            return
        self._resize(self._count(found["workers"]))

    def _count(self, workers: Mapping[str, Any]) -> int:
        only = self._options["workers"]
        if only is not None:
            self._sent = {**self._options, "workers": spelled(only, workers)}
            self._places = list(eligible(workers, only)) or None  # hosts are none that dask stores data on
        return slots_for(workers, self._options)
