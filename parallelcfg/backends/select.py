"""Which backend runs a call: a pure function of the configuration and the surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from parallelcfg.config.policy import outranks

if TYPE_CHECKING:
    from parallelcfg.backends.base import Backend
    from parallelcfg.config.snapshot import Config

__all__ = [
    "Choice",
    "Substitution",
    "Surroundings",
    "asked_backend",
    "in_processes",
    "jobs_of",
    "select",
    "within_memory",
]

_PROCESSES = frozenset({"loky", "multiprocessing"})
#: Even two jobs are 32 processes five levels down; who gets there starts workers that start workers.
_DEEPEST = 5

#: Why a backend had to make way.
_NEEDS_SHARED_MEMORY = "its tasks don't share the caller's memory, and require='sharedmem' asks for that"
_ON_IMPORT = "a worker imports the module of this loop, which would start workers that import it"


class Surroundings(NamedTuple):
    """What the choice depends on besides the configuration.

    Parameters
    ----------
    depth : int
        How many parallel calls surround this one.
    processes : str
        Empty where worker processes can be started; else why not.
    threads : str
        Empty where threads can be started; else why not.
    daemon : bool
        Whether this process is a daemon of `multiprocessing`, which may have no children.
    default : str
        The backend where nobody names one.
    unpacking : bool
        Whether a worker is unpacking a task, and imports the module that calls.
    """

    depth: int = 0
    processes: str = ""
    threads: str = ""
    daemon: bool = False
    default: str = "loky"
    unpacking: bool = False


class Substitution(NamedTuple):
    """Something other than what was asked for.

    Parameters
    ----------
    key : str
        The configuration key.
    asked, got : str
        The value asked for and the one in its place.
    rule : str
        Why, as a sentence.
    explicit : bool
        Whether a layer asked for it by name, and none above it for what forbids it; only then is it an error
        under ``strict``.
    """

    key: str
    asked: str
    got: str
    rule: str
    explicit: bool = True

    def __str__(self) -> str:
        return f"{self.key} is {self.got} in place of {self.asked}: {self.rule}"


class Choice(NamedTuple):
    """The backend to use, and what it stands in for.

    Parameters
    ----------
    backend : object
        A name, or the object that code passed.
    substitution : Substitution or None
        Set where it is not the one asked for.
    """

    backend: object
    substitution: Substitution | None = None


def asked_backend(config: Config, default: str) -> object:
    """The backend that a configuration means where nothing stands in its way.

    Parameters
    ----------
    config : Config
        The settings in force.
    default : str
        The backend where nobody names one.
    """
    if config.backend is not None:
        return config.backend
    return "threading" if config.prefer == "threads" or config.require == "sharedmem" else default


def in_processes(backend: object) -> bool:
    """Whether this is the name of a backend that starts worker processes."""
    return isinstance(backend, str) and backend in _PROCESSES


def jobs_of(backend: Backend, config: Config, cpus: int) -> int:
    """How many jobs a backend runs, which may be anybody's."""
    n_jobs = backend.effective_n_jobs(config, cpus)
    if n_jobs < 1:
        raise ValueError(f"the backend {backend.name!r} answered {n_jobs} jobs; expected 1 or more")
    return n_jobs


def within_memory(backend: Backend, config: Config, surroundings: Surroundings) -> Substitution | None:
    """Who takes the place of a backend, where its tasks must share the caller's memory and would not."""
    if backend.traits.shares_memory:
        return None
    instead = "sequential" if surroundings.threads else "threading"
    if config.require == "sharedmem":
        explicit = not _sharing_outranks(config)
        return Substitution("backend", backend.name, instead, _NEEDS_SHARED_MEMORY, explicit)
    if surroundings.unpacking:
        return Substitution("backend", backend.name, instead, _ON_IMPORT, explicit=False)
    return None


def select(config: Config, surroundings: Surroundings) -> Choice:
    """Choose the backend.

    Parameters
    ----------
    config : Config
        The settings in force.
    surroundings : Surroundings
        Where the call is made.

    Returns
    -------
    Choice
        Never a process backend where processes can't be had, or where memory must be shared; never threads
        where none can be started.
    """
    asked = asked_backend(config, surroundings.default)
    explicit = config.backend is not None
    if not isinstance(asked, str):
        return Choice(asked)
    got, rule = asked, ""
    if in_processes(asked):
        got, rule = _instead(asked, config, surroundings, explicit=explicit)
    if got == "threading" and surroundings.threads:
        got = "sequential"
        reasons = dict.fromkeys(filter(None, [rule, surroundings.threads]))  # once, where it is the same
        rule = ", and ".join(reasons)
    if got == asked:
        return Choice(asked)
    return Choice(got, Substitution("backend", asked, got, rule, explicit and not _sharing_outranks(config)))


def _sharing_outranks(config: Config) -> bool:
    """Whether shared memory is required in a higher layer than the one that names the backend.

    So do libraries that call ``Parallel(require="sharedmem")``; the variable or file with the backend meant
    their other loops.
    """
    return config.require == "sharedmem" and outranks(config, "require", "backend")


def _instead(asked: str, config: Config, around: Surroundings, *, explicit: bool) -> tuple[str, str]:
    """What takes the place of worker processes, and why; the first rule that applies decides."""
    rules = (
        (config.require == "sharedmem", "threading", _NEEDS_SHARED_MEMORY),
        (around.processes, "threading", around.processes),
        (around.daemon, "threading", "a daemon of multiprocessing may not start processes"),
        (not explicit and around.depth == 1, "threading", "the default inside a task is threads"),
        (not explicit and around.depth > 1, "sequential", "the default below the second level is one job"),
        (around.depth >= _DEEPEST, "sequential", f"processes are nested {_DEEPEST} levels deep at the most"),
    )
    return next(((got, rule) for applies, got, rule in rules if applies), (asked, ""))
