"""Whatever a file looks like: a change of one key is that, to the letter, or it is refused."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import tomli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallelcfg import ConfigError
from parallelcfg.config import editing, writing
from parallelcfg.config.layers import flatten

KEYS = {
    "n_jobs": ["2", "-1"],
    "retries": ["0", "3"],
    "timeout": ["1.5", "60"],
    "temp_folder": ['"""a"""', "'x'", '"""\n# n_jobs = 3\n[profiles.a]"""'],
    "trace": ["'# retries = 9'"],
}
DASK = {"address": ['"tcp://x"'], "retries": ["1"], "resources": ["{GPU = 1, X = nan}", "{ }"]}
CHANGES = [
    (("n_jobs",), "8"),
    (("timeout",), "8.5"),
    (("profiles", "a", "retries"), "8"),
    (("profiles", "b c", "n_jobs"), "8"),
    (("profiles", "new", "n_jobs"), "8"),
    (("profiles", "a", "backends", "loky", "idle_worker_timeout"), "8"),
    (("backends", "loky", "idle_worker_timeout"), "8"),
    (("backends", "dask", "address"), '"tcp://y"'),
]
COMMENTS = ["", "# a comment", "# n_jobs = 3", "#retries = 0"]


@st.composite
def tables(draw, name, choices):
    """The lines of a table at the top of a document, and below a header of its own; one of them has none."""
    said = draw(st.lists(st.sampled_from(sorted(choices)), unique=True, max_size=3))
    quotes, equals = st.sampled_from(["", "", '"', "'"]), st.sampled_from([" = ", "=", " =  "])
    pairs = [
        f"{quote}{key}{quote}{draw(equals)}{draw(st.sampled_from(choices[key]))}"
        for key, quote in ((key, draw(quotes)) for key in said)
    ]
    after = draw(st.sampled_from(["", "", "  # n_jobs = 7"]))
    style = draw(st.sampled_from(["missing", "dotted", "inline", "header", "indented"]))
    if style == "missing":
        return [], []
    if style == "dotted":
        return [f"{name}.{pair}{after}" for pair in pairs], []
    if style == "inline":
        return [f"{name} = {{{', '.join(pairs)}}}{after}"], []
    indent = "  " * (style == "indented")
    return [], [f"{indent}[{name}]{after}", *(f"{indent}{indent}{pair}" for pair in pairs)]


@st.composite
def documents(draw, root):
    """A valid file in any style."""
    top, own = [], []
    whole = draw(st.sampled_from(["", "", "profiles", "backends"]))
    if whole:
        top.append(f"{whole} = {{{'a.n_jobs = 2' if whole == 'profiles' else 'dask = {}'}}}")
    for name, choices in (("profiles.a", KEYS), ('profiles."b c"', KEYS), ("backends.dask", DASK)):
        if not whole or not name.startswith(whole):
            lines, below = draw(tables(name, choices))
            top += lines
            own.append([line.replace(f"[{name}]", f"[{root and root + '.'}{name}]") for line in below])
    top += [
        f"{key} = {draw(st.sampled_from(KEYS[key]))}" for key in draw(st.sets(st.sampled_from(sorted(KEYS))))
    ]
    blocks = [draw(st.permutations(top)), *draw(st.permutations(own))]
    lines = [f"[{root}]"] * bool(root)
    for block in blocks:
        for line in block:
            lines += [draw(st.sampled_from(COMMENTS))] * draw(st.booleans()) + [line]
    lines += ["[tool.ruff]", "line-length = 100"] * bool(root)
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join("\n".join(lines).split("\n")) + draw(st.sampled_from([end, ""]))


def said(text):
    """What a text says, empty tables aside; nan equals itself."""
    return {path: repr(value) for path, value in flatten(tomli.loads(text), ()) if value != {}}


def is_with_one_piece_more(long, short):
    pairs = enumerate(zip(long, short, strict=False))
    alike = next((at for at, (one, other) in pairs if one != other), len(short))
    return len(long) >= len(short) and long.endswith(short[alike:])


@pytest.mark.parametrize(("name", "root"), [("parallel.toml", ""), ("pyproject.toml", "tool.parallelcfg")])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), change=st.sampled_from(CHANGES))
def test_one_key_changes_and_every_other_letter_stays(world, name, root, data, change):
    before = data.draw(documents(root), label="text")
    file = world.root / name
    file.write_bytes(before.encode())
    key, value = change
    path = (*root.split("."), *key) if root else key
    others = {leaf: one for leaf, one in said(before).items() if leaf != path}

    editing.change(file, "project", key, value)
    changed = file.read_bytes().decode()
    assert said(changed) == {**others, path: repr(tomli.loads(f"value = {value}")["value"])}
    assert path in said(before) or is_with_one_piece_more(changed, before)

    editing.remove(file, "project", key)
    removed = file.read_bytes().decode()
    assert said(removed) == others
    assert is_with_one_piece_more(changed, removed)


def test_changes_at_the_same_time_all_count(world):
    file = world.write("project", "")
    changes = {"n_jobs": "2", "retries": "3", "timeout": "60.0", "verbose": "1", "seed": "7", "max_jobs": "9"}
    together = threading.Barrier(len(changes))

    def change(key, value):
        together.wait()
        editing.change(file, "project", (key,), value)

    with ThreadPoolExecutor(len(changes)) as pool:
        list(pool.map(change, changes, changes.values()))
    assert said(file.read_text()) == {(key,): value for key, value in changes.items()}
    assert [one.name for one in file.parent.iterdir() if one.is_file()] == [file.name]


def test_who_waits_too_long_for_another_process_is_told_so(world, monkeypatch):
    file = world.write("project", "n_jobs = 2\n")
    link = file.with_name("link.toml")
    link.symlink_to(file)
    monkeypatch.setattr(writing, "_PATIENCE", 0)
    with (
        writing.exclusive(link),
        pytest.raises(ConfigError, match="another process is changing it; try again"),
    ):
        editing.remove(file, "project", ("n_jobs",))
    assert file.read_text() == "n_jobs = 2\n"
    editing.remove(file, "project", ("n_jobs",))
    assert file.read_text() == ""


def test_a_lock_that_a_killed_process_has_left_keeps_nobody_waiting(world, monkeypatch):
    file = world.write("project", "")
    left = world.write("home/repo/.parallel.toml.lock", "")
    monkeypatch.setattr(writing, "_PATIENCE", 0)
    editing.change(file, "project", ("n_jobs",), "2")
    assert (file.read_text(), left.exists()) == ("n_jobs = 2\n", False)


@pytest.mark.skipif(os.name == "nt", reason="other locks")
def test_where_files_can_not_be_locked_they_are_changed_all_the_same(world, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    file = world.write("project", "")
    editing.change(file, "project", ("n_jobs",), "2")
    assert file.read_text() == "n_jobs = 2\n"


def test_a_refused_change_leaves_no_folder_behind(world):
    file = world.root / "new/folder/parallel.toml"
    with pytest.raises(ConfigError):
        editing.change(file, "user", ("n_jobs",), "0")
    assert not (world.root / "new").exists()
    editing.change(file, "user", ("n_jobs",), "1")
    assert [one.name for one in file.parent.iterdir()] == ["parallel.toml"]
