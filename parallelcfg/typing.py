"""For annotations: what a `Parallel` returns, the keywords that it takes, and the type of `UNSET`.

Type checkers read these off a call of `Parallel`; a program needs the names where it passes a `Parallel`
object or its keywords on::

    from typing_extensions import Unpack
    from parallelcfg.typing import AsList, Options

    def total(loop: Parallel[AsList], numbers: list[int]) -> int:
        return sum(loop(delayed(abs)(number) for number in numbers))

    def totals(n_jobs: int | None = None, **options: Unpack[Options]) -> list[int]:
        return Parallel(n_jobs, **options)(...)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from parallelcfg.config.snapshot import Unset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.context import BaseContext
    from os import PathLike

__all__ = [
    "AnyShape",
    "AsList",
    "AsListWithErrors",
    "AsStream",
    "AsStreamWithErrors",
    "Keys",
    "Options",
    "Unset",
]


class AnyShape:
    """``Parallel[AnyShape]``, whose ``return_as`` or ``on_error`` is any text: calls return ``Any``."""


class AsList:
    """``Parallel[AsList]``: calls return ``list[T]``."""


class AsStream:
    """``Parallel[AsStream]``: calls return ``Generator[T, None, None]``."""


class AsListWithErrors:
    """``Parallel[AsListWithErrors]``, ``on_error="return"``: calls return ``list[T | TaskError]``."""


class AsStreamWithErrors:
    """``Parallel[AsStreamWithErrors]``: calls return ``Generator[T | TaskError, None, None]``."""


class _MostKeys(TypedDict, total=False):
    verbose: int | Unset
    timeout: float | Unset | None
    pre_dispatch: int | str | Unset
    batch_size: int | str | Unset
    temp_folder: str | PathLike[str] | Unset | None
    max_nbytes: int | str | Unset | None
    mmap_mode: str | Unset | None
    prefer: str | Unset | None
    require: str | Unset | None
    inner_max_num_threads: int | Unset | None
    deadline: float | Unset | None
    max_pending_results: int | Unset | None
    retries: int | Unset
    progress: bool | str | Callable[..., object] | Unset
    strict: bool | Unset
    forward_logs: bool | Unset
    seed: int | Unset | None
    trace: str | PathLike[str] | Unset | None
    max_jobs: int | Unset | None
    backends: Mapping[str, Mapping[str, object]] | Unset


class Keys(_MostKeys, total=False):
    """What `set_config` takes: the configuration's keys."""

    n_jobs: int | Unset | None
    backend: object
    return_as: str | Unset
    on_error: str | Unset


class Options(_MostKeys, total=False):
    """What `Parallel` takes by keyword besides ``n_jobs``, ``backend``, ``return_as`` and ``on_error``.

    The configuration's keys, and the parameters of the built-in backends. Those of other backends are not
    known to type checkers: pass them in ``backends={"name": {...}}``.
    """

    # loky, multiprocessing
    idle_worker_timeout: float | None
    max_worker_growth: int | None
    env: Mapping[str, str] | None
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    start_method: str | None
    context: BaseContext | None
    maxtasksperchild: int | None

    # dask, ray
    address: str | None
    scatter: Sequence[object]
    client: Any
    workers: Sequence[str] | None
    allow_other_workers: bool
    resources: Mapping[str, float] | None
    priority: float
    wait_for_workers_timeout: float
    ray_remote_args: Mapping[str, Any] | None
