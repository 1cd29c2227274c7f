"""A backend that runs every batch by a command: ssh, srun, docker, another Python."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from parallelcfg import WorkerLost
from parallelcfg.backends import Lost, Traits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parallelcfg import Config
    from parallelcfg.backends import Done, Reply, Running, Work

__all__ = ["CommandBackend"]


class CommandBackend:
    """Runs every batch by a command.

    Parameters
    ----------
    command : sequence of str, optional
        Starts a Python that can import this package; by default the Python of the caller.
    """

    name = "command"
    traits = Traits(uses_processes=True, multi_host=True, single_in_caller=False, times_tasks=False)

    def __init__(self, command: Sequence[str] = (sys.executable,)) -> None:
        self._command = [*command, "-m", "parallelcfg_command"]

    def effective_n_jobs(self, config: Config, cpus: int) -> int:
        """As many as were asked for; the CPUs here are not those that do the work."""
        wanted = config.n_jobs or 1
        wanted = wanted if wanted > 0 else cpus
        return wanted if config.max_jobs is None else min(wanted, config.max_jobs)

    def open(self, config: Config, n_jobs: int, threads: int) -> CommandSession:  # noqa: ARG002 - the protocol
        """Nothing to start yet: every batch starts its own process."""
        return CommandSession(self._command, n_jobs)


class CommandSession:
    """Threads, each of which waits for the process that runs its batch.

    Parameters
    ----------
    command : list of str
        What to run; takes a pickle, gives a pickle.
    workers : int
        How many at the same time.
    """

    def __init__(self, command: list[str], workers: int) -> None:
        self.workers = workers
        self.over = False
        self._command = command
        self._threads = ThreadPoolExecutor(workers, "parallelcfg-command")
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()

    def submit(self, batch_id: int, work: Work, done: Done) -> None:
        """Have a thread run the command; `done` is called exactly once, whatever happens."""
        try:
            self._threads.submit(lambda: done(batch_id, self._run(work)))
        except RuntimeError as error:  # closed
            done(batch_id, Lost(WorkerLost(str(error))))

    def running(self) -> dict[int, Running]:
        """Not known, as `Traits.times_tasks` says."""
        return {}

    def kill(self, batch_id: int) -> None:
        """Never asked for, since `Traits.can_kill_running` is false."""
        raise RuntimeError(f"batch {batch_id} can't be stopped")

    def abort(self) -> None:
        """End all processes: their batches are reported as lost, and so are those that have not begun."""
        with self._lock:
            self.over = True
            for process in self._processes:
                process.kill()

    def close(self) -> None:
        """Nothing is out any more, or nobody waits for it."""
        self.abort()
        self._threads.shutdown(wait=False)

    def _run(self, work: Work) -> Reply | Lost:
        try:
            process = self._start()
            answer, complaint = process.communicate(pickle.dumps(work))
        except Exception as error:
            return Lost(WorkerLost(f"the command could not be run: {error}"))
        with self._lock:
            self._processes.discard(process)
        if process.returncode != 0:
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            return Lost(WorkerLost(f"the command ended with exit code {process.returncode}: {last}"))
        outcome: Reply | Lost = pickle.loads(answer)
        return outcome

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        with self._lock:
            if self.over:
                raise WorkerLost("the call has ended")
            process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe)
            self._processes.add(process)
        return process
