"""A backend without workers, which does to every batch what a script says.

Batches are run one at a time, by one thread of the session, in the order of their submission. The script
decides what becomes of each: it is run, run and reported late, lost, or never accepted. So a test of the
engine, or of a loop that must survive a bad cluster, says what happens and needs no luck.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parallelcfg import worker
from parallelcfg.backends.base import Traits
from parallelcfg.config.policy import clamp
from parallelcfg.core.outcome import Lost, ended
from parallelcfg.errors import WorkerLost

if TYPE_CHECKING:
    from parallelcfg.backends.base import Done, Work
    from parallelcfg.config.snapshot import Config
    from parallelcfg.core.outcome import Reply
    from parallelcfg.transport.board import Running

__all__ = ["Delay", "FakeBackend", "Lose", "Raise", "Refuse", "Run"]


@dataclass(frozen=True)
class Run:
    """The batch is run and reported."""


@dataclass(frozen=True)
class Delay:
    """The batch is run at once, and reported after later ones.

    Parameters
    ----------
    reports : int
        How many reports of later batches come first; fewer where no more batches are out.
    """

    reports: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.reports, int) or self.reports < 0:
            raise ValueError(f"Delay({self.reports!r}): expected a number of reports")


@dataclass(frozen=True)
class Lose:
    """The batch is lost with its worker.

    Parameters
    ----------
    after : bool
        The batch is run before it is lost: its effects remain.
    suspect : int or None
        Position of the task to blame, where the backend could tell.
    innocent : bool
        The batch is not to blame.
    """

    after: bool = False
    suspect: int | None = None
    innocent: bool = False


@dataclass(frozen=True)
class Refuse:
    """No worker can be had for the batch."""


@dataclass(frozen=True)
class Raise:
    """`Session.submit` itself raises, which no session should do.

    Parameters
    ----------
    error : Exception
        What it raises.
    """

    error: Exception


Step = Run | Delay | Lose | Refuse | Raise
Script = Sequence[Step] | Callable[[int], Step]


@dataclass(eq=False, slots=True)
class _Sent:
    number: int
    batch_id: int
    work: Work
    done: Done
    step: Step
    outcome: Reply | Lost | None = None
    reports: int = 0  # of later batches, since this one is held


class FakeBackend:
    """A backend that follows a script.

    Parameters
    ----------
    script : sequence or callable
        What becomes of the first, second, ... batch: `Run`, `Delay`, `Lose`, `Refuse` or `Raise`; batches
        beyond the end are run. A callable gets the number of the batch, from 0.
    settle : float, default 0.05
        Seconds without a submission after which delayed batches are reported, where no others are out.

    Attributes
    ----------
    log : list of tuple
        What happened: ``("open", n_jobs)``, ``("submit", number)``, ``("report", number)``, ``("abort",)``
        and ``("close",)``.

    Examples
    --------
    >>> from parallelcfg import Parallel, delayed
    >>> backend = FakeBackend([Lose(), Delay(2)])
    >>> Parallel(n_jobs=2, backend=backend, retries=1, batch_size=1)(delayed(abs)(x) for x in (-1, -2, -3))
    [1, 2, 3]
    >>> backend.log[:2]
    [('open', 2), ('submit', 0)]
    """

    name = "fake"
    traits = Traits(shares_memory=True, single_in_caller=False)

    def __init__(self, script: Script = (), *, settle: float = 0.05) -> None:
        if not callable(script):
            if not isinstance(script, (list, tuple)):
                raise TypeError(f"FakeBackend({script!r}): expected a list of steps, or a callable")
            for step in script:
                _checked(step)
        self._script = script
        self._settle = settle
        self._submitted = 0
        self.log: list[tuple[object, ...]] = []

    def effective_n_jobs(self, config: Config, cpus: int) -> int:
        """How many jobs this configuration means here."""
        return clamp(config.n_jobs, cpus, config.max_jobs)[0]

    def open(self, config: Config, n_jobs: int, threads: int) -> FakeSession:  # noqa: ARG002 - the protocol
        """Open a session."""
        self.log.append(("open", n_jobs))
        return FakeSession(n_jobs, self._next_step, self.log, self._settle)

    def _next_step(self) -> tuple[int, Step]:
        number, self._submitted = self._submitted, self._submitted + 1
        if callable(self._script):
            return number, _checked(self._script(number))
        return number, self._script[number] if number < len(self._script) else Run()


def _checked(step: object) -> Step:
    if not isinstance(step, Step):
        raise TypeError(f"{step!r} is no step: expected Run(), Delay(), Lose(), Refuse() or Raise(error)")
    return step


class FakeSession:
    """The session of a `FakeBackend`.

    Parameters
    ----------
    workers : int
        How many it says it has.
    next_step : callable
        Numbers a submission and says what becomes of it.
    log : list
        Where to write what happens.
    settle : float
        As for `FakeBackend`.
    """

    def __init__(
        self,
        workers: int,
        next_step: Callable[[], tuple[int, Step]],
        log: list[tuple[object, ...]],
        settle: float,
    ) -> None:
        self.workers = workers
        self.over = False
        self._next_step = next_step
        self._log = log
        self._settle = settle
        self._changed = threading.Condition()
        self._queue: deque[_Sent] = deque()
        self._held: list[_Sent] = []
        self._out: dict[int, _Sent] = {}
        threading.Thread(target=self._run, name="parallelcfg-fake", daemon=True).start()

    def submit(self, batch_id: int, work: Work, done: Done) -> None:
        """Queue a batch."""
        number, step = self._next_step()
        if isinstance(step, Raise):
            raise step.error
        self._log.append(("submit", number))
        sent = _Sent(number, batch_id, work, done, step)
        with self._changed:
            over = self.over
            self._out[batch_id] = sent
            if not over:
                self._queue.append(sent)
                self._changed.notify()
        if over:
            self._report(sent, Lost(ended()))

    def running(self) -> dict[int, Running]:
        """Which task of which batch runs now."""
        return worker.board.running()

    def kill(self, batch_id: int) -> None:
        """Nothing to stop: see `Traits.can_kill_running`."""
        raise RuntimeError(f"batch {batch_id} can't be stopped")

    def abort(self) -> None:
        """Drop what is queued or held."""
        with self._changed:
            if self.over:
                return
            self.over = True
            self._changed.notify()
            out = list(self._out.values())
        self._log.append(("abort",))
        for sent in out:
            self._report(sent, Lost(WorkerLost("the call was aborted"), innocent=True))

    def close(self) -> None:
        """End."""
        if self._out:
            self.abort()
        with self._changed:
            self.over = True
            self._changed.notify()
        self._log.append(("close",))

    def _run(self) -> None:
        while (sent := self._next()) is not None:
            if sent.outcome is None:
                sent.outcome = _outcome(sent)
            if isinstance(sent.step, Delay) and sent not in self._held and sent.step.reports:
                self._held.append(sent)
            else:
                self._report_with_due(sent)

    def _next(self) -> _Sent | None:
        """The next batch to run, or the oldest one that is held where nothing else is to come."""
        with self._changed:
            while not self._queue and not self.over:
                if not self._changed.wait(self._settle if self._held else None) and self._held:
                    return self._held[0]
            return None if self.over else self._queue.popleft()

    def _report_with_due(self, sent: _Sent) -> None:
        """Report a batch, and those held ones for which that was the last report to wait for."""
        reported = deque([sent])
        while reported:
            sent = reported.popleft()
            if sent in self._held:
                self._held.remove(sent)
            assert sent.outcome is not None
            self._report(sent, sent.outcome)
            for held in self._held:
                if held.number < sent.number:
                    held.reports += 1
            reported.extend(
                held
                for held in self._held
                if isinstance(held.step, Delay) and held.reports >= held.step.reports and held not in reported
            )

    def _report(self, sent: _Sent, outcome: Reply | Lost) -> None:
        with self._changed:
            if self._out.pop(sent.batch_id, None) is None:
                return
        self._log.append(("report", sent.number))
        sent.done(sent.batch_id, outcome)


def _outcome(sent: _Sent) -> Reply | Lost:
    """What comes of a batch."""
    step = sent.step
    if isinstance(step, Refuse):
        return Lost(WorkerLost(f"no worker could be had for batch {sent.number}", "the script says so"))
    if not isinstance(step, Lose):
        return sent.work()
    if step.after:
        sent.work()
    cause = WorkerLost(f"the worker of batch {sent.number} died", "the script says so")
    return Lost(cause, step.suspect, step.innocent)
