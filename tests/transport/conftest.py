"""A configuration to share by, and a worker process that knows nothing but `parallelcfg.transport.load`."""

import os
import pickle
import subprocess
import sys
from types import MappingProxyType

import pytest

from parallelcfg.config.snapshot import Config
from parallelcfg.transport.reduce import Sharing

SERVER = """
import pickle, sys
from parallelcfg.transport import load

source, sink = sys.stdin.buffer, sys.stdout.buffer
while True:
    try:
        data, ticket = pickle.load(source)
    except EOFError:
        break
    try:
        function, args = load.loads(data)
        answer = load.dumps(function(*args), ticket)
        del function, args
    except BaseException as error:
        note = load.explain_read_only(error)
        answer = RuntimeError(f"{type(error).__name__}: {error} ({note})")
    pickle.dump(answer, sink)
    sink.flush()
"""

DEFAULTS = {
    "backend": None,
    "n_jobs": None,
    "verbose": 0,
    "temp_folder": None,
    "max_nbytes": 1000,
    "mmap_mode": "r",
    "prefer": None,
    "require": None,
    "inner_max_num_threads": None,
    "return_as": "list",
    "timeout": None,
    "deadline": None,
    "pre_dispatch": "2 * n_jobs",
    "batch_size": "auto",
    "max_pending_results": None,
    "on_error": "raise",
    "retries": 0,
    "progress": False,
    "strict": False,
    "forward_logs": False,
    "seed": None,
    "trace": None,
    "max_jobs": None,
    "backends": MappingProxyType({}),
}


class Worker:
    """Runs functions in another process, with arguments and results on the same way as a call's."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def send(self, data, ticket):
        pickle.dump((data, ticket), self.process.stdin)
        self.process.stdin.flush()
        answer = pickle.load(self.process.stdout)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    def run(self, sharing, function, *args):
        return sharing.loads(self.send(sharing.dumps((function, args)), sharing.ticket))

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def worker():
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture
def make_config(tmp_path):
    """A configuration whose arena is a folder of the test's own, unless it says otherwise."""
    return lambda **keys: Config(**{**DEFAULTS, "temp_folder": str(tmp_path), **keys})


@pytest.fixture
def make_sharing(make_config):
    made = []

    def make(**keys):
        made.append(Sharing(make_config(**keys)))
        return made[-1]

    yield make
    for sharing in made:
        sharing.close()


@pytest.fixture
def arena_files(tmp_path):
    """Every file of every arena below the test's folder."""

    def found():
        folders = [entry for entry in os.scandir(tmp_path) if entry.name.startswith("parallelcfg-")]
        return sorted(file.path for folder in folders for file in os.scandir(folder))

    return found
