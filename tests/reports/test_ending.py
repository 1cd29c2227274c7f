"""A program that is ended by a signal leaves its trace behind, and ends as the signal says."""

import json
import os
import signal
import subprocess
import sys

import pytest

from parallelcfg.report import trace

BUSY = """
import os, signal, sys, time
from parallelcfg import Parallel, delayed

def wait():
    while True:
        time.sleep(0.01)  # one long sleep would miss a signal that comes just before it begins

def tell():
    print("ready", flush=True)
    wait()

def tasks():
    yield delayed(abs)(-1)
    yield delayed(abs)(-2)
    tell()

def own(number, frame):
    sys.exit(5)
"""

CALL = "Parallel(n_jobs=2, backend='threading', batch_size=1)(tasks())"


@pytest.fixture
def ended(tmp_path):
    """End a traced program by a signal once it has said a line; (exit code, errors, events or None)."""

    def end(source, number, **options):
        target = tmp_path / "run.json"
        one = subprocess.Popen(
            [sys.executable, "-c", BUSY + source],
            env={**os.environ, "PARALLEL_TRACE": str(target)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        try:
            assert one.stdout.readline() == "ready\n", one.communicate()
            one.send_signal(number)
            _, errors = one.communicate(timeout=20)
        finally:
            one.kill()
            one.communicate()
        found = json.loads(target.read_text())["traceEvents"] if target.exists() else None
        assert [file.name for file in tmp_path.iterdir()] == ["run.json"] * target.exists()
        return one.returncode, errors, found

    return end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_a_program_leaves_its_trace(ended, number):
    before = "Parallel(n_jobs=2, backend='threading')(delayed(abs)(x) for x in range(9))\n"
    code, errors, found = ended(before + CALL, number)
    assert (code, errors) == (-number, "")
    assert len([event for event in found if event["ph"] == "b"]) == 2


def test_a_call_that_gives_a_generator_is_in_it(ended):
    source = "next(Parallel(n_jobs=2, backend='threading', return_as='generator', batch_size=1)(tasks()))\n"
    code, _, found = ended(source + "wait()", signal.SIGTERM)
    assert code == -signal.SIGTERM
    assert len([event for event in found if event["ph"] == "b"]) == 1


def test_a_signal_that_comes_twice_does_not_end_the_writing(ended):
    source = f"""
from parallelcfg.report import ending
write = ending.write_kept
def write_between():
    os.kill(os.getpid(), signal.SIGTERM)
    write()
ending.write_kept = write_between
{CALL}
"""
    code, errors, found = ended(source, signal.SIGTERM)
    assert (code, errors) == (-signal.SIGTERM, "")
    assert found


def test_a_handler_of_the_programs_own_stays(ended):
    code, _, found = ended(f"signal.signal(signal.SIGTERM, own)\n{CALL}", signal.SIGTERM)
    assert code == 5
    assert found, "written at the end that the handler chose"


def test_a_signal_that_is_ignored_stays_ignored():
    source = f"""
signal.signal(signal.SIGHUP, signal.SIG_IGN)
Parallel(n_jobs=1, trace={os.devnull!r})([delayed(abs)(-1)])
print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", BUSY + source], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


@pytest.mark.parametrize(("trace", "kept"), [(None, True), (os.devnull, False)])
def test_only_a_program_that_is_traced_gets_a_handler_and_its_forked_children_do_not(trace, kept):
    source = f"""
Parallel(n_jobs=1, trace={trace!r})([delayed(abs)(-1)])
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
if os.fork() == 0:
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
    os._exit(0)
os.wait()
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", BUSY + source], capture_output=True, text=True, check=True)
    assert done.stdout == f"{kept}\nTrue\n"


def test_a_call_that_went_on_after_the_file_was_written_is_written_again(make_report, monkeypatch, tmp_path):
    traces, report = trace._Traces(), make_report()
    monkeypatch.setattr(trace.atexit, "register", lambda _: None)
    over, report.ended = report.ended, 0.0
    traces.keep(str(tmp_path / "run.json"), report)
    traces.write()
    before = json.loads((tmp_path / "run.json").read_text())["traceEvents"]
    report.ended = over
    traces.write()
    after = json.loads((tmp_path / "run.json").read_text())["traceEvents"]
    assert (len(before), before == after) == (len(after), False)


def test_a_signal_in_the_middle_of_writing_finds_all_of_it_to_write(make_report, monkeypatch, tmp_path):
    traces, target = trace._Traces(), str(tmp_path / "run.json")
    monkeypatch.setattr(trace.atexit, "register", lambda _: None)
    written = []

    def interrupted(path, reports):
        written.append((path, len(reports)))
        if len(written) == 1:
            traces.write()  # what the signal's handler does

    monkeypatch.setattr(trace, "write_trace", interrupted)
    traces.keep(target, make_report())
    traces.write()
    traces.write()
    assert written == [(target, 1)] * 2
