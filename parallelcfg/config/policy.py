"""What holds whichever layer says otherwise: limits, locks, and settings that contradict each other.

Pure functions, applied after merging. Standard library only: nested calls in workers use them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallelcfg.config.snapshot import LAYERS, Sourced

if TYPE_CHECKING:
    from parallelcfg.config.snapshot import Config

__all__ = [
    "CONTRADICTION",
    "clamp",
    "contradiction",
    "locked",
    "lowest",
    "outranks",
    "overruled",
    "resolve_jobs",
]

CONTRADICTION = (
    "prefer='processes' contradicts require='sharedmem': processes share no memory; "
    "drop one of them, or say prefer='threads'"
)
_CODE = frozenset({"set_config", "command_line", "parallel_config", "call"})
_RANK = {name: rank for rank, name in enumerate(LAYERS)}


def resolve_jobs(n_jobs: int | None, cpus: int) -> int:
    """How many jobs a request means: None is 1, negative numbers count down from the CPUs.

    Parameters
    ----------
    n_jobs : int or None
        The request; not 0.
    cpus : int
        CPU budget of the caller.

    Examples
    --------
    >>> resolve_jobs(-1, 8), resolve_jobs(-2, 8), resolve_jobs(-99, 8), resolve_jobs(None, 8)
    (8, 7, 1, 1)
    """
    if n_jobs is None:
        return 1
    return n_jobs if n_jobs > 0 else max(1, cpus + 1 + n_jobs)


def clamp(n_jobs: int | None, cpus: int, max_jobs: int | None) -> tuple[int, bool]:
    """The jobs that a request gets, and whether ``max_jobs`` made them fewer.

    Parameters
    ----------
    n_jobs : int or None
        The request; not 0.
    cpus : int
        CPU budget of the caller.
    max_jobs : int or None
        The ceiling; None for none.

    Examples
    --------
    >>> clamp(64, 4, 8)
    (8, True)
    >>> clamp(-1, 4, 8)
    (4, False)
    """
    wanted = resolve_jobs(n_jobs, cpus)
    if max_jobs is None or wanted <= max_jobs:
        return wanted, False
    return max_jobs, True


def lowest(ceiling: Sourced) -> Sourced:
    """Let the lowest ceiling of all layers win, the highest layer among equals; None is no ceiling."""
    ordered = sorted(ceiling.history, key=lambda one: -_RANK[one.origin.layer])
    winner = min(ordered, key=_height)
    return Sourced(winner.value, winner.origin, tuple(one for one in ordered if one is not winner))


def _height(ceiling: Sourced) -> float:
    return ceiling.value if isinstance(ceiling.value, int) else float("inf")


def outranks(config: Config, key: str, other: str) -> bool:
    """Whether a higher layer says the first key than the one that says the second."""
    ranks = [_RANK[config.sources[name].origin.layer] for name in (key, other) if name in config.sources]
    return len(ranks) == 2 and ranks[0] > ranks[1]  # noqa: PLR2004 - both are said


def overruled(config: Config) -> list[str]:
    """What code asked for in vain, because the system's file locks another value."""
    return [
        locked(key, said, said.shadowed[0])
        for key, said in config.sources.items()
        if said.origin.layer == "locked"
        and said.shadowed
        and said.shadowed[0].origin.layer in _CODE
        and said.shadowed[0].value != said.value
    ]


def locked(key: str, lock: Sourced, asked: Sourced) -> str:
    """What to say of a request that a lock makes vain."""
    return (
        f"{key} = {lock.value!r} is locked by {lock.origin.file}, so {asked.value!r} is ignored "
        f"({asked.origin} asked for it)"
    )


def contradiction(config: Config) -> str:
    """What is wrong with the combination of settings; empty where nothing is.

    A hint that was said below a constraint yields to it. The other way round, or from one mouth, it is a
    contradiction: somebody expects processes.
    """
    if config.prefer != "processes" or config.require != "sharedmem":
        return ""
    prefer, require = config.sources["prefer"].origin, config.sources["require"].origin
    if _RANK[prefer.layer] < _RANK[require.layer]:
        return ""
    return CONTRADICTION
