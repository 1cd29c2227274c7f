"""Folders and files that nobody else can read, guess or swap."""

import os
import pickle
import stat
from pathlib import Path

import numpy as np
import pytest

from parallelcfg.transport import files, load


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_folders_and_files_are_private_at_any_umask(umask, tmp_path):
    folder = files.make_folder(str(tmp_path))
    path = files.save(folder, "argument", lambda: [memoryview(b"secret")], 6)
    assert stat.S_IMODE(os.lstat(folder).st_mode) == 0o700
    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600
    files.remove_folder(folder)


def test_modes_are_never_wider_not_even_for_a_moment(tmp_path, monkeypatch):
    calls = []
    for name in ("mkdir", "open"):
        really = getattr(os, name)

        def spy(path, *args, _name=name, _really=really, **keys):
            calls.append((_name, path, args))
            return _really(path, *args, **keys)

        monkeypatch.setattr(os, name, spy)
    folder = files.make_folder(str(tmp_path))
    files.create(folder, "argument")
    made = [(name, args) for name, _, args in calls if name == "mkdir" or args[0] & os.O_CREAT]
    assert [name for name, _ in made] == ["mkdir", "open"]
    assert made[0][1] == (0o700,)
    flags, mode = made[1][1]
    assert mode == 0o600
    assert flags & os.O_EXCL
    assert flags & os.O_NOFOLLOW


def test_names_cannot_be_guessed(tmp_path):
    folders = [Path(files.make_folder(str(tmp_path))) for _ in range(2)]
    assert folders[0].name != folders[1].name
    assert len(folders[0].name.rpartition("-")[2]) == 16
    paths = [files.create(str(folders[0]), "argument")[1] for _ in range(2)]
    assert paths[0] != paths[1]
    assert len(paths[0].rpartition("-")[2]) == 16


def test_files_hold_raw_bytes_only(make_sharing, arena_files):
    array = np.arange(1000, dtype="i4")
    make_sharing().dumps(array)
    (path,) = arena_files()
    assert Path(path).read_bytes() == array.tobytes()


class Attack:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("attacked",)


def _swap(path, kind, tmp_path):
    swapped = Path(path)
    content = pickle.dumps(Attack()).ljust(8000)
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        (tmp_path / "elsewhere").chmod(0o600)
        swapped.unlink()
        swapped.symlink_to(tmp_path / "elsewhere")
    elif kind == "hard link":
        os.link(swapped, tmp_path / "elsewhere")
    elif kind == "open to others":
        swapped.chmod(0o666)
    elif kind == "pipe":
        swapped.unlink()
        os.mkfifo(swapped, 0o600)
    elif kind == "owner":
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        os.chown(swapped, 12345, -1)


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "open to others", "owner"])
def test_a_swapped_file_is_refused_by_workers_and_parents(kind, make_sharing, arena_files, tmp_path):
    sharing = make_sharing()
    sent = sharing.dumps(np.ones(1000))
    (path,) = arena_files()
    _swap(path, kind, tmp_path)
    with pytest.raises(OSError, match=r"not private|Too many levels of symbolic links"):
        load.loads(sent)

    returned = load.dumps(np.ones(1000), sharing.ticket)
    (path,) = (path for path in arena_files() if "result" in path)
    (tmp_path / "elsewhere").unlink(missing_ok=True)
    _swap(path, kind, tmp_path)
    with pytest.raises(OSError, match=r"not private|Too many levels of symbolic links"):
        sharing.loads(returned)


def test_a_pickle_in_place_of_an_array_is_not_run(make_sharing, arena_files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sharing = make_sharing()
    sent = sharing.dumps(np.ones(1000))
    (path,) = arena_files()
    Path(path).write_bytes(pickle.dumps(Attack()).ljust(8000))
    assert load.loads(sent).nbytes == 8000
    assert not (tmp_path / "attacked").exists()


def test_a_file_that_was_cut_is_an_error_and_no_crash(make_sharing, arena_files):
    sharing = make_sharing()
    sent = sharing.dumps(np.ones(1000))
    (path,) = arena_files()
    os.truncate(path, 10)
    with pytest.raises(ValueError, match="mmap length is greater than file size"):
        load.loads(sent)


def test_a_folder_that_was_opened_to_others_takes_no_results(make_sharing, tmp_path):
    sharing = make_sharing()
    (folder,) = sharing.ticket.folders[:1]
    Path(folder).chmod(0o755)
    data = load.dumps(np.ones(1000), sharing.ticket._replace(folders=(folder,)))
    assert list(Path(folder).iterdir()) == []
    Path(folder).chmod(0o700)
    with pytest.warns(UserWarning, match="a large result was pickled.*not private"):
        assert sharing.loads(data).sum() == 1000
