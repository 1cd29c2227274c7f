from __future__ import annotations

import dataclasses
import os

import pytest
import tomli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallelcfg.config import context, process


def test_set_changes_one_value_and_nothing_else(command):
    file = command.write("parallel.toml", "# top\r\nn_jobs = 4   # mine\r\n\r\n[backends.loky]\r\nx=1\r\n")
    assert command("set", "n_jobs", "-1").code == 0
    assert file.read_bytes() == b"# top\r\nn_jobs = -1   # mine\r\n\r\n[backends.loky]\r\nx=1\r\n"


def test_set_adds_a_key_and_keeps_every_other_line(command):
    before = "# top\nn_jobs = 4   # mine\n\n[backends.loky] # here\nx=1\n"
    file = command.write("parallel.toml", before)
    for key, value in [
        ("verbose", "3"),
        ("backends.loky.env.y", "2"),
        ("backends.dask.address", "tcp://x"),
    ]:
        assert command("set", key, value).code == 0
    after = file.read_text()
    assert [line for line in after.split("\n") if line and line in before] == [
        line for line in before.split("\n") if line
    ]
    assert tomli.loads(after) == {
        "n_jobs": 4,
        "verbose": 3,
        "backends": {"loky": {"x": 1, "env": {"y": 2}}, "dask": {"address": "tcp://x"}},
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_set_puts_a_key_below_the_line_that_has_it_as_a_comment(command, end):
    lines = ["# n_jobs = -1", "verbose = 1", "", "[profiles.night]", "# n_jobs = 1", "# [locked]"]
    file = command.write("pyproject.toml", end.join(["[tool.parallelcfg]", *lines[:3], "[tool.x]", ""]))
    assert command("set", "n_jobs", "2").code == 0
    assert file.read_bytes().decode() == end.join(
        ["[tool.parallelcfg]", "# n_jobs = -1", "n_jobs = 2", "verbose = 1", "", "[tool.x]", ""]
    )
    file = command.write("parallel.toml", end.join([*lines, ""]))
    assert command("set", "n_jobs", "3", "--profile", "night").code == 0
    assert file.read_bytes().decode() == end.join([*lines[:5], "n_jobs = 3", "# [locked]", ""])


def test_set_takes_a_comments_look_alike_for_what_it_is(command):
    file = command.write(
        "parallel.toml", "temp_folder = '''\n# n_jobs = 4\n'''\n[profiles.night]\n# n_jobs = 4\n"
    )
    assert command("set", "n_jobs", "2").code == 0
    said = tomli.loads(file.read_text())
    assert (said["n_jobs"], said["temp_folder"], said["profiles"]) == (2, "# n_jobs = 4\n", {"night": {}})


def test_set_after_init_stands_at_the_keys_description(command):
    assert command("init").code == 0
    assert command("set", "retries", "2").code == 0
    lines = (command.root / "parallel.toml").read_text().splitlines()
    assert lines[lines.index("retries = 2") - 1] == "# retries = 0"


def test_init_says_which_file_it_hides(command, monkeypatch):
    assert command("init").err.startswith("wrote ")
    below = command.root / "sub"
    below.mkdir()
    monkeypatch.chdir(below)
    with context.using_machine(dataclasses.replace(process.current().resolver.machine, cwd=below)):
        said = command("init").err
    assert said.startswith(f"note: {command.root / 'parallel.toml'} no longer counts in {below} and below")


def test_set_makes_the_projects_file(command):
    assert command("set", "max_nbytes", "none").code == 0
    assert (command.root / "parallel.toml").read_text() == 'max_nbytes = "none"\n'


def test_set_writes_to_pyproject_where_that_is_the_projects_file(command):
    file = command.write(
        "pyproject.toml", '[project]\nname = "x"\n\n[tool.parallelcfg]\nverbose = 1\n\n[tool.other]\n'
    )
    assert command("set", "n_jobs", "2").code == 0
    assert tomli.loads(file.read_text())["tool"] == {"parallelcfg": {"verbose": 1, "n_jobs": 2}, "other": {}}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_set_keeps_a_new_table_apart_from_the_next_one(command, end):
    before = ["[tool.parallelcfg]", "verbose = 1", "", "[tool.other]", "x = 1", ""]
    file = command.write("pyproject.toml", end.join(before))
    assert command("set", "n_jobs", "2", "--profile", "night").code == 0
    new = ["[tool.parallelcfg.profiles.night]", "n_jobs = 2", ""]
    assert file.read_bytes().decode() == end.join([*before[:3], *new, *before[3:]])


@pytest.mark.parametrize(
    ("before", "args", "after"),
    [
        (
            "profiles.night.n_jobs = -1\nretries = 3\n",
            ["n_jobs", "1", "--profile", "debug"],
            "profiles.night.n_jobs = -1\nprofiles.debug.n_jobs = 1\nretries = 3\n",
        ),
        (
            "backends.loky.idle_worker_timeout = 60\nretries = 2\n",
            ["backends.dask.address", "tcp://x"],
            'backends.loky.idle_worker_timeout = 60\nbackends.dask.address = "tcp://x"\nretries = 2\n',
        ),
        (
            "profiles.night.n_jobs = -1 # c",
            ["retries", "2"],
            "profiles.night.n_jobs = -1 # c\nretries = 2\n",
        ),
        (
            "profiles = {night = {n_jobs = -1}}\n",
            ["n_jobs", "1", "--profile", "debug"],
            "profiles = {night = {n_jobs = -1}, debug.n_jobs = 1}\n",
        ),
        ("backends = {}", ["backends.dask.retries", "1"], "backends = {dask.retries = 1}"),
        (
            "  [profiles.a]\n    retries = 1",
            ["n_jobs", "1", "--profile", "a"],
            "  [profiles.a]\n    retries = 1\n    n_jobs = 1\n",
        ),
    ],
)
def test_set_puts_a_key_beside_others_however_they_are_written(command, before, args, after):
    file = command.write("parallel.toml", before)
    assert command("set", *args).code == 0
    assert file.read_text() == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# mine\n[profiles.a]\n", "# mine\n\nn_jobs = 1\n\n[profiles.a]\n"),
        ("# mine\n\n# a's\n[profiles.a]\n", "# mine\n\nn_jobs = 1\n\n# a's\n[profiles.a]\n"),
        ("# mine\n", "# mine\n\nn_jobs = 1\n"),
        ("# n_jobs = 2", "# n_jobs = 2\nn_jobs = 1\n"),
    ],
)
def test_set_leaves_comments_with_what_they_are_about(command, before, after):
    file = command.write("parallel.toml", before)
    assert command("set", "n_jobs", "1").code == 0
    assert file.read_text() == after


