"""How the engine hands batches to a session: as they are, or as bytes.

The session never knows which: both kinds are `Work`, a function and its payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from parallelcfg import worker
from parallelcfg.backends.base import Work
from parallelcfg.core.outcome import Failure
from parallelcfg.report import Traffic
from parallelcfg.transport import salvage
from parallelcfg.transport.common import Common
from parallelcfg.transport.failures import traceback_text

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from parallelcfg.core.tasks import Batch
    from parallelcfg.orders import Orders
    from parallelcfg.transport.apart import Apart
    from parallelcfg.transport.reduce import Sharing

__all__ = ["ApartCodec", "Codec", "LocalCodec", "Refused", "SharingCodec"]


class Refused(Exception):
    """Some tasks of a batch can't be packed.

    Parameters
    ----------
    failures : sequence of Failure
        One for each of them.
    """

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__(failures)
        self.failures = failures


class Codec(Protocol):
    """Packs batches into work, and unpacks what comes back."""

    @property
    def traffic(self) -> Traffic:
        """Bytes that it has moved so far; the same object for as long as it lives."""

    def pack(self, batch_id: int, batch: Batch, patience: float | None) -> Work:
        """Make a batch ready for the session; raises `Refused` where tasks can't travel."""

    def unpack(self, values: Any) -> list[Any]:
        """The results of a reply."""

    def release(self, batch_id: int, *, lost: bool) -> None:
        """The batch has ended, or was lost: what only it needed can go."""

    def close(self) -> None:
        """Remove what the call has shared. Idempotent."""


class Carrier(Protocol):
    """Turns batches into something that can be sent, and keeps large data out of it."""

    @property
    def bytes_pickled(self) -> int:
        """Bytes that went into pickles so far, in both directions."""

    @property
    def bytes_shared(self) -> int:
        """Bytes that went past them."""

    def dumps(self, obj: object, *, user: Hashable = None, name: str | None = "object") -> Any:
        """Pack a batch (``user`` is its number), or a part; without a name, nobody looks for culprits."""

    def loads(self, values: Any) -> Any:
        """Unpack results."""

    def release(self, user: Hashable) -> None:
        """Let go of what only this batch needed."""

    def close(self) -> None:
        """Let go of everything that was kept. Idempotent."""


class LocalCodec:
    """For backends that share the caller's memory: everything travels as it is."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self.traffic = Traffic()

    def pack(self, batch_id: int, batch: Batch, patience: float | None) -> Work:
        """Make a batch ready for the session."""
        return Work(worker.run_local, (batch_id, batch, self._orders, patience))

    def unpack(self, values: Any) -> list[Any]:
        """The results of a reply: a list, or its pickle where joblib's hooks took the batch elsewhere."""
        return salvage.loads(values) if isinstance(values, bytes) else values  # type: ignore[no-any-return]

    def release(self, batch_id: int, *, lost: bool) -> None:
        """Nothing is shared."""

    def close(self) -> None:
        """Nothing is shared, nothing is left."""


class _ByteCodec:
    """Batches become bytes; large data take the carrier's way."""

    def __init__(self, orders: bytes, carrier: Carrier) -> None:
        self._orders = orders
        self._carrier = carrier
        self.traffic = Traffic()

    def pack(self, batch_id: int, batch: Batch, patience: float | None) -> Work:
        """Make a batch ready for the session; raises `Refused` where tasks can't be pickled."""
        try:
            packed = self._dumps(batch, batch_id)
        except Exception as error:
            fault = error
        else:
            self._count()
            return self._work(batch_id, packed, len(batch), patience)
        from parallelcfg.transport.refusal import refusal  # rarely needed

        # Out of the handler, so that what a task's own attempt raises has no other exception as its context
        failures = [
            Failure(position, reason, traceback_text(reason))
            for position in range(len(batch))
            if (reason := refusal(batch, position, self._carrier.dumps)) is not None
        ]
        raise Refused(failures) if failures else fault

    def unpack(self, values: Any) -> list[Any]:
        """The results of a reply."""
        if values is None:
            return []
        results: list[Any] = self._carrier.loads(values)
        self._count()
        return results

    def release(self, batch_id: int, *, lost: bool) -> None:  # noqa: ARG002 - the protocol's signature
        """The batch has ended, or was lost: what only it needed can go."""
        self._carrier.release(batch_id)

    def close(self) -> None:
        """Remove what the call has shared. Idempotent."""
        self._carrier.close()

    def _dumps(self, batch: Batch, batch_id: int) -> Any:
        """Pack a batch whole."""
        raise NotImplementedError

    def _count(self) -> None:
        self.traffic.pickled = self._carrier.bytes_pickled
        self.traffic.shared = self._carrier.bytes_shared

    def _work(self, batch_id: int, packed: Any, count: int, patience: float | None) -> Work:
        raise NotImplementedError


class SharingCodec(_ByteCodec):
    """For backends that use processes: large data go through the arena.

    Parameters
    ----------
    orders : bytes
        The call's orders, pickled.
    sharing : Sharing
        The carrier.
    answers : bool
        Workers can ask for the folders of the arena: see `Traits.answers`.
    """

    def __init__(self, orders: bytes, sharing: Sharing, *, answers: bool) -> None:
        super().__init__(orders, sharing)
        self._sharing = sharing
        self._answer = sharing.folders if answers else None
        self._common = Common(sharing)

    def release(self, batch_id: int, *, lost: bool) -> None:
        """The batch has ended, or was lost: what only it needed can go."""
        self._common.release(batch_id)
        super().release(batch_id, lost=lost)

    def close(self) -> None:
        """Remove what the call has shared. Idempotent."""
        super().close()
        self._common.forget()

    def _dumps(self, batch: Batch, batch_id: int) -> bytes:
        return self._common.dumps(batch, batch_id)

    def _work(self, batch_id: int, packed: Any, count: int, patience: float | None) -> Work:
        ticket = self._sharing.ticket if self._answer is None else self._sharing.open_ticket
        payload = (batch_id, self._orders, ticket, packed, count, patience)
        return Work(worker.run_bytes, payload, answer=self._answer)


class ApartCodec(_ByteCodec):
    """For clusters: batches become bytes, large data go through the cluster's own store."""

    def __init__(self, orders: bytes, apart: Apart) -> None:
        super().__init__(orders, apart)
        self._apart = apart

    def release(self, batch_id: int, *, lost: bool) -> None:
        """The batch has ended, or was lost, and with it maybe what was stored for it."""
        if lost:
            self._apart.forget(batch_id)
        super().release(batch_id, lost=lost)

    def _dumps(self, batch: Batch, batch_id: int) -> Any:
        return self._apart.dumps(self._apart.folded(batch).parts, user=batch_id, name=None)

    def _work(self, batch_id: int, packed: Any, count: int, patience: float | None) -> Work:
        parcel, handles = packed
        return Work(worker.run_apart, (batch_id, self._orders, parcel, count, patience), handles)
