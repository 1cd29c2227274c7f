"""Programs whose standard streams are missing, closed or can't be flushed have workers like any other."""

from __future__ import annotations

import io
import subprocess
import sys
import uuid

import pytest

from parallelcfg import Parallel, delayed


class NoFlush:
    """All that some hosts of Python put in place of a stream."""

    def write(self, text):
        pass


class Full(NoFlush):
    def flush(self):
        raise OSError(28, "No space left on device")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {"none": lambda: None, "closed": closed, "no flush": NoFlush, "full": Full}


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_workers_of_loky_start_whatever_the_streams_are(monkeypatch, make, name):
    monkeypatch.setattr(sys, name, make())
    run = Parallel(n_jobs=2, env={"FRESH": uuid.uuid4().hex})
    assert run(delayed(abs)(x) for x in (1, -2)) == [1, 2]


PRINTS = """
import os, sys
from parallelcfg import Parallel, delayed

def say(number):
    print("out", number)
    print("err", number, file=sys.stderr)
    null = os.stat(os.devnull)
    return number, [os.path.samestat(os.fstat(fd), null) for fd in (1, 2)]

if __name__ == "__main__":
    found = Parallel(n_jobs=2, backend=sys.argv[1], **eval(sys.argv[2]))(delayed(say)(x) for x in range(4))
    open("found", "w").write(repr(found))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there a shell can't close descriptors")
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_what_tasks_print_goes_nowhere_where_the_program_has_no_output(tmp_path, backend):
    (tmp_path / "prints.py").write_text(PRINTS)
    params = {"start_method": "spawn"} if backend == "multiprocessing" else {}
    command = [sys.executable, "prints.py", backend, repr(params)]
    subprocess.run(["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', *command], cwd=tmp_path, check=True)
    assert (tmp_path / "found").read_text() == repr([(x, [True, True]) for x in range(4)])
