"""A worker dies, in any way and any phase of its life: the call says so within 3 s, the next one works."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from parallelcfg import Parallel, TaskError, WorkerLost, delayed
from parallelcfg.backends import workers

BACKENDS = ["loky", "multiprocessing"]
START_METHODS = ["spawn", "forkserver", "fork"]


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def leave():
    os._exit(3)


def crash():
    ctypes.string_at(0)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


WAYS = {
    "SIGKILL": (kill, "SIGKILL"),
    "os._exit": (leave, "exit code 3"),
    "segmentation fault": (crash, "SIGSEGV"),
    "SIGTERM": (terminate, "SIGTERM"),
}


class DiesWhenUnpickled:
    def __init__(self, die):
        self.die = die

    def __reduce__(self):
        return _call, (self.die,)


class DiesWhenPickled:
    def __init__(self, die):
        self.die = die

    def __reduce__(self):
        self.die()


def _call(die):
    die()


def use(value):
    return value


def result_that_kills(die):
    return DiesWhenPickled(die)


def work(number):
    return 2 * number


def dies_at(number, at, die):
    if number == at:
        die()
    return 2 * number


def next_call_works(backend):
    assert Parallel(n_jobs=2, backend=backend)(delayed(work)(i) for i in range(6)) == [0, 2, 4, 6, 8, 10]


PHASES = {
    "reading arguments": lambda die: [delayed(use)(DiesWhenUnpickled(die))],
    "first task": lambda die: [delayed(die)()],
    "last task": lambda die: [*(delayed(work)(i) for i in range(20)), delayed(die)()],
    "packing results": lambda die: [delayed(result_that_kills)(die)],
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_worker_dies(backend, way, phase, within, covers):
    die, said = WAYS[way]
    next_call_works(backend)  # the time of the workers' start is not that of the notice
    with within(1), pytest.raises(WorkerLost, match=said):
        Parallel(n_jobs=2, backend=backend)(PHASES[phase](die))
    next_call_works(backend)
    covers(way, backend, phase)


@pytest.mark.parametrize("method", START_METHODS)
def test_worker_dies_whatever_the_start_method(method, within, covers):
    run = Parallel(n_jobs=2, backend="multiprocessing", start_method=method)
    with within(5), pytest.raises(WorkerLost, match="SIGKILL"):
        run(delayed(dies_at)(i, 5, kill) for i in range(10))
    assert run(delayed(work)(i) for i in range(4)) == [0, 2, 4, 6]
    covers("SIGKILL", f"multiprocessing {method}", "middle task")


def large_result(nbytes):
    threading.Thread(target=kill_when_writing, daemon=True).start()
    return b"x" * nbytes


def kill_when_writing():
    # The main thread blocks in write(2) when the pipe is full and nobody reads on.
    me = psutil.Process()
    while True:
        number = Path(f"/proc/{me.pid}/task/{me.pid}/syscall").read_text().split()[0]
        if number in ("1", "64"):  # write(2) on x86-64 and arm64
            kill()
        time.sleep(0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_worker_dies_while_it_writes_a_large_result(backend, within, covers):
    next_call_works(backend)
    with within(3), pytest.raises(WorkerLost, match="SIGKILL"):
        Parallel(n_jobs=2, backend=backend, max_nbytes=None)(
            [delayed(large_result)(400 << 20), delayed(work)(1)]
        )
    next_call_works(backend)
    covers("SIGKILL", backend, "writing a 400 MB result")


def pid():
    return os.getpid()


@pytest.mark.parametrize("backend", BACKENDS)
def test_worker_dies_while_the_parent_sends_a_large_argument(backend, within, covers):
    [worker] = set(Parallel(n_jobs=2, backend=backend, batch_size=1)([delayed(pid)()]))
    os.kill(worker, signal.SIGSTOP)  # it reads nothing, so that the parent blocks
    threading.Timer(0.3, os.kill, (worker, signal.SIGKILL)).start()
    with within(5):
        assert Parallel(n_jobs=2, backend=backend)([delayed(len)(b"x" * (64 << 20))]) == [64 << 20]
    covers("SIGKILL", backend, "reading a large argument")


@pytest.mark.parametrize("backend", BACKENDS)
def test_worker_that_died_idle_is_replaced_without_a_word(backend, within, covers):
    workers = set(Parallel(n_jobs=2, backend=backend, batch_size=1)(delayed(pid)() for _ in range(20)))
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    with within(3):
        next_call_works(backend)
    covers("SIGKILL", backend, "idle between calls")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_message_names_task_call_and_causes(backend):
    with pytest.raises(WorkerLost) as caught:
        Parallel(n_jobs=2, backend=backend)(delayed(dies_at)(i, 3, kill) for i in range(6))
    text = str(caught.value)
    assert "task 3, dies_at(3, 3, " in text
    assert "SIGKILL" in text
    assert "memory" in text
    assert "\n" not in text
    assert len(text) < 600


def note(folder, number, die_below):
    """Leave a file for each run of a task, and die in its first runs."""
    runs = len(list(folder.glob(f"{number}-*")))
    (folder / f"{number}-{runs}").touch(exist_ok=False)
    if runs < die_below:
        kill()
    return number


@pytest.mark.parametrize("backend", BACKENDS)
def test_lost_tasks_run_again_on_fresh_workers(backend, tmp_path, within, covers):
    with within(10):
        results = Parallel(n_jobs=2, backend=backend, retries=2, batch_size=1)(
            delayed(note)(tmp_path, i, 2 if i == 4 else 0) for i in range(12)
        )
    assert results == list(range(12))
    runs = sorted(path.name for path in tmp_path.iterdir())
    assert runs == sorted([f"{i}-0" for i in range(12)] + ["4-1", "4-2"])  # finished results are kept
    covers("SIGKILL", backend, "task, with retries")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_task_that_always_kills_takes_no_neighbour_with_it(backend, tmp_path, within, covers):
    with within(10):
        results = Parallel(n_jobs=2, backend=backend, retries=1, on_error="return")(
            delayed(note)(tmp_path, i, 99 if i == 7 else 0) for i in range(16)
        )
    failed = results.pop(7)
    assert isinstance(failed, TaskError)
    assert isinstance(failed.exception, WorkerLost)
    assert (failed.index, failed.attempts) == (7, 2)
    assert results == [i for i in range(16) if i != 7]
    covers("SIGKILL", backend, "same task every time")


def initializer_that_kills():
    kill()


def initializer_that_raises():
    raise LookupError("no such model")


@pytest.mark.parametrize("backend", BACKENDS)
def test_worker_dies_in_its_initializer(backend, within, covers):
    with within(5), pytest.raises(WorkerLost, match="SIGKILL before it ran anything"):
        Parallel(n_jobs=2, backend=backend, initializer=initializer_that_kills)(
            delayed(work)(i) for i in range(4)
        )
    with within(5), pytest.raises(WorkerLost, match=r"initializer .* LookupError: no such model"):
        Parallel(n_jobs=2, backend=backend, initializer=initializer_that_raises)(
            delayed(work)(i) for i in range(4)
        )
    covers("SIGKILL", backend, "initializer")


def sleep_and_say(seconds):
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_timeout_replaces_that_worker_only(backend, within, covers):
    run = Parallel(
        n_jobs=2, backend=backend, batch_size=1, timeout=1.0, on_error="return", pre_dispatch="all"
    )
    with within(6):
        first, *others = run([delayed(sleep_and_say)(60), *[delayed(sleep_and_say)(0.8)] * 3])
    assert isinstance(first.exception, TimeoutError)
    assert isinstance(others[0], int)
    assert others[0] == others[1]  # the neighbour, in the middle of its second task then, was left alone
    covers("timeout", backend, "task")


def start_a_program(file):
    child = subprocess.Popen(["sleep", "300"])
    file.write_text(str(child.pid))
    child.wait()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="elsewhere nobody tells whose children they are")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_worker_takes_what_it_started_with_it(backend, tmp_path, covers):
    with pytest.raises(TimeoutError):
        Parallel(n_jobs=2, backend=backend, timeout=1.0)([delayed(start_a_program)(tmp_path / "pid")])
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int((tmp_path / "pid").read_text())).wait(5)
    covers("timeout", backend, "task with a child process")


class _Group:
    """A control group with little memory, where one can be made: as version 2 has it, or version 1."""

    def __init__(self, limit):
        self.folder = None
        for top, file, events in (
            (Path("/sys/fs/cgroup"), "memory.max", "memory.events"),
            (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.oom_control"),
        ):
            folder = top / f"parallelcfg-{uuid.uuid4().hex}"
            try:
                folder.mkdir()
            except OSError:
                continue
            if (folder / file).exists():
                (folder / file).write_text(str(limit))
                self.folder, self._events = folder, folder / events
                return
            folder.rmdir()
        pytest.skip("no control group with a limit of its memory can be made here")

    def kills(self):
        """How often the out-of-memory killer has struck."""
        words = self._events.read_text().split()
        return int(words[words.index("oom_kill") + 1])

    def remove(self):
        deadline = time.monotonic() + 10
        while True:  # it is busy until the last process in it has been reaped, whoever does that
            try:
                return self.folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def eat(folder, nbytes):
    (folder / "cgroup.procs").write_text(str(os.getpid()))
    return len(bytearray(os.urandom(1 << 20)) * (nbytes >> 20))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_out_of_memory_killer(backend, within, covers):
    group = _Group(100 << 20)
    try:
        with within(10), pytest.raises(WorkerLost, match="SIGKILL") as caught:
            Parallel(n_jobs=2, backend=backend)([delayed(eat)(group.folder, 400 << 20), delayed(work)(1)])
        assert "task 0, eat(" in str(caught.value)
        assert "out-of-memory killer" in str(caught.value)
        assert group.kills() == 1
        next_call_works(backend)
    finally:
        group.remove()
    covers("out-of-memory killer", backend, "task in a control group")


EATS = """
import os
from parallelcfg import Parallel, WorkerLost, delayed
open(os.path.join(os.environ["GROUP"], "cgroup.procs"), "w").write(str(os.getpid()))
def eat(nbytes):
    return len(bytearray(os.urandom(1 << 20)) * (nbytes >> 20))
