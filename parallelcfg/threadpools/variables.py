"""Environment variables that native thread pools read when they are loaded. Pure.

A worker is given its limit before it imports anything. Unless the limit was set explicitly, a smaller size
that the user's environment asked for stays as it is, and a larger one is lowered: ``OMP_NUM_THREADS=8``
around four workers must not become 32 threads.

The worker's own variables then show what was made of them. What the user had asked for travels beside them,
in `INHERITED`, so that a later call with a larger budget, or a nested one, starts from the user's wish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["INHERITED", "VARIABLES", "environment_for", "size_in", "sizes_for"]

#: Each variable with those that its library reads in its absence.
VARIABLES: dict[str, tuple[str, ...]] = {
    "OMP_NUM_THREADS": (),
    "OPENBLAS_NUM_THREADS": ("GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
    "MKL_NUM_THREADS": ("OMP_NUM_THREADS",),
    "BLIS_NUM_THREADS": ("OMP_NUM_THREADS",),
    "NUMEXPR_NUM_THREADS": ("OMP_NUM_THREADS",),
    "NUMBA_NUM_THREADS": (),
    "POLARS_MAX_THREADS": (),
    "RAYON_NUM_THREADS": (),
    "OPENCV_FOR_THREADS_NUM": (),
    "VECLIB_MAXIMUM_THREADS": (),
}

#: What the user's environment said before this package changed it: ``"OMP_NUM_THREADS=8 ..."``.
INHERITED = "PARALLELCFG_INHERITED_THREADS"


def sizes_for(limit: int, environ: Mapping[str, str], *, explicit: bool = False) -> dict[str, int]:
    """The number of threads for each kind of pool.

    Parameters
    ----------
    limit : int
        Threads that one task may use.
    environ : mapping
        The environment variables that the worker inherits, or has.
    explicit : bool, default False
        The limit was asked for by name, and beats what the environment says.

    Returns
    -------
    dict
        By the names of `VARIABLES`.

    Examples
    --------
    >>> sizes = sizes_for(4, {"OMP_NUM_THREADS": "8", "MKL_NUM_THREADS": "1"})
    >>> sizes["OMP_NUM_THREADS"], sizes["MKL_NUM_THREADS"], sizes["POLARS_MAX_THREADS"]
    (4, 1, 4)
    """
    wishes = {} if explicit else _wishes(environ)
    return {
        name: min(limit, next((wishes[source] for source in (name, *others) if source in wishes), limit))
        for name, others in VARIABLES.items()
    }


def environment_for(limit: int, environ: Mapping[str, str], *, explicit: bool = False) -> dict[str, str]:
    """Variables for a worker process that is about to be started.

    Parameters
    ----------
    limit : int
        Threads that one task may use.
    environ : mapping
        The environment variables that the worker would inherit.
    explicit : bool, default False
        The limit was asked for by name, and beats what the environment says.

    Returns
    -------
    dict
        To be laid over ``environ``.

    Examples
    --------
    >>> environment_for(2, {"OMP_NUM_THREADS": "1"})["OPENBLAS_NUM_THREADS"]
    '1'
    >>> environment_for(2, {"OMP_NUM_THREADS": "1"}, explicit=True)["OPENBLAS_NUM_THREADS"]
    '2'
    """
    variables = {
        # A value that fits stays letter by letter: "4,2" also sizes nested OpenMP regions.
        name: environ[name] if size_in(environ.get(name, "")) == size else str(size)
        for name, size in sizes_for(limit, environ, explicit=explicit).items()
    }
    variables[INHERITED] = " ".join(f"{name}={number}" for name, number in _wishes(environ).items())
    return variables


def size_in(text: str) -> int:
    """The size that a variable's value asks for at the outermost level; 0 where it makes no sense.

    Parameters
    ----------
    text : str
        A number, or OpenMP's list of numbers, one for each level of nesting.

    Returns
    -------
    int
        At least 0.

    Examples
    --------
    >>> size_in("4,2"), size_in("many")
    (4, 0)
    """
    first = text.partition(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() and len(first) < 10 else 0  # noqa: PLR2004 - sane


def _wishes(environ: Mapping[str, str]) -> dict[str, int]:
    """The sizes that the user asked for, by variable."""
    if INHERITED in environ:
        pairs = (pair.partition("=")[::2] for pair in environ[INHERITED].split())
    else:
        names = {name: None for sources in VARIABLES.items() for name in (sources[0], *sources[1])}
        pairs = ((name, environ.get(name, "")) for name in names)
    numbers = {name: size_in(text) for name, text in pairs}
    return {name: number for name, number in numbers.items() if number}
