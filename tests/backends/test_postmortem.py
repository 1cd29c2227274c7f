"""What can be said of a process that is gone, or about to be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from parallelcfg.backends.postmortem import descendants, resident_memory


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