@pytest.mark.parametrize(
    "before",
    ["backends = 5\n", "[[backends]]\nx = 1\n", "backends.dask.x.y = 1\n", "[backends.dask.x]\ny = 1\n"],
)
def test_set_refuses_what_can_not_be_written_without_changing_more(command, before):
    file = command.write("parallel.toml", before)
    outcome = command("set", "backends.dask.x", "1")
    assert (outcome.code, file.read_text()) == (1, before)
    assert "parallel.toml:1:" in outcome.err
    assert "backends.dask.x can't be changed without changing more than that; edit the file" in outcome.err


def test_set_writes_to_the_users_file_and_to_any_file(command):
    assert command("set", "n_jobs", "2", "--user").code == 0
    assert (command.root.parent / "user/parallel.toml").read_text() == "n_jobs = 2\n"
    assert command("set", "n_jobs", "3", "--file", "other.toml").code == 0
    assert (command.root / "other.toml").read_text() == "n_jobs = 3\n"
    assert command("set", "n_jobs", "3", "--user", "--project").code == 2


def test_set_tells_that_there_is_no_place_for_a_users_file(command):
    with context.using_machine(dataclasses.replace(process.current().resolver.machine, user_dir=None)):
        outcome = command("set", "--user", "n_jobs", "3")
    assert outcome.code == 1
    assert "the home folder is not known, so there is no place for the user's file" in outcome.err


