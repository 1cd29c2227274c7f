"""What travels between a parent and the workers of a cluster: pickles, and large contents beside them.

The workers' side of `apart`, which says how the parent makes it.
"""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from parallelcfg.transport import pickling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parallelcfg.transport.pickling import BufferCallback, Reducers

__all__ = ["Bundle", "Parcel", "Use", "dumps", "loads", "raw", "same"]

#: What the receiver does with a content: give it to the task as it is, read-only, or as a copy of its own.
Use = Literal["as it is", "read-only", "copy"]

#: Size in bytes from which a buffer of a result travels beside the pickle.
_BESIDE = 1 << 16


class Parcel(NamedTuple):
    """A pickle for a worker.

    Parameters
    ----------
    data : bytes
        The pickle.
    uses : tuple of str
        What to do with each of the contents that travel apart.
    """

    data: bytes
    uses: tuple[Use, ...]


class Bundle(NamedTuple):
    """A pickle for the parent, whose large buffers the cluster moves without another copy."""

    data: bytes
    buffers: tuple[Any, ...]


def loads(parcel: Parcel, contents: Sequence[Any]) -> Any:
    """Unpickle what the parent sent, in a worker.

    Parameters
    ----------
    parcel : Parcel
        The pickle.
    contents : sequence
        What the handles that went with it stand for.
    """
    buffers = [_prepared(content, use) for content, use in zip(contents, parcel.uses, strict=True)]
    return pickle.loads(parcel.data, buffers=buffers)


def _prepared(content: Any, use: Use) -> Any:
    if use == "as it is":
        return content
    if isinstance(content, bytes):
        return bytearray(content)
    if use == "copy":
        return content.copy()
    view = content.view()
    view.flags.writeable = False
    return view


def dumps(values: object) -> bytes | Bundle:
    """Pickle results for the parent, in a worker.

    Raises
    ------
    TaskNotPicklable
        If something can't be pickled.
    """
    beside = _Beside()
    data = pickling.dumps(values, store=beside, name="result")
    return Bundle(data, tuple(map(_portable, beside.buffers))) if beside.buffers else data


def _portable(view: memoryview) -> Any:
    """A buffer as something that any pickler takes, and a good one does not copy."""
    frombuffer = getattr(sys.modules.get("numpy"), "frombuffer", None)
    return bytes(view) if frombuffer is None else frombuffer(view, "u1")


class _Beside:
    """A `pickling.Store` that keeps large buffers where they are."""

    def __init__(self) -> None:
        self.buffers: list[memoryview] = []

    def begin(self) -> tuple[Reducers, BufferCallback | None]:
        self.buffers = []
        return {}, self._keep_in_pickle

    def _keep_in_pickle(self, buffer: pickle.PickleBuffer) -> bool:
        view = raw(buffer)
        if view is None or view.nbytes < _BESIDE:
            return True
        self.buffers.append(view)
        return False


def same(content: Any) -> Any:
    """What stands in a pickle for a content that comes in its place."""
    return content


def raw(buffer: pickle.PickleBuffer) -> memoryview | None:
    """The bytes of a buffer; None where they are not contiguous."""
    try:
        return buffer.raw()
    except BufferError:
        return None
