"""Full, small and forbidden folders: the next one is taken, with one warning, and nothing hangs or dies."""

import errno
import gc
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from parallelcfg import Parallel, delayed, parallel_config, shared_array
from parallelcfg.errors import ConfigError, SharingWarning
from parallelcfg.transport import arena, files, load


@pytest.fixture
def bases(tmp_path, monkeypatch):
    """Three folders in place of temp_folder, shared memory and the system's temporary folder."""
    made = [tmp_path / name for name in ("configured", "memory", "temporary")]
    for base in made:
        base.mkdir()
    monkeypatch.setattr(arena, "_SHARED_MEMORY", str(made[1]))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(made[2]))
    return made


@pytest.fixture
def free(monkeypatch):
    """Say how much is free below a path."""
    amounts = {}

    def free_space(place):
        path = str(Path(f"/proc/self/fd/{place}").readlink()) if isinstance(place, int) else place
        return next((amount for part, amount in amounts.items() if part in path), 1 << 40)

    monkeypatch.setattr(files, "free_space", free_space)
    monkeypatch.setattr(arena, "free_space", free_space)
    return amounts


def _used(bases):
    return [base.name for base in bases if any(base.glob("*/argument-*"))]


def test_the_configured_folder_comes_first(bases, make_sharing):
    sharing = make_sharing(temp_folder=str(bases[0]))
    sharing.dumps(np.ones(1000))
    assert _used(bases) == ["configured"]


def test_a_configured_folder_is_made(bases, make_sharing, tmp_path):
    make_sharing(temp_folder=str(tmp_path / "new" / "folder")).dumps(np.ones(1000))
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 1


def test_shared_memory_comes_next_and_then_the_temporary_folder(bases, make_sharing, free):
    make_sharing(temp_folder=None).dumps(np.ones(1000))
    assert _used(bases) == ["memory"]
    free["/memory"] = 7999
    with pytest.warns(SharingWarning, match="8,000 bytes"):
        make_sharing(temp_folder=None).dumps(np.ones(1000))
    assert _used(bases) == ["memory", "temporary"]


def test_room_is_compared_with_what_is_needed(bases, make_sharing, free):
    free["/memory"] = 8000
    make_sharing(temp_folder=None).dumps(np.ones(1000))
    assert _used(bases) == ["memory"]


def test_the_warning_comes_once_and_names_the_setting(bases, make_sharing, free):
    free["/memory"] = 0
    sharing = make_sharing(temp_folder=None)
    with pytest.warns(SharingWarning) as caught:
        sharing.dumps(np.ones(1000))
    sharing.dumps(np.ones(1000))
    (warning,) = caught
    assert warning.filename == __file__  # not a line of this package
    text = str(warning.message)
    assert "temp_folder (PARALLEL_TEMP_FOLDER)" in text
    assert str(bases[1]) in text
    assert "No space left" in text


def test_with_no_room_anywhere_arrays_are_pickled(bases, make_sharing, free):
    free[""] = 100
    sharing = make_sharing(temp_folder=str(bases[0]))
    with pytest.warns(SharingWarning, match="they are pickled"):
        data = sharing.dumps([np.arange(1000), b"x"])
    got = load.loads(data)[0]
    assert type(got) is np.ndarray
    assert (got == np.arange(1000)).all()
    assert not any(path.is_file() for base in bases for path in base.rglob("*"))


def test_strict_turns_the_warning_into_an_error(bases, make_sharing, free):
    free["/memory"] = 0
    with pytest.raises(ConfigError, match="temp_folder"):
        make_sharing(temp_folder=None, strict=True).dumps(np.ones(1000), name=None)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOENT, errno.EDQUOT])
def test_a_folder_that_refuses_is_passed_over(number, bases, make_sharing, monkeypatch):
    really = os.mkdir

    def mkdir(path, *args, **keys):
        if "configured" in str(path):
            raise OSError(number, os.strerror(number), path)
        return really(path, *args, **keys)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.warns(SharingWarning, match=os.strerror(number)):
        make_sharing(temp_folder=str(bases[0])).dumps(np.ones(1000))
    assert _used(bases) == ["memory"]


