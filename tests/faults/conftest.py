"""What the fault tests share: hard time limits, programs of their own, and a record of what was covered."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
import uuid
from collections import defaultdict
from contextlib import contextmanager, suppress
from pathlib import Path

import cloudpickle
import psutil
import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            if not list(item.iter_markers("timeout")):
                item.add_marker(pytest.mark.timeout(60))
            # Workers can't import test modules by name, which depend on how pytest was started
            cloudpickle.register_pickle_by_value(item.module)


def pytest_runtest_logreport(report):
    covered = dict(report.user_properties).get("covered")
    if report.when == "call" and report.passed and covered:
        fault, backend, phase = covered
        _COVERED[fault, phase].add(backend)


#: What passed, by fault and phase. Reports come to the process that prints them, from xdist's workers too.
_COVERED = defaultdict(set)


def pytest_terminal_summary(terminalreporter):
    if _COVERED:
        terminalreporter.section("faults covered")
        for (fault, phase), backends in sorted(_COVERED.items()):
            terminalreporter.write_line(f"{fault:32} {phase:32} {', '.join(sorted(backends))}")


@pytest.fixture
def covers(record_property):
    """Note which fault was met on which backend in which phase of a call."""

    def note(fault, backend, phase):
        record_property("covered", (fault, backend, phase))

    return note


#: Time limits are those of the promises where the suite runs alone. Beside other tests, on machines with few
#: CPUs, processes wait for each other, and the limits are stretched by this factor.
SLACK = float(os.environ.get("FAULTS_SLACK", "4" if "PYTEST_XDIST_WORKER" in os.environ else "1"))


@contextmanager
def within(seconds):
    began = time.monotonic()
    yield
    spent = time.monotonic() - began
    assert spent < seconds * SLACK, f"took {spent:.1f} s"


@pytest.fixture(name="within")
def _within():
    """A hard limit for a block of a test."""
    return within


class Program:
    """A Python program in a process of its own, whose descendants can be told from all others."""

    def __init__(self, source, *args, stdin=False, **env):
        self.mark = uuid.uuid4().hex
        command = (
            [sys.executable, *args] if stdin or args else [sys.executable, "-c", textwrap.dedent(source)]
        )
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "FAULTS_MARK": self.mark, **env},
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if stdin:
            self.process.stdin.write(textwrap.dedent(source))
            self.process.stdin.close()
            self.process.stdin = None

    def line(self):
        """The next line of output, once it is there."""
        return self.process.stdout.readline().strip()

    def end(self, seconds=8):
        """Wait for the end; (exit code, output, errors)."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if p.pid in self.left()]
            self.kill()
            raise AssertionError(f"did not end; running: {left}") from None
        return self.process.returncode, out, err

    def left(self):
        """The processes that it has started, and that still run."""
        found = []
        for pid in psutil.pids():
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                dead = psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
            except (OSError, psutil.Error):
                continue
            if self.mark.encode() in environment and not dead:
                found.append(pid)
        return found

    def gone_after(self, seconds):
        """Whether nothing that it has started runs any more, in so many seconds from now at the latest."""
        deadline = time.monotonic() + seconds * SLACK
        while self.left():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def kill(self):
        for pid in self.left():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def program():
    """Run Python programs; whatever is left of them is killed after the test."""
    started = []

    def start(source, *args, **options):
        started.append(Program(source, *args, **options))
        return started[-1]

    yield start
    for one in started:
        one.kill()
