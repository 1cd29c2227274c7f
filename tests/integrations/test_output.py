"""A cell lasts until the kernel has read what workers printed."""

import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from parallelcfg.integrations import output

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kernels watch no file descriptors there")


@pytest.fixture
def pipe(monkeypatch):
    """A kernel's standard output: a pipe with something in it; the reading end, and what tells how much."""
    pytest.importorskip("fcntl")
    reading, writing = os.pipe()
    os.write(writing, b"text")
    monkeypatch.setattr(output, "_DESCRIPTORS", {"stdout": writing})
    stdout = SimpleNamespace(watch_fd_thread=threading.current_thread())
    monkeypatch.setattr(output, "sys", SimpleNamespace(stdout=stdout, byteorder=sys.byteorder))
    unread = output._unread
    yield reading, lambda: unread(writing)
    os.close(reading)
    os.close(writing)


def test_what_is_written_is_waited_for_until_it_is_read(pipe, monkeypatch):
    reading, unread = pipe
    looked = threading.Event()

    def look(descriptor):
        looked.set()
        return unread()

    def read():
        looked.wait(10)
        os.read(reading, 100)

    monkeypatch.setattr(output, "_unread", look)
    thread = threading.Thread(target=read)
    thread.start()
    output.await_output(patience=10)
    left = unread()
    thread.join()
    assert looked.is_set()
    assert left == 0


def test_a_kernel_that_does_not_read_is_not_waited_for_for_ever(pipe):
    _, unread = pipe
    output.await_output(patience=0)
    assert unread() == 4


def test_other_streams_are_not_looked_at(monkeypatch):
    monkeypatch.setattr(output, "_unread", pytest.fail)
    output.await_output()


def test_what_is_no_pipe_any_more_has_nothing_to_read():
    with Path(os.devnull).open("wb") as stream:
        assert output._unread(stream.fileno()) == 0
