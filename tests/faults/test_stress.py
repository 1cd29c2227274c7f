"""Random faults from a seed, for as long as one likes: ``pytest -m stress``.

``FAULTS_SEED`` repeats a run, ``FAULTS_SECONDS`` sets its length (600 by default).
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import psutil
import pytest

from parallelcfg import Parallel, TaskError, WorkerLost, delayed, shutdown

SECONDS = float(os.environ.get("FAULTS_SECONDS", "600"))
SEED = int(os.environ.get("FAULTS_SEED", str(random.randrange(10**6))))


def good(number, size):
    time.sleep(random.random() / 500)
    return number, b"x" * size


def bad(number):
    raise LookupError(number)


def killed(number):
    os.kill(os.getpid(), signal.SIGKILL)


def left(number):
    os._exit(number % 3)


def stuck(number):
    time.sleep(600)


def locked(number):
    return threading.Lock()


FAULTS = [bad, killed, left, stuck, locked]


def make_tasks(dice, count):
    """Tasks, and the positions of those that must fail."""
    tasks, failing = [], set()
    share = dice.choice([0, 0, 0.05, 0.3])
    for number in range(count):
        if dice.random() < share:
            tasks.append(delayed(dice.choice(FAULTS))(number))
            failing.add(number)
        else:
            tasks.append(delayed(good)(number, dice.choice([0, 10, 100_000, 3_000_000])))
    return tasks, failing


def kill_someone(stop, dice):
    """What an out-of-memory killer does, to workers that do or don't deserve it."""
    while not stop.wait(dice.uniform(0.2, 2)):
        if victims := workers():
            dice.choice(victims).kill()


def workers():
    """Children of this process, and of multiprocessing's server, that are workers."""
    me = psutil.Process()
    found = []
    for child in me.children():
        command = _command(child)
        if any("forkserver" in part for part in command):
            found += _children(child)
        elif any(name in " ".join(command) for name in ("popen_loky", "spawn_main")):
            found.append(child)
    return found


def _children(process):
    try:
        return process.children()
    except psutil.Error:
        return []


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def one_round(dice, backend):
    tasks, failing = make_tasks(dice, dice.randrange(1, 60))
    shape = dice.choice(["list", "generator", "generator_unordered"])
    run = Parallel(
        n_jobs=dice.randrange(2, 5),
        backend=backend,
        return_as=shape,
        on_error="return",
        timeout=1.0,
        retries=dice.choice([0, 1]),
        batch_size=dice.choice(["auto", 1, 3]),
        max_nbytes=dice.choice([None, "1M"]),
    )
    results = run(tasks)
    if shape != "list" and dice.random() < 0.3:
        next(iter(results), None)
        return "abandoned"
    results = list(results)
    assert len(results) == len(tasks)
    for position, result in enumerate(results):
        if isinstance(result, TaskError):
            unlucky = isinstance(result.exception, (WorkerLost, TimeoutError))
            assert result.index in failing or unlucky, result
        elif shape != "generator_unordered":
            assert result[0] == position
            assert position not in failing
    return shape


def left_after(seconds):
    """Threads and workers that are there so much later: abandoned calls end in their own time."""
    deadline = time.monotonic() + seconds
    while True:
        shutdown(wait=True)
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith("parallelcfg")]
        left += [" ".join(_command(worker)) for worker in workers()]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


@pytest.mark.stress
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_random_faults(backend, tmp_path):
    print(f"\nFAULTS_SEED={SEED}")  # noqa: T201 - what to say to see it again
    dice, stop = random.Random(f"{SEED} {backend}"), threading.Event()
    killer = threading.Thread(target=kill_someone, args=(stop, random.Random(SEED)), daemon=True)
    killer.start()
    deadline, rounds = time.monotonic() + SECONDS / 2, 0
    try:
        while time.monotonic() < deadline:
            began = time.monotonic()
            one_round(dice, backend)
            assert time.monotonic() - began < 60
            rounds += 1
    finally:
        stop.set()
        killer.join()
    assert left_after(10) == []
    print(f"{rounds} rounds")  # noqa: T201 - what was covered
