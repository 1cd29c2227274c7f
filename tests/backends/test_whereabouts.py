"""Workers start where the working folder is gone, or stands where nobody may go to."""

import os
import subprocess
import sys

import pytest

from parallelcfg.backends.whereabouts import staying_here

PROGRAM = """
import os, sys
os.rmdir(os.getcwd())
from parallelcfg import Parallel, delayed
if __name__ == "__main__":
    print(Parallel(n_jobs=2, backend=sys.argv[1])(delayed(abs)(x) for x in [-1, 2]))
"""


@pytest.mark.skipif(os.name == "nt", reason="a working folder can't be deleted there")
@pytest.mark.skipif(sys.version_info[:3] == (3, 13, 0), reason="it can't import socket there itself")
@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_a_call_runs_where_the_working_folder_is_gone(tmp_path, backend):
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, backend],
        cwd=tmp_path / "gone",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[1, 2]\n"


@pytest.mark.parametrize(("inside", "told"), [(True, os.curdir), (False, os.sep)])
def test_a_worker_is_not_sent_to_a_folder_that_may_not_be_entered(monkeypatch, inside, told):
    monkeypatch.setattr(os, "access", lambda path, mode: path == os.curdir and inside)
    before = os.getcwd
    with staying_here():
        assert os.getcwd() == told  # noqa: PTH109 - as multiprocessing asks
    assert os.getcwd is before


def test_a_worker_is_sent_to_a_folder_that_may_be_entered():
    before = os.getcwd
    with staying_here():
        assert os.getcwd is before
