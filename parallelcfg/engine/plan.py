"""From a configuration to what will really happen: which backend, how many jobs, and why not others."""

from __future__ import annotations

import pickle
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from parallelcfg import worker
from parallelcfg.backends.possible import is_daemon, no_processes, no_threads
from parallelcfg.backends.registry import default_backend, is_built_in, make_backend
from parallelcfg.backends.select import (
    Substitution,
    Surroundings,
    asked_backend,
    in_processes,
    jobs_of,
    select,
    within_memory,
)
from parallelcfg.config.context import current_scope, get_config, notify
from parallelcfg.config.cpus import cpu_count, split_budget
from parallelcfg.config.policy import clamp, resolve_jobs
from parallelcfg.config.snapshot import Scope
from parallelcfg.config.state import place_of, said_at
from parallelcfg.engine.making import made
from parallelcfg.errors import SubstitutionWarning
from parallelcfg.orders import Orders
from parallelcfg.randomness import root_of
from parallelcfg.transport.habits import habits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from parallelcfg.backends.base import Backend
    from parallelcfg.config.snapshot import Config
    from parallelcfg.randomness import Root
    from parallelcfg.transport.habits import Habits

__all__ = ["Plan", "backend_asked_for", "make_plan"]

_QUIET_DEPTH = 2
#: Backends that are nothing but their parameters: one object of theirs serves any number of calls.
_STATELESS = frozenset({"loky", "threading", "multiprocessing", "sequential"})
#: So many plans are remembered.
_KEPT = 64


class Plan:
    """What a call will do.

    Parameters
    ----------
    config : Config
        The settings that the call obeys.
    backend : Backend
        Who runs it.
    n_jobs : int
        How many jobs at the same time.
    cpus : int
        CPU budget of the caller, shared among the jobs.
    around : Surroundings
        Where the call is made.
    substitutions : tuple of Substitution
        Where this differs from what was asked for.
    """

    __slots__ = ("_last", "around", "backend", "config", "cpus", "n_jobs", "substitutions")

    def __init__(
        self,
        config: Config,
        backend: Backend,
        n_jobs: int,
        cpus: int,
        around: Surroundings,
        substitutions: tuple[Substitution, ...],
    ) -> None:
        self.config, self.backend, self.n_jobs, self.cpus = config, backend, n_jobs, cpus
        self.around, self.substitutions = around, substitutions
        self._last: tuple[tuple[Any, ...], Orders, bytes] | None = None

    @property
    def possible(self) -> bool:
        """Whether its workers can be had now: it may be older than a fork, or the program may be ending.

        What was planned while a module was imported for a task is not for the task itself.
        """
        if self.around.unpacking:
            return False
        if in_processes(self.backend.name):
            return not (is_daemon() or no_processes(self.backend.name))
        return self.backend.name != "threading" or not no_threads()

    @property
    def orders(self) -> Orders:
        """What the workers need to know; the same object while nothing that it depends on has changed."""
        return self._latest_orders()[1]

    @property
    def packed_orders(self) -> bytes:
        """The same for worker processes."""
        seen, orders, packed = self._latest_orders()
        if not packed:
            packed = pickle.dumps(orders, pickle.HIGHEST_PROTOCOL)
            self._last = seen, orders, packed
        return packed

    def _latest_orders(self) -> tuple[tuple[Any, ...], Orders, bytes]:
        config, traits = self.config, self.backend.traits
        around = get_config() if traits.in_caller else None
        taken = habits(forward_logs=config.forward_logs) if traits.uses_processes else None
        seen = around, root_of(config), tuple(worker.SETUP), taken
        last = self._last
        if last is None or last[0][0] is not around or last[0][1:] != seen[1:]:
            self._last = last = seen, _orders_for(self, *seen), b""
        return last


_plans: dict[int, tuple[Config, Surroundings, str, Plan]] = {}


def make_plan(config: Config) -> Plan:
    """Choose the backend and the number of jobs.

    Parameters
    ----------
    config : Config
        The settings in force.

    Raises
    ------
    ConfigError
        If the backend is not known, or under ``strict`` if anything differs from what was asked for.
    BackendUnavailable
        If the backend can't be had here.
    TypeError
        If the backend has no such parameter.
    """
    __tracebackhide__ = True
    cpus = cpu_count()
    around = _surroundings(config)
    known = _remembered(config, around, cpus)
    if known is not None:
        _announce(config, known.substitutions, around.depth)
        return known
    choice = select(config, around)
    substitutions = [] if choice.substitution is None else [choice.substitution]
    backend = made(config, choice)
    instead = within_memory(backend, config, around)
    if instead is not None:
        substitutions.append(instead)
        backend = make_backend(instead.got, {})
    n_jobs = jobs_of(backend, config, cpus)
    wanted, clamped = clamp(config.n_jobs, cpus, config.max_jobs)
    if clamped:
        substitutions.append(_clamped(config, cpus))
    growing = backend.traits.cluster and (config.n_jobs or 1) < 0  # one worker now, more to come
    if n_jobs < wanted and not growing:
        substitutions.append(_fewer(config, wanted, n_jobs, backend, substitutions))
    if n_jobs == 1 and backend.traits.single_in_caller and not growing:
        backend = make_backend("sequential", {})
    if config.timeout is not None and not backend.traits.times_tasks:
        substitutions.append(_no_timeout(config.timeout, backend))
    plan = Plan(config, backend, n_jobs, cpus, around, tuple(substitutions))
    _announce(config, plan.substitutions, around.depth)
    stateless = choice.backend in _STATELESS and not config.backend_params and not callable(config.progress)
    if stateless and is_built_in(choice.backend):
        if len(_plans) >= _KEPT:
            _plans.clear()
        _plans[id(config)] = config, around, str(choice.backend), plan
    return plan


