"""The `doctor` command: what this machine gives to parallel loops, tried out and not only looked up."""

from __future__ import annotations

import operator
import platform
import time
import warnings
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar

import click

from parallelcfg.cli.output import echo, print_table
from parallelcfg.config.callers import caller_origin
from parallelcfg.config.context import get_config
from parallelcfg.config.suggest import suggest
from parallelcfg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from parallelcfg.config.snapshot import Config
    from parallelcfg.parallel import Parallel

__all__ = ["RoundTrip", "doctor_command", "round_trip"]

_T = TypeVar("_T")
_PACKAGES = {"loky": "loky", "dask": "distributed", "ray": "ray"}
_QUIET: dict[str, Any] = {
    "on_error": "raise",
    "verbose": 0,
    "progress": False,
    "trace": None,
    "strict": False,
}
_PATIENCE = 120.0  # seconds for one backend; Ray takes ten to start its cluster


@click.command("doctor")
@click.option("--backend", "only", multiple=True, help="Try only this backend; may be given several times.")
@click.pass_context
def doctor_command(ctx: click.Context, only: tuple[str, ...]) -> None:
    """CPUs and which limit decided, backends and their versions, arena folder, thread pools.

    Runs two tasks on every available backend. Exits with 1 if one of them fails.
    """
    from parallelcfg.backends.registry import known_backends
    from parallelcfg.config.cpus import available_cpus

    unknown = set(only) - {*known_backends()}
    if unknown:
        near = suggest(min(unknown), known_backends())
        hint = f" ({near})" if near else ""
        raise click.UsageError(
            f"unknown backend {', '.join(sorted(unknown))}; known are {', '.join(known_backends())}{hint}"
        )
    echo(f"parallelcfg {version('parallelcfg')}, Python {platform.python_version()}, {platform.platform()}\n")
    cpus, config = _found(available_cpus), _found(get_config)
    echo(f"CPUs\n{_indented(str(cpus))}\n")
    echo(f"configuration files\n{_indented(_files())}\n")
    if isinstance(config, ConfigError):
        echo(f"{config}\n")
    else:
        echo(f"folders for large arrays\n{_indented(_folders(config))}\n")
    echo(f"thread pools\n{_indented(_pools())}\n")
    if isinstance(cpus, ConfigError) or isinstance(config, ConfigError):
        ctx.exit(1)  # no loop would run
    trips = [round_trip(name) for name in only or known_backends()]
    print_table(("backend", "version", "two tasks", ""), [trip.row for trip in trips])
    if any(trip.outcome == "failed" for trip in trips):
        ctx.exit(1)


def _found(find: Callable[[], _T]) -> _T | ConfigError:
    """What there is, or what is wrong with it: all the more reason to tell the rest."""
    try:
        return find()
    except ConfigError as error:
        return error


@dataclass(frozen=True)
class RoundTrip:
    """What came of two tasks on a backend.

    Parameters
    ----------
    backend : str
        Its name.
    outcome : str
        ``"ok"``, ``"missing"``, ``"not tried"`` or ``"failed"``.
    detail : str
        How long it took, what to install, which limit forbids it, or what went wrong.
    """

    backend: str
    outcome: str
    detail: str

    @property
    def row(self) -> tuple[str, str, str, str]:
        """A line of the table."""
        return self.backend, _version(self.backend), self.outcome, self.detail


def round_trip(name: str) -> RoundTrip:
    """Run two tasks on a backend.

    Parameters
    ----------
    name : str
        A known backend.
    """
    from parallelcfg.errors import BackendUnavailable
    from parallelcfg.parallel import Parallel
    from parallelcfg.task import delayed

    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the table says it
            parallel = Parallel(n_jobs=2, backend=name, return_as="list", deadline=_PATIENCE, **_QUIET)
            results = parallel(delayed(operator.mul)(number, 7) for number in (1, 2))
    except BackendUnavailable as error:
        return RoundTrip(name, "missing", str(error).removesuffix(f" ({_here()})"))
    except Exception as error:
        return RoundTrip(name, "failed", f"{type(error).__name__}: {error}")
    if results != [7, 14]:
        return RoundTrip(name, "failed", f"expected [7, 14], got {results}")
    if parallel.backend_name != name:
        return RoundTrip(name, "not tried", _why(parallel))
    return RoundTrip(name, "ok", f"{time.perf_counter() - started:.2f} s")


def _why(parallel: Parallel[Any]) -> str:
    """Why a call runs elsewhere than it was told to."""
    from parallelcfg.config.policy import overruled

    report = parallel.report
    assert report is not None, "the call has run"
    reasons = [*overruled(parallel.config), *map(str, report.substitutions)]
    reasons = [reason.replace(_here(), "doctor") for reason in reasons]
    return "; ".join(reasons) or f"such a call runs on {parallel.backend_name}"


def _here() -> str:
    """Where this command's calls are made: some line below it, of which nobody has asked."""
    return str(caller_origin("call"))


def _version(backend: str) -> str:
    package = _PACKAGES.get(backend)
    if package is None:
        return "built in" if backend in {"threading", "multiprocessing", "sequential"} else "plugin"
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _files() -> str:
    from parallelcfg.config.process import current

    found = current().resolver.surroundings.documents()
    lines = [
        f"{one.layer}: {one.file}{f' (not trusted: {one.distrust})' if one.distrust else ''}" for one in found
    ]
    return "\n".join(lines) or "none"


def _folders(config: Config) -> str:
    from parallelcfg.transport.arena import bases

    return "\n".join(f"{folder}: {_room(folder)}" for folder in dict.fromkeys(bases(config.temp_folder)))


def _room(folder: str) -> str:
    from parallelcfg.transport.files import free_space, make_folder, remove_folder

    try:
        remove_folder(make_folder(folder))  # room is no good where nothing may be written
        free = free_space(folder)
    except OSError as error:
        return f"can't be used: {error.strerror}"
    if free is None:
        return "room without bound"
    return f"{free / 2**30:.1f} GiB free" if free >= 2**30 else f"{free / 2**20:.1f} MiB free"


def _pools() -> str:
    import_module("numpy")  # its BLAS is a pool only once it is loaded
    from parallelcfg.threadpools.found import find_pools

    pools = find_pools().pools
    return "\n".join(f"{pool.name}: {pool.size()} threads, {pool.variable}" for pool in pools) or "none"


def _indented(text: str) -> str:
    return "  " + text.replace("\n", "\n  ")
