"""What a misspelt name was probably meant to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["suggest"]

_LONGEST_NAME = 80  # difflib takes quadratic time, and nobody mistypes a name into a kilobyte


def suggest(name: str, candidates: Iterable[str]) -> str:
    """A question that proposes the nearest of the candidates.

    Parameters
    ----------
    name : str
        What was written.
    candidates : iterable of str
        What could have been meant.

    Returns
    -------
    str
        ``"did you mean 'n_jobs'?"``; empty where nothing is near.

    Examples
    --------
    >>> suggest("njobs", ["n_jobs", "backend"])
    "did you mean 'n_jobs'?"
    >>> suggest("colour", ["n_jobs", "backend"])
    ''
    """
    if len(name) > _LONGEST_NAME:
        return ""
    from difflib import get_close_matches  # most programs never see a suggestion

    plain = {_plain(candidate): candidate for candidate in candidates}
    near = get_close_matches(_plain(name), plain, n=1, cutoff=0.7)
    return f"did you mean {plain[near[0]]!r}?" if near else ""


def _plain(name: str) -> str:
    """Case, dashes and underscores are what people get wrong first: compare without them."""
    return name.lower().replace("-", "").replace("_", "")