try:
    Parallel(n_jobs=2, backend=os.environ["BACKEND"])([delayed(eat)(2 << 30), delayed(abs)(-1)])
except WorkerLost as error:
    print(error)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_message_has_the_limit_of_the_control_group(program, backend, covers):
    group = _Group(500 << 20)
    try:
        one = program(EATS, BACKEND=backend, GROUP=str(group.folder))
        code, text, errors = one.end()
        assert code == 0, errors
        assert "was killed by SIGKILL with task 0, eat(2147483648), in its hands" in text
        assert " of 500 MiB in use; its out-of-memory killer has struck once" in text
        assert one.gone_after(2)
    finally:
        group.remove()
    covers("out-of-memory killer", backend, "program in a control group")


def eat_within(limit):
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        return len(bytes(limit))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere RLIMIT_AS limits nothing, or is not there")
@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_that_is_refused_is_that_tasks_error(backend, covers):
    run = Parallel(n_jobs=2, backend=backend, on_error="return")
    failed, fine = run([delayed(eat_within)(4 << 30), delayed(work)(1)])
    assert isinstance(failed.exception, MemoryError)
    assert fine == 2
    covers("RLIMIT_AS", backend, "task")


@pytest.mark.parametrize("backend", BACKENDS)
def test_when_nobody_knows_which_task_it_was_all_are_named(backend, covers):
    results = [delayed(work)(i) for i in range(3)] + [delayed(result_that_kills)(kill)]
    with pytest.raises(WorkerLost) as caught:
        Parallel(n_jobs=2, backend=backend, batch_size=4)(results)
    assert [index for index, _ in caught.value.tasks] == [0, 1, 2, 3]
    assert "while it sent results back with task 0, work(0), " in str(caught.value)
    assert "and 1 more, in its hands" in str(caught.value)
    covers("SIGKILL", backend, "no suspect")


