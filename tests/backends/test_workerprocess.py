"""What a worker process does with signals meant for the whole job, and with answers that can't travel."""

import pickle
import subprocess
import sys

import pytest

from parallelcfg import Parallel, WorkerLost, delayed
from parallelcfg.transport.failures import unpack_exception
from parallelcfg.workerprocess import _answer

PRELUDE = """
import os, signal
from parallelcfg import workerprocess

def linger(seconds):
    os.kill(os.getpid(), signal.SIGTERM)
    print("lingered", flush=True)

workerprocess.time.sleep = linger
workerprocess._end_after_parent()
"""


def run(source, before=""):
    program = before + PRELUDE + source
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_signal_that_comes_twice_does_not_end_a_worker_sooner():
    assert run("os.kill(os.getpid(), signal.SIGTERM)") == (-15, "lingered\n", "")


def test_what_is_ignored_stays_ignored():
    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    source = "print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    assert run(source, before) == (0, "True\n", "")


def test_a_process_that_a_task_forks_ends_at_once():
    source = """
if (child := os.fork()) == 0:
    os.kill(os.getpid(), signal.SIGTERM)
    print("still there", flush=True)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(source) == (0, "-15\n", "")


def test_an_answer_that_cannot_be_pickled_is_a_loss_that_says_so():
    lost = pickle.loads(_answer(pickle.dumps((memoryview, b""))))
    error = unpack_exception(lost.cause)
    assert (type(error), lost.suspect, lost.innocent) == (TypeError, None, False)
    assert "memoryview" in str(error)


class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def fail():
    raise NoText


def test_an_initializer_is_blamed_whatever_it_raises():
    with pytest.raises(WorkerLost, match="the initializer of a worker raised NoText: "):
        Parallel(n_jobs=2, initializer=fail)([delayed(abs)(-1)])
