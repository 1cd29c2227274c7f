"""The end of a program, wanted or not: the prompt is back within 2 s, and nothing is left."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import parallelcfg
from parallelcfg import Parallel, delayed, shutdown
from parallelcfg.backends import threads
from parallelcfg.backends.shelf import SHELF
from parallelcfg.backends.workers import WorkerProcess

BACKENDS = ["loky", "multiprocessing", "threading"]
PROCESSES = ["loky", "multiprocessing"]

PRELUDE = """
import os, signal, sys, threading, time
from parallelcfg import Parallel, delayed

backend, folder = os.environ["BACKEND"], os.environ["FOLDER"]

def say(text):
    print(text, flush=True)

def begin():
    open(os.path.join(folder, f"begun-{os.getpid()}-{threading.get_ident()}"), "w").close()

def sleep(seconds=300):
    begin()
    time.sleep(seconds)

def compute():
    begin()
    while True:
        sum(range(1000))

def large(array):
    begin()
    time.sleep(300)

def wait_for(count):
    while sum(name.startswith("begun") for name in os.listdir(folder)) < count:
        time.sleep(0.01)
    say("ready")

def tell(count):
    threading.Thread(target=wait_for, args=(count,), daemon=True).start()

def run(tasks, **options):
    options = {"batch_size": 1, **options}
    return Parallel(n_jobs=2, backend=backend, **options)(tasks)
"""

BUSY = {
    "tasks that sleep": "tell(2)\nrun(delayed(sleep)() for _ in range(4))",
    "tasks that compute": "tell(2)\nrun(delayed(compute)() for _ in range(4))",
    "a generator's consumer waits": (
        "tell(2)\nfor _ in run((delayed(sleep)() for _ in range(4)), return_as='generator'): pass"
    ),
    "a source that waits": """
def source():
    yield delayed(sleep)(0)
    yield delayed(sleep)(0)
    wait_for(1)  # else the standard library's own processes could be hit while they start
    while True:
        time.sleep(0.01)  # one long sleep would miss a signal that comes just before it begins
run(source())
""",
    "the call comes from another thread": """
threading.Thread(target=run, args=([delayed(sleep)(), delayed(sleep)()],), daemon=True).start()
wait_for(2)
time.sleep(300)
""",
    "inside with": """
tell(2)
with Parallel(n_jobs=2, backend=backend) as p:
    p(delayed(sleep)() for _ in range(2))
""",
    "a call inside a task": """
def outer():
    Parallel(n_jobs=2, backend=backend)(delayed(sleep)() for _ in range(2))
tell(4)
run(delayed(outer)() for _ in range(2))
""",
}

IDLE = """
run(delayed(abs)(i) for i in range(20))
say("ready")
time.sleep(300)
"""

SHARING = """
import numpy
arrays = [numpy.ones(1 << 20), numpy.ones(1 << 20)]
tell(2)
run((delayed(large)(array) for array in arrays), temp_folder=folder)
"""

OTHER_FILES = {
    "a shared array, workers are busy": """
from parallelcfg import shared_array
array = shared_array(1000, temp_folder=folder)
tell(2)
run(delayed(large)(array) for _ in range(2))
""",
    "a shared array, workers are idle": """
from parallelcfg import shared_array
array = shared_array(1000, temp_folder=folder)
run(delayed(abs)(i) for i in range(20))
say("ready")
time.sleep(300)
""",
    "a shared array that came to idle workers": """
from parallelcfg import shared_array
run(delayed(abs)(i) for i in range(20))
array = shared_array(1000, temp_folder=folder)
run(delayed(len)(array) for _ in range(20))
say("ready")
time.sleep(300)
""",
    "a shared array that a task has made": """
import builtins
from parallelcfg import shared_array
def make():
    builtins.kept = shared_array(1000, temp_folder=folder)
    sleep()
tell(2)
run(delayed(make)() for _ in range(2))
""",
    "large arguments that wait": """
import numpy
def source():
    yield from [delayed(sleep)() for _ in range(2)]
    yield from [delayed(large)(numpy.ones(1 << 20)) for _ in range(2)]
    wait_for(2)
    time.sleep(300)
