"""Views of memory-mapped files of the user's: they travel by reference where that gives the same array."""

from __future__ import annotations

import mmap
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from parallelcfg.transport.layout import Layout, pieces, span
from parallelcfg.transport.mapping import user_map

if TYPE_CHECKING:
    import numpy as np

    from parallelcfg.transport.layout import Array

__all__ = ["Reference", "backing", "reference"]


class Reference(NamedTuple):
    """What `mapping.user_map` needs to make the same array elsewhere."""

    path: str
    layout: Layout
    start: int
    mode: str
    writeable: bool


def backing(array: Array) -> np.memmap[Any, Any] | None:
    """The `numpy.memmap` that an array is a view of, if it is one of a named file; else None."""
    if array.base is None:
        return None
    numpy = sys.modules["numpy"]
    found = None
    base: Any = array
    while isinstance(base, numpy.ndarray):
        if type(base) is numpy.memmap:
            found = base
        base = base.base
    return found if isinstance(base, mmap.mmap) and found is not None and found.filename else None


def reference(array: Array, mapped: np.memmap[Any, Any]) -> Reference | None:
    """How to make the same array elsewhere; None where the file would not give the same elements.

    Parameters
    ----------
    array : numpy.ndarray
        A view of ``mapped``.
    mapped : numpy.memmap
        Its `backing`.
    """
    mapping: mmap.mmap = mapped._mmap  # type: ignore[attr-defined]  # noqa: SLF001 - the one way to it
    origin: int = sys.modules["numpy"].frombuffer(mapping, "u1").__array_interface__["data"][0]
    low, nbytes = span(array)
    if low < origin or low + nbytes > origin + len(mapping):
        return None
    path = _path(str(mapped.filename), low)
    page = mmap.ALLOCATIONGRANULARITY
    start = mapped.offset - mapped.offset % page + low - origin
    if path is None or os.stat(path).st_size < start + nbytes:
        return None
    offset = array.__array_interface__["data"][0] - low
    layout = Layout(array.dtype, array.shape, array.strides, offset, nbytes)
    mode = "r+" if mapped.mode == "w+" else mapped.mode
    found = Reference(path, layout, start, mode, array.flags.writeable)
    if mode == "c" and not _equal(array, user_map(path, layout, start, "r", False)):
        return None  # somebody wrote into the private map
    return found


def _equal(left: Array, right: Array) -> bool:
    return all(a == b for a, b in zip(pieces(left), pieces(right), strict=True))


def _path(filename: str, address: int) -> str | None:
    """Where the mapped file is now; None if it is gone, or if another one has its name."""
    if sys.platform == "linux":
        named = _mapped_path(address)
        if named:
            filename = named
    return filename if os.path.isfile(filename) else None


def _mapped_path(address: int) -> str:
    """What the kernel says about the file behind an address; empty where it says nothing."""
    try:
        with open("/proc/self/maps", errors="surrogateescape") as file:
            for line in file:
                region, _, _, _, _, *name = line.split(maxsplit=5)
                low, high = region.split("-")
                if int(low, 16) <= address < int(high, 16):
                    return name[0].rstrip("\n") if name else ""
    except OSError:
        return ""
    return ""
