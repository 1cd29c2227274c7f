"""What can be said of a process that is gone, or about to be."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import uuid

import pytest

from parallelcfg import Parallel, WorkerLost, delayed
from parallelcfg.backends.postmortem import descendants, likely_causes, resident_memory


@pytest.fixture
def ended():
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_process_that_has_ended_has_no_descendants(ended):
    assert descendants(ended) == []


def test_a_process_that_has_ended_needs_no_memory(ended):
    assert resident_memory(ended) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not tell")
def test_a_child_is_a_descendant():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in descendants(os.getpid())
        child.communicate(b"\n")


def test_a_worker_that_ends_well_in_the_middle_of_a_task_may_have_lost_its_connection():
    assert "something closed its file descriptors" in likely_causes(0)
    assert "file descriptors" not in likely_causes(1)


@pytest.mark.skipif(sys.platform == "win32", reason="loky's own way of starting there makes no such pipes")
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_too_few_descriptors_are_named_whatever_loky_makes_of_it(monkeypatch, number):
    def refuse():
        raise OSError(number, "Too many open files")

    run = Parallel(n_jobs=2, env={"FRESH": uuid.uuid4().hex})
    Parallel(n_jobs=2)([delayed(abs)(-1)])  # what loky starts but once is there
    monkeypatch.setattr(os, "pipe", refuse)
    with pytest.raises(WorkerLost, match=r"started: \[Errno \d+\] Too many open files with .*; ulimit -n"):
        run([delayed(abs)(-1)])