run(source(), temp_folder=folder, pre_dispatch="all")
""",
}


@pytest.fixture
def start(program, tmp_path):
    def begin(source, backend, *args, ready=True, **options):
        folder = tmp_path / "begun"
        folder.mkdir()
        one = program(PRELUDE + source, *args, BACKEND=backend, FOLDER=str(folder), **options)
        if ready:
            line = one.line()
            assert line == "ready", one.end()
        return one

    return begin


def names(folder):
    return [path.name for path in folder.iterdir()]


def gone(one, seconds=2):
    assert one.gone_after(seconds), f"{len(one.left())} processes are left"


@pytest.mark.parametrize("phase", [*BUSY, "idle"])
@pytest.mark.parametrize("backend", PROCESSES)
def test_workers_end_with_a_killed_parent(start, backend, phase, covers):
    one = start(BUSY.get(phase, IDLE), backend)
    one.process.kill()
    one.process.wait()
    gone(one)
    covers("parent SIGKILL", backend, phase)


@pytest.mark.parametrize("backend", PROCESSES)
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_file_outlives_a_killed_parent(start, backend, ending, tmp_path, covers):
    one = start(SHARING, backend)
    assert any(name.startswith("parallelcfg") for name in names(tmp_path / "begun"))
    os.kill(one.process.pid, ending)
    one.end()
    gone(one)
    assert [name for name in names(tmp_path / "begun") if not name.startswith("begun")] == []
    covers(f"parent {ending.name}", backend, "large arguments")


@pytest.mark.parametrize("phase", OTHER_FILES)
@pytest.mark.parametrize("backend", PROCESSES)
def test_nothing_else_outlives_a_killed_parent(start, backend, phase, tmp_path, covers):
    one = start(OTHER_FILES[phase], backend)
    assert any(name.startswith("parallelcfg") for name in names(tmp_path / "begun"))
    one.process.kill()
    one.process.wait()
    gone(one)
    assert [name for name in names(tmp_path / "begun") if not name.startswith("begun")] == []
    covers("parent SIGKILL", backend, phase)


@pytest.mark.parametrize("backend", PROCESSES)
def test_a_shared_array_that_a_task_has_made_ends_with_its_worker(start, backend, tmp_path):
    source = """
import builtins
from parallelcfg import shared_array
def make():
    builtins.kept = shared_array(1000, temp_folder=folder)
run(delayed(make)() for _ in range(2))
say("ready")
"""
    one = start(source, backend)
    one.end()
    gone(one)
    assert names(tmp_path / "begun") == []


@pytest.mark.parametrize("backend", PROCESSES)
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_no_file_outlives_a_job_that_is_ended_as_a_whole(start, backend, ending, tmp_path, covers):
    one = start(SHARING, backend)
    assert any(name.startswith("parallelcfg") for name in names(tmp_path / "begun"))
    os.killpg(one.process.pid, ending)  # as batch schedulers and service managers do
    code, _, errors = one.end()
    gone(one)
    assert (code, errors) == (-ending, "")
    assert [name for name in names(tmp_path / "begun") if not name.startswith("begun")] == []
    covers(f"group {ending.name}", backend, "large arguments")


@pytest.mark.parametrize("phase", [*BUSY, "idle"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_gives_the_prompt_back(start, backend, phase, within, covers):
    one = start(BUSY.get(phase, IDLE), backend)
    with within(2):
        os.killpg(one.process.pid, signal.SIGINT)  # a terminal sends it to all processes of the group
        code, _, errors = one.end()
    gone(one)
    assert code == -signal.SIGINT, errors
    assert errors.count("KeyboardInterrupt") == 1, errors
    assert errors.count("Traceback") == 1, errors
    covers("Ctrl-C", backend, phase)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("pause", [0, 0.02])
def test_ctrl_c_twice(start, backend, pause, within, covers):
    one = start(BUSY["tasks that sleep"], backend)
    with within(2):
        os.killpg(one.process.pid, signal.SIGINT)
        time.sleep(pause)
        os.killpg(one.process.pid, signal.SIGINT)
        code, _, _ = one.end()
    gone(one)
    assert code in (-signal.SIGINT, 1)  # 1: the second one came when Python was ending
    covers("Ctrl-C twice", backend, "tasks that sleep")


@pytest.mark.parametrize("stream", ["list", "generator"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupt_that_does_not_wake_the_caller_is_noticed(start, backend, stream, within):
    source = f"""
import _thread
def interrupt():
    wait_for(2)
    _thread.interrupt_main()  # as a signal that comes while the main thread is on its way into a wait
