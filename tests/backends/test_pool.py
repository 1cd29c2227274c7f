"""A pool whose threads can't be had says so at once."""

import threading

import pytest

from parallelcfg import WorkerLost
from parallelcfg.backends.pool import Pool
from parallelcfg.core.outcome import Reply


class Slow:
    """A member that has time to end until it is told to hurry."""

    def __init__(self):
        self.ends, self.hurry = threading.Event(), threading.Event()

    def run(self, assignment):
        return Reply([], 0, ())

    def end(self):
        self.ends.set()
        self.hurry.wait(30)


def refuse(thread):
    raise RuntimeError("can't start new thread")


def test_a_batch_waits_for_no_thread_that_only_ends(monkeypatch):
    member, told = Slow(), threading.Event()
    pool = Pool(1, lambda ordinal: member, dict, idle_timeout=0.0)
    pool.submit(1, None, lambda batch_id, outcome: told.set())
    assert told.wait(30)
    assert member.ends.wait(30)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(WorkerLost, match="no worker could be had: can't start new thread"):
            pool.submit(2, None, None)
    member.hurry.set()
    pool.stop(kill=False, wait=True)
