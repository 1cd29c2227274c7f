"""The native thread pools that are loaded in this process, each with a way to read and set its size."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Found", "Pool", "find_pools"]


class Pool(NamedTuple):
    """One native thread pool.

    Parameters
    ----------
    name : str
        The library's file or module: the same pool has the same name at every search.
    variable : str
        The environment variable that sizes it at its start.
    by_thread : bool
        Its size is a property of the calling thread, not of the process.
    size : callable
        Gives the size now.
    resize : callable
        Takes the new size.
    """

    name: str
    variable: str
    by_thread: bool
    size: Callable[[], int]
    resize: Callable[[int], object]


class Found(NamedTuple):
    """What a search found.

    Parameters
    ----------
    pools : tuple of Pool
        Every pool whose size can be set.
    release : callable
        threadpoolctl (since 3.7) gives OpenBLAS to the first thread that sizes it and ignores all others for
        as long as that one lives; this takes it from whoever has it.
    """

    pools: tuple[Pool, ...] = ()
    release: Callable[[], None] = lambda: None

    def resize(self, sizes: Mapping[str, int]) -> None:
        """Set the sizes of some pools, by name, from whatever thread, and let other threads do so after."""
        self.release()
        for pool in self.pools:
            if pool.name in sizes:
                pool.resize(sizes[pool.name])
        self.release()


def find_pools() -> Found:
    """Search this process for native thread pools.

    Returns
    -------
    Found
        Without any pool, at little cost, where no library is loaded that has one.
    """
    python = tuple(_python_pools())
    if not _may_have_native_pools():
        return Found(python)
    from threadpoolctl import OpenBLASController, ThreadpoolController

    libraries = ThreadpoolController().lib_controllers
    native = tuple(_native(library) for library in libraries if library.num_threads)
    clear = getattr(OpenBLASController, "clear_controlling_thread", None)  # older versions let every thread
    return Found((*native, *python), partial(clear, force=True)) if clear else Found((*native, *python))


_LIBRARY_NAMES = (b"blas", b"mkl", b"blis", b"gomp", b"iomp", b"libomp")


def _may_have_native_pools() -> bool:
    """Whether importing threadpoolctl (30 ms) is worth while."""
    if "threadpoolctl" in sys.modules or sys.platform != "linux":
        return True
    try:
        with open("/proc/self/maps", "rb") as maps:  # noqa: PTH123 - pathlib would cost each worker 3 ms
            mapped = maps.read()
    except OSError:
        return True
    return any(name in mapped for name in _LIBRARY_NAMES)


_NATIVE_VARIABLES = {
    "openblas": "OPENBLAS_NUM_THREADS",
    "mkl": "MKL_NUM_THREADS",
    "blis": "BLIS_NUM_THREADS",
}


def _native(library: Any) -> Pool:
    kind = library.internal_api
    by_thread = (
        kind == "mkl"
        or (kind == "openmp" and library.prefix != "vcomp")  # Microsoft's counts by process
        or (kind == "openblas" and library.threading_layer == "openmp")
    )
    return Pool(
        library.filepath,
        _NATIVE_VARIABLES.get(kind, "OMP_NUM_THREADS"),
        by_thread,
        library.get_num_threads,
        library.set_num_threads,
    )


#: Modules with a pool of their own that threadpoolctl does not reach: variable, getter, setter.
_MODULES = {
    "torch": ("OMP_NUM_THREADS", "get_num_threads", "set_num_threads"),
    "pyarrow": ("OMP_NUM_THREADS", "cpu_count", "set_cpu_count"),
    "numexpr": ("NUMEXPR_NUM_THREADS", "get_num_threads", "set_num_threads"),
    "cv2": ("OPENCV_FOR_THREADS_NUM", "getNumThreads", "setNumThreads"),
}


def _python_pools() -> Iterator[Pool]:
    for name, (variable, getter, setter) in _MODULES.items():
        module = sys.modules.get(name)
        size, resize = getattr(module, getter, None), getattr(module, setter, None)
        if size and resize:  # missing while another thread is still importing the module
            yield Pool(name, variable, False, size, resize)
    # Before numba has launched its threads, asking for their number would launch them.
    if any(f"numba.np.ufunc.{layer}" in sys.modules for layer in ("omppool", "tbbpool", "workqueue")):
        yield _numba_pool(sys.modules["numba"])


def _numba_pool(numba: Any) -> Pool:
    def resize(size: int) -> None:
        numba.set_num_threads(min(size, numba.config.NUMBA_NUM_THREADS))  # more would be an error

    return Pool("numba", "NUMBA_NUM_THREADS", True, numba.get_num_threads, resize)