threading.Thread(target=interrupt, daemon=True).start()
list(run((delayed(sleep)() for _ in range(4)), return_as={stream!r}))
"""
    one = start(source, backend)
    with within(2):
        code, _, errors = one.end()
    gone(one)
    assert code == -signal.SIGINT
    assert errors.count("KeyboardInterrupt") == 1, errors
    assert errors.count("Traceback") == 1, errors  # the end of the wait is no other exception


@pytest.mark.parametrize("delay", [0, 0.1, 0.2])
@pytest.mark.parametrize("backend", PROCESSES)
def test_ctrl_c_while_workers_start(start, backend, delay, within, covers):
    one = start("import parallelcfg.workerprocess\nsay('ready')\n" + BUSY["tasks that sleep"], backend)
    time.sleep(delay)
    with within(2):
        os.killpg(one.process.pid, signal.SIGINT)
        code, _, errors = one.end()
    gone(one)
    assert code == -signal.SIGINT, errors
    if backend == "loky":  # the standard library's own processes can be hit before they ignore it
        assert errors.count("Traceback") == 1, errors
    covers("Ctrl-C", backend, "workers start")


def test_the_next_call_works_after_ctrl_c(start, within):
    source = """
tell(2)
try:
    run(delayed(sleep)() for _ in range(4))
except KeyboardInterrupt:
    say(run(delayed(abs)(-i) for i in range(4)))
"""
    one = start(source, "loky")
    with within(3):
        os.killpg(one.process.pid, signal.SIGINT)
        assert one.line() == "[0, 1, 2, 3]"
        assert one.end()[0] == 0


ENDINGS = {
    "sys.exit with a pending generator": """
stream = run((delayed(sleep)() for _ in range(4)), return_as="generator")
wait_for(1)
sys.exit(5)
""",
    "end with a pending generator": """
stream = run((delayed(sleep)() for _ in range(4)), return_as="generator_unordered")
wait_for(1)
""",
    "an error in a generator's consumer": """
for _ in run((delayed(sleep)(0 if i == 0 else 300) for i in range(6)), return_as="generator"):
    say("ready")
    sys.exit(5)
""",
    "sys.exit while a daemon thread calls": """
threading.Thread(target=run, args=([delayed(sleep)(), delayed(sleep)()],), daemon=True).start()
wait_for(1)
sys.exit(5)
""",
    "end with warm workers": """
run(delayed(abs)(i) for i in range(20))
say("ready")
""",
    "sys.exit in the source": """
def source():
    yield delayed(sleep)()
    yield delayed(sleep)()
    wait_for(1)
    sys.exit(5)
run(source())
""",
    "end inside with": """
p = Parallel(n_jobs=2, backend=backend).__enter__()
p(delayed(abs)(i) for i in range(9))
say("ready")
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_interpreter_ends(start, backend, ending, within, covers):
    one = start(ENDINGS[ending], backend)
    with within(2):
        code, _, errors = one.end()
    gone(one)
    assert code == (5 if "sys.exit(5)" in ENDINGS[ending] else 0), errors
    assert errors == ""
    covers("interpreter exit", backend, ending)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sigterm_ends_everything(start, backend, within, covers):
    one = start(BUSY["tasks that sleep"], backend)
    with within(2):
        one.process.terminate()
        code, _, _ = one.end()
        gone(one)
    assert code == -signal.SIGTERM
    covers("SIGTERM", backend, "tasks that sleep")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_main_thread_ends_while_another_calls(start, backend, within, covers):
    source = """
def call():
    try:
        say(run(delayed(abs)(-i) for i in range(4)))
    except Exception as error:
        say(type(error).__name__)
def later():
    wait_for(0)
    threading.main_thread().join()
    call()
threading.Thread(target=later).start()
"""
    one = start(source, backend)
    with within(5):
        assert one.line() in {"[0, 1, 2, 3]", "WorkerLost"}
        assert one.end()[0] == 0
    gone(one)
    covers("main thread ends", backend, "another thread calls")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_call_in_an_exit_handler(start, backend, within, covers):
    source = """
import atexit
from parallelcfg import Parallel
made_before = Parallel(n_jobs=2, backend=backend)
atexit.register(lambda: say(made_before(delayed(abs)(-i) for i in range(5))))
atexit.register(lambda: say(run(delayed(abs)(-i) for i in range(4))))
say("ready")
"""
    one = start(source, backend)
    with within(5):
        assert one.line() == "[0, 1, 2, 3]", one.end()
        assert one.line() == "[0, 1, 2, 3, 4]", one.end()
        code, _, errors = one.end()
    assert code == 0
    assert "Traceback" not in errors
    gone(one)
    covers("interpreter exit", backend, "atexit")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", ["-c", "standard input"])
