"""Nothing stays behind, however a process ends; and nothing of a living process is touched."""

import errno
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from parallelcfg import Parallel, delayed
from parallelcfg.transport import arena, files, load

USE = """
import numpy as np, os, sys
sys.path.insert(0, {tests!r})
from conftest import DEFAULTS, Config
from parallelcfg.transport.reduce import Sharing
import parallelcfg
sharing = Sharing(Config(**{{**DEFAULTS, "temp_folder": {folder!r}}}))
array = np.ones(1000)
data = sharing.dumps(array)
ticket = sharing.ticket
shared = parallelcfg.shared_array(1000, temp_folder={folder!r})
"""


@pytest.fixture
def start(tmp_path):
    """Start a process that shares an array, and does what it is told after that."""
    processes = []

    def begin(code, **keys):
        setup = USE.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
        process = subprocess.Popen(
            [sys.executable, "-c", setup + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **keys
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait(30)


WAIT = "print('ready', flush=True); sys.stdin.read()"


@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "1 / 0", "raise KeyboardInterrupt"])
def test_a_process_that_ends_by_itself_leaves_nothing(end, start, tmp_path):
    process = start(end, stderr=subprocess.DEVNULL)
    process.wait(30)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_process_leaves_nothing(start, tmp_path):
    process = start(WAIT, stderr=subprocess.DEVNULL)
    process.stdout.readline()
    assert len(list(tmp_path.iterdir())) == 2
    process.send_signal(signal.SIGINT)
    process.wait(30)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_is_cleaned_up_after_by_the_next(number, start, tmp_path):
    process = start(WAIT)
    process.stdout.readline()
    files.sweep(str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2  # alive
    process.send_signal(number)
    process.wait(30)
    assert len(list(tmp_path.iterdir())) == 2
    files.sweep(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_dead_process_that_nobody_has_waited_for_is_dead(start, tmp_path):
    process = start(WAIT)
    process.stdout.readline()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    files.sweep(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_workers_clean_up_after_their_parent(start, tmp_path):
    parent = start("import pickle; pickle.dump(ticket, sys.stdout.buffer); sys.stdout.flush();" + WAIT)
    import pickle

    ticket = pickle.load(parent.stdout)
    load.expect(ticket)
    load.remove_orphans()
    assert len(list(tmp_path.iterdir())) == 2
    parent.kill()
    parent.wait(30)
    load.remove_orphans()
    assert list(tmp_path.iterdir()) == []


def test_the_first_use_of_a_folder_sweeps_it(start, tmp_path, make_sharing, monkeypatch):
    process = start(WAIT)
    process.stdout.readline()
    process.kill()
    process.wait(30)
    left = set(tmp_path.iterdir())
    monkeypatch.setattr(arena, "_swept", set())
    assert make_sharing().ticket.folders
    assert left.isdisjoint(tmp_path.iterdir())


def test_a_forked_child_removes_nothing_of_its_parent(start, tmp_path):
    process = start(
        "child = os.fork()\n"
        "if child == 0: sharing.close(); del shared; sys.exit()\n"
        "assert os.waitpid(child, 0)[1] == 0\n" + WAIT
    )
    assert process.stdout.readline() == b"ready\n"
    assert len(list(tmp_path.iterdir())) == 2
    process.stdin.close()
    process.wait(30)
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_waits_for_no_thread_of_its_parent(start, tmp_path):
    process = start(
        "import signal, threading\n"
        "holds, ends = threading.Event(), threading.Event()\n"
        "def hold():\n"
        "    with sharing._arena._lock: holds.set(); ends.wait()\n"
        "threading.Thread(target=hold).start(); holds.wait()\n"
        "child = os.fork()\n"
        "if child == 0: signal.alarm(20); sharing.close(); os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "ends.set()\n" + WAIT
    )
    assert process.stdout.readline() == b"ready\n"
    process.stdin.close()
    assert process.wait(30) == 0


def test_what_is_closed_while_its_folder_is_made_leaves_none(tmp_path, monkeypatch):
    one, make_owned_folder = arena.Arena(str(tmp_path), strict=False), arena.make_owned_folder

    def make(base):
        folder = make_owned_folder(base)
        one.close()  # as the garbage collector may, in the middle of anything
        return folder

    monkeypatch.setattr(arena, "make_owned_folder", make)
    monkeypatch.setattr(arena, "bases", lambda _: [str(tmp_path)])
    assert one.folders() == ()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_exits_without_a_word_does_not_take_files_of_others(start, tmp_path, make_sharing):
    mine = make_sharing().ticket.folders
    process = start("os._exit(0)")
    process.wait(30)
    files.sweep(str(tmp_path))
    assert [str(path) for path in tmp_path.iterdir()] == list(mine)


def _dead_name(**fields):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(30)
    parts = {
        "prefix": "parallelcfg",
        "system": files._system(),
        "pid": process.pid,
        "start": 12345,
        "end": "ab",
    }
    return "-".join(str(part) for part in {**parts, **fields}.values())


def test_folders_of_dead_processes_are_swept_with_their_files(tmp_path):
    folder = tmp_path / _dead_name()
    folder.mkdir(mode=0o700)
    (folder / "argument-1").write_bytes(b"x")
    files.sweep(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_has_now_does_not_protect_a_folder(tmp_path):
    (tmp_path / _dead_name(pid=os.getpid())).mkdir(mode=0o700)
    files.sweep(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "fields",
    [{"system": "00000000"}, {"prefix": "other"}, {"pid": "x"}, {"end": "a-b"}, {"start": ""}],
    ids=str,
)
def test_folders_of_other_systems_and_other_names_are_not_swept(fields, tmp_path):
    (tmp_path / _dead_name(**fields)).mkdir(mode=0o700)
    files.sweep(str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1


def test_links_are_not_followed(tmp_path):
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    (target / "precious").write_bytes(b"x")
    base = tmp_path / "base"
    base.mkdir()
    (base / _dead_name()).symlink_to(target)
    folder = base / _dead_name(end="cd")
    folder.mkdir(mode=0o700)
    (folder / "argument-1").symlink_to(target / "precious")
    files.sweep(str(base))
    assert (target / "precious").read_bytes() == b"x"
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_folders_of_another_user_are_not_swept(tmp_path):
    folder = tmp_path / _dead_name()
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    files.sweep(str(tmp_path))
    assert folder.exists()


def test_sweeping_what_is_not_there_is_nothing(tmp_path):
    files.sweep(str(tmp_path / "missing"))
    files.remove_folder(str(tmp_path / "missing"))


def test_a_folder_that_fills_up_while_it_is_removed_is_removed(tmp_path, monkeypatch):
    folder = files.make_folder(str(tmp_path))
    really_empty, late = files._empty, iter([b"x", b"y"])

    def empty(path):
        really_empty(path)
        for content in late:
            Path(path, "late").write_bytes(content)
            break

    monkeypatch.setattr(files, "_empty", empty)
    Path(folder, "early").write_bytes(b"x")
    files.remove_folder(folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_calls_with_an_array_leave_nothing():
    array, me = np.ones(250_000), psutil.Process()

    def state():
        gc.collect()
        processes = [me, *me.children(recursive=True)]
        return (
            [process.num_fds() for process in processes],
            sum(f"-{me.pid}-" in path.name for path in Path("/dev/shm").iterdir()),
        )

    with Parallel(n_jobs=2) as parallel:
        for _ in range(500):
            parallel(delayed(len)(array) for _ in range(2))
        before, resident = state(), me.memory_info().rss
        for _ in range(9_500):
            parallel(delayed(len)(array) for _ in range(2))
        assert state() == before
        assert me.memory_info().rss - resident < 5 << 20


def test_a_folder_that_cannot_be_removed_now_is_at_exit_and_keeps_no_other(tmp_path, monkeypatch):
    folders = [arena.make_owned_folder(str(tmp_path)) for _ in range(3)]
    refused = set(folders[:2])

    def remove(path):
        if path in refused:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        files.remove_folder(path)

    monkeypatch.setattr(arena, "remove_folder", remove)
    arena.discard_folder(folders[0])
    arena.discard_all()
    assert sorted(map(str, tmp_path.iterdir())) == sorted(refused)
    refused.clear()
    arena.discard_all()
    assert list(tmp_path.iterdir()) == []
