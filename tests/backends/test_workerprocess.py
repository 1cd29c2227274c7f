"""What a worker process does with signals that are meant for the whole job."""

import subprocess
import sys

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