def test_programs_without_a_file(start, backend, way, within, covers):
    options = {} if way == "-c" else {"stdin": True}
    source = "say(run(delayed(abs)(-i) for i in range(4)))\n"
    one = start(source, backend, *(["-"] if way != "-c" else []), ready=False, **options)
    with within(10):
        code, output, errors = one.end()
    if (backend, way) == ("multiprocessing", "standard input"):  # where the standard library can't work
        assert "WorkerLost" in errors
        assert "there is no file <stdin>: backend='loky'" in errors
    else:
        assert (code, output.strip(), errors) == (0, "[0, 1, 2, 3]", "")
    covers("no main file", backend, way)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_main_without_guard_gives_one_clear_error(start, method, tmp_path, within, covers):
    script = tmp_path / "guardless.py"
    script.write_text(
        "from parallelcfg import Parallel, delayed\n"
        f"print(Parallel(n_jobs=2, backend='multiprocessing', start_method={method!r})("
        "delayed(abs)(-i) for i in range(4)))\n"
    )
    one = start("", "multiprocessing", str(script), ready=False)
    with within(10):
        code, output, errors = one.end()
    assert code == 1
    assert output == ""
    assert errors.count("Traceback") == 1, errors
    assert "if __name__ == '__main__':" in errors
    gone(one)
    covers("no __main__ guard", f"multiprocessing {method}", "start")


def test_main_without_guard_works_on_the_default_backend(start, tmp_path, covers):
    script = tmp_path / "guardless.py"
    script.write_text(
        "from parallelcfg import Parallel, delayed\n"
        "def double(x): return 2 * x\n"
        "print(Parallel(n_jobs=2)(delayed(double)(i) for i in range(4)))\n"
    )
    code, output, errors = start("", "loky", str(script), ready=False).end()
    assert (code, output.strip(), errors) == (0, "[0, 2, 4, 6]", "")
    covers("no __main__ guard", "loky", "start")


@pytest.mark.parametrize("error", [KeyboardInterrupt, LookupError])
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_an_interrupted_submission_costs_no_worker(backend, error, monkeypatch):
    """Ctrl-C, or what the handler of another signal raises: a limit of time, for example."""
    kind = {"loky": WorkerProcess, "threading": threads._Thread}[backend]
    begin, struck = kind.begin, []

    def interrupted(self, assignment):
        begin(self, assignment)
        if len(struck) < 3:
            struck.append(assignment)
            raise error("by a signal")

    def call(**keys):
        run = Parallel(n_jobs=2, backend=backend, batch_size=1, **keys)
        return run(delayed(abs)(-x) for x in range(8))

    def five_times(**keys):  # new workers begin nothing in the thread that submits
        for _ in range(5):
            call(**keys)

    call()
    monkeypatch.setattr(kind, "begin", interrupted)
    for keys in ({}, {"retries": 2}, {"on_error": "return"}):
        before = len(struck)
        with pytest.raises(error, match="by a signal"):
            five_times(**keys)
        assert len(struck) == before + 1
    assert call() == list(range(8))


def test_an_interrupt_anywhere_leaves_no_pool_behind():
    """The interpreter looks for signals at calls; each of those in a call of two tasks is tried."""
    root, at = str(Path(parallelcfg.__file__).parent), 0
    unheard = {"__del__", "orphan"}  # what is raised there is only printed

    def strike(frame, event, _):
        nonlocal at
        code = frame.f_code
        if (
            event in {"call", "c_return"}
            and code.co_filename.startswith(root)
            and code.co_name not in unheard
        ):
            at -= 1
            if at == 0:
                raise KeyboardInterrupt

    def call():
        sys.setprofile(strike)
        try:
            return Parallel(n_jobs=2, backend="threading")(delayed(abs)(-x) for x in range(2))
        finally:
            sys.setprofile(None)

    shutdown()
    call()
    at = 10_000
    call()
    for after in range(1, 10_000 - at):
        at = after
        with suppress(KeyboardInterrupt):
            assert call() == [0, 1]
        assert not SHELF._leased or gc.collect()
    shutdown()
    assert not SHELF._leased
    at = 0
    assert call() == [0, 1]


def begin_and_sleep(file):
    file.touch()
    time.sleep(300)


@pytest.mark.parametrize("backend", PROCESSES)
def test_an_interrupt_while_workers_are_stopped_leaves_none_running(backend, monkeypatch, tmp_path, within):
    stop, stopped = WorkerProcess.kill, []

    def interrupted(self):
        stopped.append(self._process.pid)
        if len(stopped) == 1:
            raise KeyboardInterrupt
        return stop(self)

    def tasks():
        yield from [delayed(begin_and_sleep)(tmp_path / name) for name in "ab"]
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        monkeypatch.setattr(WorkerProcess, "kill", interrupted)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Parallel(n_jobs=2, backend=backend, batch_size=1)(tasks())
    assert len(set(stopped)) == 2
    with within(8):
        while any(map(psutil.pid_exists, stopped)):
            time.sleep(0.01)
    assert not SHELF._leased