def backend_asked_for(config: Config) -> object:
    """The backend that a configuration means here, where nothing stands in its way.

    Parameters
    ----------
    config : Config
        The settings in force.
    """
    return asked_backend(config, _default_backend())


def _default_backend() -> str:
    scope = current_scope()
    return (scope and scope.backend) or default_backend()


def _remembered(config: Config, around: Surroundings, cpus: int) -> Plan | None:
    """The plan of a call like this, if there was one and its backend's name has no new owner."""
    before, surroundings, name, plan = _plans.get(id(config), (None, None, "", None))
    same = before is config and surroundings == around and is_built_in(name)
    return plan if same and plan is not None and plan.cpus == cpus else None


def _surroundings(config: Config) -> Surroundings:
    scope, default = current_scope(), _default_backend()
    asked = asked_backend(config, default)
    processes = in_processes(asked)
    return Surroundings(
        worker.depth if scope is None else scope.depth,
        no_processes(asked) if processes else "",  # only where it matters: it imports multiprocessing
        no_threads(),
        daemon=processes and is_daemon(),
        default=default,
        unpacking=scope is not None and scope.unpacking,
    )


def _orders_for(
    plan: Plan,
    around: Config | None,
    stream: Root | None,
    setup: tuple[Callable[[], object], ...],
    taken: Habits | None,
) -> Orders:
    config = plan.config
    stop = config.on_error == "raise" and config.retries == 0
    threads, timed = config.inner_max_num_threads, config.timeout is not None
    if around is not None:  # nothing runs beside it: nested calls have all CPUs, at the same depth
        same = _for_same_level(config, around)
        scope = Scope(same, plan.around.depth, plan.cpus, unpacking=plan.around.unpacking)
        return Orders(scope, (plan.cpus,), threads, stop, timed=timed, in_caller=True, stream=stream)
    budgets = split_budget(plan.cpus, plan.n_jobs)
    nested = plan.backend.name if plan.backend.traits.nests else None
    inherited = config.for_tasks()
    if not plan.backend.traits.shares_memory:  # the trace is this process's own; another would overwrite it
        sources = {key: said for key, said in inherited.sources.items() if key != "trace"}
        inherited = inherited._replace(trace=None, sources=MappingProxyType(sources))
    scope = Scope(inherited, plan.around.depth + 1, budgets[-1], nested, plan.around.unpacking)
    return Orders(scope, budgets, threads, stop, timed, stream=stream, setup=setup, habits=taken)


def _for_same_level(config: Config, around: Config) -> Config:
    """The configuration of tasks in the caller's thread: who runs nested calls is not this call's to say."""
    keys = ("n_jobs", "backend")
    inherited = config.for_tasks()
    sources = {**inherited.sources, **{key: around.sources[key] for key in keys if key in around.sources}}
    return inherited._replace(
        n_jobs=around.n_jobs,
        backend=around.backend,
        backend_params=around.backend_params,
        sources=sources,
    )


def _clamped(config: Config, cpus: int) -> Substitution:
    asked = resolve_jobs(config.n_jobs, cpus)
    where, request = said_at(config, "max_jobs"), place_of(config, "n_jobs")
    whence = f"; {request} asked for more" if request else ""
    return Substitution("n_jobs", str(asked), str(config.max_jobs), f"max_jobs is the ceiling{where}{whence}")


def _fewer(
    config: Config, wanted: int, n_jobs: int, backend: Backend, before: list[Substitution]
) -> Substitution:
    """The backend runs fewer jobs than were asked for."""
    by_number = config.n_jobs is not None and config.n_jobs > 0  # -1 asks for as many as there are
    named = config.backend is not None and not before  # who names "sequential" knows that it runs one
    said = any(one.explicit for one in before)
    explicit = by_number and not said and not (named and backend.traits.in_caller)
    rule = f"the backend {backend.name!r} runs no more here"
    return Substitution("n_jobs", str(wanted), str(n_jobs), rule, explicit)


def _no_timeout(timeout: float, backend: Backend) -> Substitution:
    rule = f"the backend {backend.name!r} can't tell since when a task runs"
    return Substitution("timeout", f"{timeout:g}", "none", rule)


def _announce(config: Config, substitutions: Sequence[Substitution], depth: int) -> None:
    """Warn of each substitution once; under ``strict``, refuse.

    Calls inside of nested calls give way without a warning, as joblib's do: every worker would print it.
    """
    __tracebackhide__ = True
    for substitution in substitutions:
        if substitution.explicit and (config.strict or depth < _QUIET_DEPTH):
            notify(config, str(substitution), SubstitutionWarning)
