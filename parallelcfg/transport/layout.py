"""How an array becomes raw bytes, and what it takes to see those bytes as the same array again.

Arrays without gaps (contiguous, transposed, reversed, broadcast) are written as they lie in memory, with one
call and no copy; strides, signs and zeros included, they come back as they were. Arrays with gaps (slices,
fields of records) are packed in the order of their axes in memory, piece by piece: no second array is made.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np

    Array = np.ndarray[Any, Any]

__all__ = ["Layout", "has_raw_bytes", "pieces", "plan", "span"]

#: Bytes that are packed at once.
_PIECE = 1 << 22

#: numpy's letters for kinds of elements that are nothing but their bytes.
_RAW_KINDS = frozenset("biufcSUVmM")


class Layout(NamedTuple):
    """Where the elements of an array are among raw bytes.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the elements.
    shape, strides : tuple of int
        As those of an array; strides may be None for C order.
    offset : int
        Position of the first element, which is not the lowest where a stride is negative.
    nbytes : int
        How many bytes there are.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    offset: int
    nbytes: int

    def view(self, kind: type[Array], buffer: Any, start: int = 0) -> Array:
        """See a buffer as an array of some class; ``start`` is where the bytes begin in it."""
        import numpy as np

        array: Array = np.ndarray.__new__(
            kind, self.shape, self.dtype, buffer, start + self.offset, self.strides
        )
        return array


def has_raw_bytes(array: Array) -> bool:
    """Whether an array has elements, and these are nothing but bytes: no pointers, no Python objects."""
    return array.nbytes > 0 and array.dtype.kind in _RAW_KINDS and not array.dtype.hasobject


def span(array: Array) -> tuple[int, int]:
    """Address of an array's lowest byte, and the number of bytes from there to its end."""
    below = above = 0
    for length, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            below -= (length - 1) * stride
        else:
            above += (length - 1) * stride
    address: int = array.__array_interface__["data"][0]
    return address - below, below + above + array.itemsize


def plan(array: Array, *, overlap: bool) -> tuple[Layout, Callable[[], Iterable[memoryview]]]:
    """Lay an array out as raw bytes.

    Parameters
    ----------
    array : numpy.ndarray
        An array that `has_raw_bytes`.
    overlap : bool
        Whether elements that share memory (broadcast axes, sliding windows) shall still share it afterwards.
        Else each gets its own bytes.

    Returns
    -------
    Layout
        What will be there.
    callable
        Gives the bytes, in pieces.
    """
    # Axes from the outermost in memory to the innermost; broadcast ones, which are nowhere, go outside.
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis] or sys.maxsize))
    low, nbytes = span(array)
    if _is_packed(array, order) or (overlap and _overlaps_evenly(array, nbytes)):
        offset = array.__array_interface__["data"][0] - low
        layout = Layout(array.dtype, array.shape, array.strides, offset, nbytes)
        return layout, lambda: [_memory(array, nbytes)]
    strides = [0] * array.ndim
    step = array.itemsize
    for axis in reversed(order):
        strides[axis] = step
        step *= array.shape[axis]
    return Layout(array.dtype, array.shape, tuple(strides), 0, step), partial(pieces, array.transpose(order))


def pieces(array: Array) -> Iterator[memoryview]:
    """The bytes of an array's elements in C order, a few megabytes at a time."""
    import numpy as np

    if array.ndim == 0:
        array = array.reshape(1)
    rows = _PIECE * len(array) // array.nbytes
    if rows or array.ndim == 1:
        rows = rows or 1
        for first in range(0, len(array), rows):
            packed = np.ascontiguousarray(array[first : first + rows])
            yield packed.reshape(-1).view(np.uint8).data
    else:
        for row in array:
            yield from pieces(row)


def _is_packed(array: Array, order: list[int]) -> bool:
    expected = array.itemsize
    for axis in reversed(order):
        if array.shape[axis] == 1:
            continue
        if abs(array.strides[axis]) != expected:
            return False
        expected *= array.shape[axis]
    return True


def _overlaps_evenly(array: Array, nbytes: int) -> bool:
    return nbytes < array.nbytes and all(stride % array.itemsize == 0 for stride in array.strides)


def _memory(array: Array, nbytes: int) -> memoryview:
    """The memory between an array's lowest byte and its end."""
    import numpy as np
    from numpy.lib.stride_tricks import as_strided

    # The ellipsis is for arrays without axes, which would become scalars else.
    forwards: tuple[Any, ...] = (..., *(slice(None, None, -1 if s < 0 else 1) for s in array.strides))
    lowest = array[forwards]
    step = array.itemsize
    return as_strided(lowest, (nbytes // step,), (step,), writeable=False).view(np.uint8).data