def test_set_writes_to_a_profile(command):
    assert command("set", "n_jobs", "2", "--profile", "night").code == 0
    command.environ["PARALLEL_PROFILE"] = "night"
    assert command("get", "n_jobs").out == "2\n"


def test_set_refuses_what_would_not_validate(command):
    file = command.write("parallel.toml", "n_jobs = 4\n")
    outcome = command("set", "n_jobs", "0")
    assert (outcome.code, file.read_text()) == (1, "n_jobs = 4\n")
    assert "parallel.toml:1:10: n_jobs = 0: expected an integer other than 0" in outcome.err


def test_set_refuses_a_parameter_that_the_backend_does_not_have(command):
    assert "(did you mean 'scatter'?)" in command("set", "backends.dask.scater", "x").err
    assert not (command.root / "parallel.toml").exists()


def test_set_can_mend_a_file_with_other_problems(command):
    file = command.write("parallel.toml", "n_jobs = 0\nverbose = -1\n")
    assert command("set", "n_jobs", "2").code == 0
    assert file.read_text() == "n_jobs = 2\nverbose = -1\n"


def test_set_tells_that_other_problems_are_left(command):
    command.write("parallel.toml", "n_jobs = 0\nverbose = -1\nretrys = 1\n")
    told = "note: 2 problems are left in the configuration; parallelcfg validate tells\n"
    assert command("set", "n_jobs", "2").err.endswith(told)
    assert "note: 1 problem is left" in command("set", "verbose", "2").err


def test_set_leaves_broken_toml_alone(command):
    file = command.write("parallel.toml", "n_jobs = \n")
    assert command("set", "verbose", "2").code == 1
    assert file.read_text() == "n_jobs = \n"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("njobs", "unknown key 'njobs' (did you mean 'n_jobs'?)"),
        ("backends", "'backends' is a table; name a key in it"),
        ("n_jobs.x", "unknown key 'n_jobs.x'"),
        ("a..b", "'a..b' is no dotted key"),
        ("backends" + ".x" * 2000, "is too deeply nested"),
    ],
)
def test_set_refuses_what_is_no_key(command, key, message):
    outcome = command("set", key, "1")
    assert (outcome.code, message in outcome.err) == (2, True)


@pytest.mark.skipif(os.name == "nt", reason="no such modes")
def test_set_keeps_the_mode_of_the_file_and_follows_links(command):
    file = command.write("real.toml", "n_jobs = 4\n")
    file.chmod(0o640)
    (command.root / "parallel.toml").symlink_to(file)
    assert command("set", "n_jobs", "5").code == 0
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("n_jobs = 5\n", 0o640)
    assert (command.root / "parallel.toml").is_symlink()
    assert sorted(path.name for path in command.root.iterdir()) == [".git", "parallel.toml", "real.toml"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files to others"
)
def test_set_by_root_leaves_a_file_to_its_owner(command):
    file = command.write("parallel.toml", "n_jobs = 4\n")
    os.chown(file, 1234, 4321)
    assert command("set", "n_jobs", "5").code == 0
    assert (file.stat().st_uid, file.stat().st_gid, file.read_text()) == (1234, 4321, "n_jobs = 5\n")


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(texts.filter(lambda text: not text.startswith("-")))
def test_what_set_writes_is_what_get_reads(command, text):
    command.write("parallel.toml", "[backends.loky]\nbefore = 1 # é\nx = 0\n")
    if command("set", "backends.loky.x", text).code == 0:
        context.reload()
        assert (
            (command.root / "parallel.toml").read_text().startswith("[backends.loky]\nbefore = 1 # é\nx = ")
        )
        assert command("get", "backends.loky.x").code == 0


def test_init_writes_a_file_in_which_nothing_is_in_force(command):
    assert command("init").code == 0
    text = (command.root / "parallel.toml").read_text()
    assert text.startswith("#:schema ./parallel.schema.json\n")
    assert tomli.loads(text) == {}
    assert (command.root / "parallel.schema.json").exists()
    assert command("validate").code == 0