def test_a_file_in_place_of_the_folder_is_passed_over(bases, make_sharing, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.warns(SharingWarning, match="Not a directory"):
        make_sharing(temp_folder=str(tmp_path / "file")).dumps(np.ones(1000))
    assert _used(bases) == ["memory"]


def test_whoever_named_a_folder_that_is_passed_over_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    parallel = Parallel(n_jobs=2, temp_folder=str(tmp_path / "file"), max_nbytes=100)
    with pytest.warns(SharingWarning, match=r"file \(.*test_room\.py:\d+\): Not a directory"):
        parallel([delayed(np.sum)(np.ones(1000))])


def test_a_shared_array_that_is_elsewhere_than_asked_for_says_so(bases, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.warns(SharingWarning) as caught:
        array = shared_array(1000, temp_folder=tmp_path / "file")
    assert array.filename.startswith(str(bases[1]))
    (warning,) = caught
    assert warning.filename == __file__
    assert re.match(
        r"8,000 bytes .*file \(.*test_room\.py:\d+\): Not a directory; .*memory is used\. Set temp",
        str(warning.message),
    )
    del array
    with parallel_config(strict=True), pytest.raises(ConfigError, match="Not a directory"):
        shared_array(1000, temp_folder=tmp_path / "file")
    gc.collect()
    assert list(bases[1].iterdir()) == []


def test_a_shared_array_that_shared_memory_has_no_room_for_says_so(bases, free):
    free["/memory"] = 7999
    with pytest.warns(SharingWarning, match=r"memory: No space left on device; .*temporary is used"):
        array = shared_array(1000)
    assert array.filename.startswith(str(bases[2]))


def test_a_disk_that_fills_up_in_the_middle_of_a_file_leaves_no_part_of_it(bases, make_sharing, monkeypatch):
    def write(_fd, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    with pytest.warns(SharingWarning, match="they are pickled"):
        data = make_sharing(temp_folder=None).dumps(np.ones(1000))
    monkeypatch.undo()
    assert load.loads(data).sum() == 1000
    assert not any(path.is_file() for base in bases for path in base.rglob("*"))


def test_a_file_system_that_cannot_reserve_is_used_all_the_same(bases, make_sharing, monkeypatch):
    def posix_fallocate(_fd, _offset, _length):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", posix_fallocate)
    assert load.loads(make_sharing(temp_folder=None).dumps(np.ones(1000))).sum() == 1000
    assert _used(bases) == ["memory"]


def test_results_have_a_second_folder_where_the_first_is_small(bases, make_sharing, free):
    free["/memory"] = 5000
    sharing = make_sharing(temp_folder=None)
    assert len(sharing.ticket.folders) == 2
    got = sharing.loads(load.dumps(np.ones(1000), sharing.ticket))
    assert got.sum() == 1000
    assert sharing.bytes_shared == 8000


def test_results_without_room_are_pickled_and_the_parent_warns(bases, make_sharing, free):
    sharing = make_sharing(temp_folder=None)
    ticket = sharing.ticket
    free[""] = 10
    data = load.dumps([np.ones(1000), np.ones(2000)], ticket)
    with pytest.warns(SharingWarning, match="a large result was pickled.*No space left") as caught:
        assert [a.sum() for a in sharing.loads(data)] == [1000, 2000]
    assert len(caught) == 1


def test_a_call_whose_results_find_no_folder_pickles_them(bases, make_sharing, monkeypatch):
    def make_folder(base):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), base)

    monkeypatch.setattr(arena, "make_folder", make_folder)
    sharing = make_sharing(temp_folder=None)
    assert sharing.ticket.folders == ()
    assert sharing.loads(load.dumps(np.ones(1000), sharing.ticket)).sum() == 1000


@pytest.fixture
def _no_temporary_folder(monkeypatch, bases):
    def gettempdir():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", gettempdir)


@pytest.mark.usefixtures("_no_temporary_folder")
def test_without_a_temporary_folder_what_has_no_room_is_pickled(bases, make_sharing, free):
    free["/memory"] = 7999
    sharing = make_sharing(temp_folder=None)
    assert sharing.loads(load.dumps(np.ones(10), sharing.ticket)).sum() == 10
    with pytest.warns(SharingWarning, match="memory: No space left on device; they are pickled"):
        assert load.loads(sharing.dumps(np.ones(1000))).sum() == 1000
    with pytest.raises(OSError, match="no room for 8,000 bytes"):
        shared_array(1000)


@pytest.mark.usefixtures("_no_temporary_folder")
def test_without_any_folder_all_is_pickled_with_a_warning(bases, make_sharing):
    bases[1].rmdir()
    sharing = make_sharing(temp_folder=None)
    assert sharing.ticket.folders == ()
    with pytest.warns(SharingWarning, match="8,000 bytes of large data can't be put into any folder;"):
        assert load.loads(sharing.dumps(np.ones(1000))).sum() == 1000


WITHOUT_TEMPORARY_FOLDER = """
import tempfile
from parallelcfg import Parallel, delayed

def gettempdir():
    raise FileNotFoundError("No usable temporary directory found")

if __name__ == "__main__":
    tempfile.gettempdir = gettempdir
    print(Parallel(n_jobs=2, backend="multiprocessing")(delayed(abs)(-i) for i in range(3)))
"""


def test_without_a_temporary_folder_workers_of_multiprocessing_start(tmp_path):
    (tmp_path / "program.py").write_text(WITHOUT_TEMPORARY_FOLDER)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[0, 1, 2]\n", "")


LIMITED = """
import resource, signal, sys
import numpy as np
sys.path.insert(0, {tests!r})
from conftest import DEFAULTS, Config
from parallelcfg.transport.reduce import Sharing
from parallelcfg.transport import load
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
sharing = Sharing(Config(**{{**DEFAULTS, "temp_folder": {folder!r}}}))
got = load.loads(sharing.dumps(np.arange(1000.0)))
back = sharing.loads(load.dumps(got + 1, sharing.ticket))
sharing.close()
print(type(got).__name__, back.sum())
"""


def test_a_limit_on_the_size_of_files_is_survived(tmp_path):
    code = LIMITED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "ndarray 500500.0\n"
    assert done.stderr.count("SharingWarning") == 1
    assert list(tmp_path.iterdir()) == []


def _mounted(tmp_path, size):
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("can't mount a small file system here")


def test_a_really_small_file_system_is_survived(bases, make_sharing):
    _mounted(bases[0], "1M")
    try:
        sharing = make_sharing(temp_folder=str(bases[0]))
        small, large = np.ones(100_000), np.ones(1_000_000)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load.loads(sharing.dumps(small)).sum() == 100_000
        assert _used(bases) == ["configured"]
        with pytest.warns(SharingWarning, match="8,000,000 bytes.*No space left"):
            assert load.loads(sharing.dumps(large)).sum() == 1_000_000
        got = sharing.loads(load.dumps([small + 1, large + 1], sharing.ticket))
        assert [array.sum() for array in got] == [200_000, 2_000_000]
        sharing.close()
        assert list(bases[0].iterdir()) == []
    finally:
        subprocess.run(["umount", bases[0]], check=True)