def make_a_daemon():
    os.closerange(3, 256)


@pytest.mark.parametrize(
    ("backend", "said"),
    [("loky", "ended with exit code 0"), ("multiprocessing", "closed its connection and did not end")],
)
def test_a_worker_whose_connection_a_task_closes_is_told_as_such(backend, said, monkeypatch, covers):
    monkeypatch.setattr(workers, "_GRACE", 0.2)  # it stays for longer, in case that its parent is dying
    with pytest.raises(WorkerLost, match=rf"{said} .* make_a_daemon\(\)") as caught:
        Parallel(n_jobs=2, backend=backend)([delayed(make_a_daemon)()])
    assert "SIGKILL" not in str(caught.value)
    assert "something closed its file descriptors" in str(caught.value)
    covers("closed descriptors", backend, "task")


def announce(folder, number):
    (folder / f"begun-{number}").touch()
    if number == 0:
        while not (folder / "begun-1").exists():
            time.sleep(0.01)
        raise LookupError(number)
    time.sleep(3)
    (folder / f"ended-{number}").touch()


@pytest.mark.parametrize("shape", ["list", "generator", "generator_unordered"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_failure_drops_what_is_queued_and_stops_what_runs(backend, shape, tmp_path, within, covers):
    run = Parallel(n_jobs=2, backend=backend, batch_size=1, pre_dispatch="all", return_as=shape)
    next_call_works(backend)
    with within(2), pytest.raises(LookupError):
        list(run(delayed(announce)(tmp_path, i) for i in range(8)))
    begun = {path.name for path in tmp_path.iterdir()}
    assert Parallel(n_jobs=2, backend=backend)(delayed(time.sleep)(3.5) for _ in range(2)) == [None, None]
    assert {path.name for path in tmp_path.iterdir()} == begun  # nothing began, nothing went on
    assert begun <= {"begun-0", "begun-1", "begun-2"}
    covers("task raises", backend, f"queued and running work, {shape}")