def test_init_never_overwrites(command):
    command.write("parallel.toml", "n_jobs = 4")
    outcome = command("init")
    assert (outcome.code, (command.root / "parallel.toml").read_text()) == (1, "n_jobs = 4")
    assert "exists already" in outcome.err
    assert "no longer counts" not in outcome.err


def test_init_adds_a_table_to_pyproject_once(command):
    file = command.write("pyproject.toml", "[project]\nname = 'x'")
    assert command("init", "--pyproject").code == 0
    text = file.read_text()
    assert text.startswith("[project]\nname = 'x'\n\n")
    assert tomli.loads(text) == {"project": {"name": "x"}, "tool": {"parallelcfg": {}}}
    assert command("init", "--pyproject").code == 1
    assert file.read_text() == text


@pytest.mark.parametrize("before", ["tool = {ruff = {line-length = 100}}\n", "[[tool]]\n", "tool = 5\n"])
def test_init_refuses_a_pyproject_that_has_no_room_for_a_table(command, before):
    file = command.write("pyproject.toml", before)
    outcome = command("init", "--pyproject")
    assert (outcome.code, file.read_text()) == (1, before)
    assert "pyproject.toml:1:" in outcome.err
    assert "tool.parallelcfg can't be changed without changing more than that" in outcome.err


def test_init_adds_a_table_below_dotted_keys_and_inline_tables(command):
    file = command.write("pyproject.toml", "tool.ruff = {line-length = 100}\n")
    assert command("init", "--pyproject").code == 0
    assert tomli.loads(file.read_text())["tool"] == {"ruff": {"line-length": 100}, "parallelcfg": {}}


def test_unset_takes_a_key_out_and_nothing_else(command):
    before = (
        "# top\r\nn_jobs = 4   # mine\r\nverbose = 1\r\n\r\n[backends.loky]\r\nidle_worker_timeout = 3\r\n"
    )
    file = command.write("parallel.toml", before)
    assert command("unset", "n_jobs").err == f"{file}: without n_jobs\n"
    assert file.read_bytes().decode() == before.replace("n_jobs = 4   # mine\r\n", "")
    outcome = command("unset", "n_jobs")
    assert (outcome.code, "does not say n_jobs" in outcome.err) == (1, True)
    assert command("unset", "backends.loky.idle_worker_timeout").code == 0
    assert tomli.loads(file.read_text()) == {"verbose": 1, "backends": {"loky": {}}}
    assert "did you mean 'n_jobs'" in command("unset", "njobs").err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("backends.dask.x = 1\nbackends.dask.y = 2\nretries = 1 # c\n", "retries = 1 # c\n"),
        ("[backends.dask]\nx = 1\n# x\n\n# a's\n[profiles.a]\n", "# a's\n[profiles.a]\n"),
        ("backends = {dask.x = 1, dask.y = 2, loky.x = 1}\n", "backends = {loky.x = 1}\n"),
        ("backends = {loky.x = 1, dask = {x = 1}} # c\n", "backends = {loky.x = 1} # c\n"),
        ("backends = {loky.x = 1, dask.x = 1, dask.y = 2}\n", "backends = {loky.x = 1}\n"),
        ("backends = {dask = {}}", "backends = {}"),
        ("[backends]\ndask = {x = [{y = 1}]}", "[backends]\n"),
    ],
)
def test_unset_takes_a_table_out_however_it_is_written(command, before, after):
    file = command.write("parallel.toml", before)
    assert command("unset", "backends.dask").code == 0
    assert file.read_text() == after


def test_unset_takes_a_key_out_of_a_profile_and_of_pyproject(command):
    file = command.write(
        "pyproject.toml", "[tool.parallelcfg]\nn_jobs = 2\n[tool.parallelcfg.profiles.a]\nn_jobs = 3\n"
    )
    assert command("unset", "n_jobs", "--profile", "a").code == 0
    assert tomli.loads(file.read_text())["tool"] == {"parallelcfg": {"n_jobs": 2, "profiles": {"a": {}}}}
    assert command("unset", "n_jobs", "--profile", "b").code == 1


