"""Trace files: what Perfetto expects, one call or a whole program."""

import itertools
import json
import os
import platform
import stat
import subprocess
import sys
import threading
from datetime import datetime, timedelta

import pytest

from parallelcfg import Parallel, delayed
from parallelcfg.report.trace import events, write_trace

PROGRAM = """
import threading, sys
from parallelcfg import Parallel, delayed

def nested(x):
    return sum(Parallel(n_jobs=2, backend="threading")(delayed(abs)(y) for y in range(x)))

def work(name):
    Parallel(n_jobs=2, backend="threading")(delayed(abs)(x) for x in range(5))

if __name__ == "__main__":
    Parallel(n_jobs=2)(delayed(nested)(x) for x in (2, 3))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = Parallel(n_jobs=2, return_as="generator", backend="threading")(delayed(abs)(x) for x in range(3))
    next(left)
"""


def check(found):
    """Hold events against the trace event format, as far as it binds them."""
    for event in found:
        assert event["ph"] in {"M", "X", "b", "e"}
        assert isinstance(event["name"], str)
        assert {"pid", "tid"} <= event.keys()
        if event["ph"] == "M":
            assert event["name"] in {"process_name", "thread_name"}
        else:
            assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
        if event["ph"] in "be":
            assert {"id", "cat"} <= event.keys()
    opened = [event["id"] for event in found if event["ph"] == "b"]
    assert opened == [event["id"] for event in found if event["ph"] == "e"]
    named = {event["tid"] for event in found if event["name"] == "thread_name"}
    assert {event["tid"] for event in found if event["ph"] == "X"} == named


def test_a_call_becomes_a_trace(make_report, tmp_path):
    report = make_report(failed={(0, 1)})
    report.to_chrome_trace(tmp_path / "run.json")
    trace = json.loads((tmp_path / "run.json").read_text())
    check(trace["traceEvents"])
    batches = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert len(batches) == 8
    assert [event["args"]["failed"] for event in batches].count(1) == 1
    assert {event["dur"] for event in batches} == {1_250_000}
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("there", [False, True])
def test_a_link_stays_and_the_file_that_it_names_gets_the_trace(there, make_report, tmp_path):
    (tmp_path / "far").mkdir()
    link, target = tmp_path / "run.json", tmp_path / "far" / "real.json"
    link.symlink_to(target)
    if there:
        target.write_text("old")
    make_report().to_chrome_trace(link)
    assert link.is_symlink()
    check(json.loads(target.read_text())["traceEvents"])
    assert [file.name for file in target.parent.iterdir()] == ["real.json"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_written_and_not_replaced(make_report, tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    make_report().to_chrome_trace(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    reader.join()
    check(json.loads(read[0])["traceEvents"])


@pytest.mark.skipif(sys.platform == "win32", reason="open files have no names")
def test_a_pipe_without_a_name_is_written(make_report):
    reading, writing = os.pipe()
    make_report().to_chrome_trace(f"/dev/fd/{writing}")
    os.close(writing)
    with os.fdopen(reading) as pipe:
        check(json.load(pipe)["traceEvents"])


def test_a_trace_says_where_and_when_it_was_recorded(make_report, tmp_path):
    early, late = make_report(), make_report()
    late.began_at = early.began_at + 90.5
    write_trace(tmp_path / "run.json", [late, early])
    trace = json.loads((tmp_path / "run.json").read_text())
    source = trace["otherData"]
    assert (source["host"], source["process"]) == (platform.node(), os.getpid())
    calls = [event["args"]["began"] for event in trace["traceEvents"] if event["ph"] == "b"]
    moments = [datetime.fromisoformat(text) for text in (source["began"], *reversed(calls))]
    assert all(moment.utcoffset() == timedelta(0) for moment in moments)
    assert [round(moment.timestamp() - early.began_at, 2) for moment in moments] == [0, 0, 90.5]


def test_workers_of_one_name_that_overlap_have_lanes_of_their_own(make_report):
    calls = [make_report(workers=2, batches=3) for _ in range(3)]
    late = make_report(workers=2, batches=1)
    for lane in late.history.lanes.values():
        lane[:] = [batch._replace(started=batch.started + 50, ended=batch.ended + 50) for batch in lane]
    found = list(events([*calls, late]))
    check(found)
    names = [event["args"]["name"] for event in found if event["name"] == "thread_name"]
    assert sorted(names) == ["worker-0"] * 3 + ["worker-1"] * 3
    spans = sorted(
        (event["tid"], event["ts"], event["ts"] + event["dur"]) for event in found if event["ph"] == "X"
    )
    assert len(spans) == 3 * 6 + 2
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in itertools.pairwise(spans))


def test_a_program_becomes_one_trace_with_all_its_calls(tmp_path):
    program, target = tmp_path / "program.py", tmp_path / "run.json"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, program],
        env={**dict(__import__("os").environ), "PARALLEL_TRACE": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(target.read_text())["traceEvents"]
    check(found)
    calls = [event for event in found if event["ph"] == "b"]
    assert len(calls) == 5
    assert len({call["args"]["thread"] for call in calls}) == 4
    assert all(call["args"]["place"].startswith(str(program)) for call in calls)


def test_without_the_key_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Parallel()(delayed(abs)(x) for x in range(3))
    assert list(tmp_path.iterdir()) == []


def test_a_trace_that_can_not_be_written_is_told_in_a_line(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    target = tmp_path / "nowhere" / "run.json"
    environment = {**os.environ, "PARALLEL_TRACE": str(target)}
    done = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == f"parallelcfg: the trace {target} can't be written: No such file or directory\n"


def test_a_trace_that_can_not_be_written_is_one_of_many_where_nobody_can_be_told(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from parallelcfg import Parallel, delayed\n"
        f"for path in ({str(tmp_path / 'nowhere' / 'run.json')!r}, {str(tmp_path / 'run.json')!r}):\n"
        "    Parallel(n_jobs=1, trace=path)([delayed(abs)(-1)])\n"
        "sys.stderr = None\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "run.json").read_text())["traceEvents"]


def test_a_report_that_can_not_be_written_names_the_file(make_report, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run\.json'$"):
        make_report().to_chrome_trace(tmp_path / "nowhere" / "run.json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        make_report().to_chrome_trace(tmp_path / "folder")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]
