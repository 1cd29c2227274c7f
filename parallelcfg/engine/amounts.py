"""How many: tasks in all, tasks per batch, batches in flight."""

from __future__ import annotations

import dis
from functools import lru_cache
from operator import length_hint
from types import CodeType, GeneratorType
from typing import TYPE_CHECKING, Any

from parallelcfg.config.state import said_at
from parallelcfg.core.actions import Limits
from parallelcfg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from parallelcfg.engine.plan import Plan

__all__ = ["batch_size", "in_flight", "limits", "total_of"]


def total_of(tasks: Iterable[Any]) -> int | None:
    """Number of tasks, where that can be known without taking one.

    Containers and many iterators tell it. Of a generator expression it is the length of what it loops over,
    as long as it has one loop and no condition: that is how most people write their tasks. The number serves
    progress displays and the sizes of the last batches; nothing breaks where somebody changes the container
    meanwhile.

    Parameters
    ----------
    tasks : iterable
        What `delayed` made.

    Examples
    --------
    >>> total_of([1, 2]), total_of(abs(x) for x in range(3)), total_of(abs(x) for x in range(3) if x)
    (2, 3, None)
    """
    if isinstance(tasks, GeneratorType):
        return _total_of_expression(tasks)
    hint = length_hint(tasks, -1)
    return None if hint < 0 else hint


def _total_of_expression(tasks: GeneratorType[Any, Any, Any]) -> int | None:
    if tasks.gi_frame is None or not _is_plain_loop(tasks.gi_code):
        return None
    return total_of(tasks.gi_frame.f_locals[".0"])  # what CPython calls the thing that is looped over


@lru_cache(maxsize=64)
def _is_plain_loop(code: CodeType) -> bool:
    """Whether this is ``f(x) for x in xs``: one loop, and no condition that could skip a task."""
    if code.co_name != "<genexpr>" or code.co_varnames[:1] != (".0",):
        return False
    names = [instruction.opname for instruction in dis.get_instructions(code)]
    return names.count("FOR_ITER") == 1 and not any("JUMP" in name and "IF" in name for name in names)


def batch_size(plan: Plan) -> int | str | Callable[[], int]:
    """Tasks per batch, for `Batcher`."""
    config, traits = plan.config, plan.backend.traits
    timed = config.timeout is not None or config.deadline is not None
    if traits.in_caller and (timed or config.return_as != "list"):
        return 1  # between two batches results are handed out, and the clock is looked at
    return traits.batch_size if traits.batch_size and config.batch_size == "auto" else config.batch_size


def in_flight(plan: Plan, workers: int) -> int | None:
    """Batches that may be out: ``pre_dispatch``, which counts batches as in joblib."""
    if plan.backend.traits.in_caller:
        return 1
    from parallelcfg.config.arithmetic import batches_ahead

    said = plan.config.pre_dispatch
    try:
        return batches_ahead(said, workers)
    except ValueError as error:  # right for some numbers of jobs, but not for this one
        where = said_at(plan.config, "pre_dispatch")
        raise ConfigError([f"pre_dispatch={said!r}: {error}{where}"]) from None


def limits(plan: Plan, workers: int, deadline: float | None) -> Limits:
    """What bounds a call, with so many workers and until this moment of the monotonic clock."""
    config = plan.config
    keep_going = config.on_error == "return"
    return Limits(in_flight(plan, workers), config.max_pending_results, config.retries, keep_going, deadline)