@pytest.mark.parametrize(
    ("prepare", "args", "said"),
    [
        ("[locked]\nn_jobs = 3", ["n_jobs", "2"], "note: n_jobs = 3 counts here: locked ("),
        ("max_jobs = 1", ["n_jobs", "2"], "note: n_jobs = 1 here: clamped by max_jobs; 2 was asked for"),
        ("", ["retries", "2"], "note: retries = 5 counts here: environment (PARALLEL_RETRIES)"),
    ],
)
def test_set_tells_where_something_else_counts(command, prepare, args, said):
    command.write("../system/parallel.toml", prepare)
    command.environ["PARALLEL_RETRIES"] = "5"
    assert said in command("set", *args).err
    assert "note" not in command("set", "verbose", "1").err
    assert "note" not in command("set", *args, "--file", "other.toml").err


@pytest.mark.parametrize(("name", "table"), [("parallel.toml", ""), ("pyproject.toml", "tool.parallelcfg.")])
def test_set_tells_where_another_part_of_the_file_counts(command, name, table):
    profiles = f"[{table}profiles.night]\nn_jobs = 3\n[{table}profiles.day]\nn_jobs = 4\n"
    command.write(name, f"{f'[{table[:-1]}]' if table else ''}\nn_jobs = 1\n{profiles}")
    command.environ["PARALLEL_PROFILE"] = "night"
    counts = f"note: n_jobs = 3 counts here: project ({name}:4:1)"
    assert counts in command("set", "n_jobs", "5").err
    assert counts in command("set", "n_jobs", "6", "--profile", "day").err
    assert "note" not in command("set", "n_jobs", "2", "--profile", "night").err
    command.environ["PARALLEL_PROFILE"] = "night,day"
    assert "note: n_jobs = 6 counts here" in command("set", "n_jobs", "2", "--profile", "night").err
    assert "note" not in command("set", "retries", "2", "--profile", "day").err
    assert "note" not in command("set", "backends.dask.address", "x", "--profile", "day").err


@pytest.mark.skipif(os.name == "nt", reason="no such modes")
def test_set_names_the_default_where_the_file_is_not_trusted(command):
    file = command.write("parallel.toml", "")
    file.chmod(0o646)
    assert command("set", "temp_folder", "x").err.endswith("note: temp_folder = null counts here: default\n")


def test_set_tells_where_no_file_counts(command):
    command.environ["PARALLEL_NO_CONFIG"] = "1"
    told = "note: the file does not count here: PARALLEL_NO_CONFIG is set\n"
    assert command("set", "n_jobs", "2").err.endswith(told)
    assert command("set", "n_jobs", "2", "--user").err.endswith(told)
    assert "note" not in command("set", "n_jobs", "2", "--file", "other.toml").err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["n_jobs", "2", "--profile", ""], "a profile has a name"),
        (["profiles.night.n_jobs", "2"], "say n_jobs --profile night"),
        (["n_jobs", "2", "--file", "nowhere/x.toml"], "no folder 'nowhere'"),
        (["temp_folder", "/tmp/\udcff"], r"'/tmp/\udcff' is no UTF-8"),
        (["backends.dask.address", "\udcff"], "is no UTF-8, as TOML files are"),
        (["backends.dask.\udcff", "1"], "is no UTF-8, as TOML files are"),
        (["n_jobs", "2", "--profile", "\udcff"], "is no UTF-8, as TOML files are"),
    ],
)
def test_set_tells_how_to_say_it(command, args, said):
    outcome = command("set", *args)
    assert (outcome.code, said in outcome.err) == (2, True)


def test_init_tells_which_of_two_files_of_a_folder_counts(command):
    file = command.write("pyproject.toml", "[tool.parallelcfg]\nn_jobs = 2\n")
    assert f"note: {file} no longer counts" in command("init").err
    file.write_text("")
    assert "parallel.toml beside it wins" in command("init", "--pyproject").err


def test_init_says_of_a_file_that_is_there_that_it_is_there_and_nothing_else(command):
    file = command.write("parallel.toml", "n_jobs = 2\n")
    outcome = command("init")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines() == [
        "1 problem in the configuration",
        f"  {file} exists already; edit it, or use parallelcfg set KEY VALUE",
    ]
