"""In which order finished batches leave: as the tasks came, or as they finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AsFinished", "InOrder", "Release"]

T = TypeVar("T")


class Release(Protocol[T]):
    """Takes finished items by their sequence number, hands out those that may leave."""

    def put(self, sequence: int, item: T) -> Iterator[T]:
        """Add a finished item; yields everything that may leave now."""

    def __len__(self) -> int:
        """How many items are held back."""


class InOrder(Generic[T]):
    """Items leave by sequence number, from 0, without a gap.

    Examples
    --------
    >>> order = InOrder()
    >>> list(order.put(1, "b")), list(order.put(0, "a"))
    ([], ['a', 'b'])
    """

    __slots__ = ("_held", "_next")

    def __init__(self) -> None:
        self._held: dict[int, T] = {}
        self._next = 0

    def put(self, sequence: int, item: T) -> Iterator[T]:
        """Add a finished item; yields everything that may leave now."""
        self._held[sequence] = item
        while self._next in self._held:
            self._next += 1
            yield self._held.pop(self._next - 1)

    def __len__(self) -> int:
        return len(self._held)


class AsFinished(Generic[T]):
    """Items leave at once."""

    __slots__ = ()

    def put(self, sequence: int, item: T) -> Iterator[T]:  # noqa: ARG002 - the protocol's signature
        """Add a finished item; yields it."""
        yield item

    def __len__(self) -> int:
        return 0
