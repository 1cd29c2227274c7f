from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from parallelcfg import ConfigError, ConfigWarning, Parallel, delayed, explain, get_config, parallel_config
from parallelcfg.config import context

needs_owners = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files to others"
)


def test_the_nearest_project_file_wins(world):
    world.write("home/parallel.toml", "n_jobs = 1")
    world.write("home/repo/pyproject.toml", "[tool.parallelcfg]\nn_jobs = 2")
    with context.using_machine(replace(world.machine, cwd=world.root / "home/repo/sub")):
        assert get_config().n_jobs == 2
        world.write("home/repo/sub/parallel.toml", "n_jobs = 3")
        assert get_config().n_jobs == 3


def test_the_search_ends_at_the_root_of_the_repository(world):
    world.write("home/parallel.toml", "n_jobs = 1")
    assert get_config().n_jobs is None


def test_the_search_ends_at_the_home_folder(world):
    world.write("parallel.toml", "n_jobs = 1")
    with context.using_machine(replace(world.machine, cwd=world.root / "home")):
        assert get_config().n_jobs is None


def test_a_pyproject_without_our_table_does_not_end_the_search(world):
    world.write("home/repo/sub/pyproject.toml", "[project]\nname = 'x'")
    world.write("home/repo/parallel.toml", "n_jobs = 2")
    with context.using_machine(replace(world.machine, cwd=world.root / "home/repo/sub")):
        assert get_config().n_jobs == 2


def test_a_broken_pyproject_of_others_is_no_concern(world):
    world.write("home/repo/pyproject.toml", "[project\n")
    assert get_config().n_jobs is None


def test_parallel_toml_masks_pyproject_with_a_warning(world):
    world.write("home/repo/pyproject.toml", "[tool.parallelcfg]\nn_jobs = 2\nverbose = 3")
    world.write("project", "n_jobs = 4")
    with pytest.warns(ConfigWarning, match=r"parallel.toml beside it wins \(masked: n_jobs, verbose\)"):
        assert get_config().n_jobs == 4


def test_a_named_file_takes_the_place_of_the_projects(world):
    world.write("project", "n_jobs = 2\nverbose = 1")
    world.write("home/repo/other.toml", "n_jobs = 5")
    world.environ["PARALLEL_CONFIG"] = "other.toml"
    assert (get_config().n_jobs, get_config().verbose) == (5, 0)


def test_a_named_file_that_is_missing_is_a_problem(world):
    world.environ["PARALLEL_CONFIG"] = "nowhere.toml"
    text = world.problems()
    assert "environment variable PARALLEL_CONFIG=" in text
    assert "nowhere.toml; name one that exists, or unset the variable" in text


def test_a_named_file_of_an_unknown_user_is_missing(world):
    world.environ["PARALLEL_CONFIG"] = "~nosuch/x.toml"
    assert "~nosuch/x.toml; name one that exists, or unset the variable" in world.problems()


def test_files_can_be_switched_off_except_for_limits(world):
    world.write("system", "verbose = 9\nmax_jobs = 5\n[locked]\nretries = 2")
    world.write("user", "n_jobs = 2")
    world.write("project", "n_jobs = 3")
    world.environ["PARALLEL_NO_CONFIG"] = "1"
    assert (get_config().n_jobs, get_config().verbose, get_config().retries) == (None, 0, 2)
    assert get_config().max_jobs == 5
    world.environ["PARALLEL_NO_CONFIG"] = "0"
    assert (get_config().n_jobs, get_config().verbose) == (3, 9)


def test_profiles_lay_over_their_own_file_in_order(world):
    world.write("user", "n_jobs = 1\n[profiles.a]\nn_jobs = 2\nverbose = 2\n[profiles.b]\nn_jobs = 3")
    world.write("project", "retries = 1\n[profiles.b]\nretries = 5")
    assert (get_config().n_jobs, get_config().retries) == (1, 1)
    world.environ["PARALLEL_PROFILE"] = "a,b"
    assert (get_config().n_jobs, get_config().verbose, get_config().retries) == (3, 2, 5)
    world.environ["PARALLEL_PROFILE"] = "b, a"
    assert get_config().n_jobs == 2
    assert [step.value for step in explain("n_jobs").steps] == [2, 3, 1, None]


def test_a_profile_of_the_user_stands_below_the_project(world):
    world.write("user", "[profiles.a]\nn_jobs = 2")
    world.write("project", "n_jobs = 3")
    world.environ["PARALLEL_PROFILE"] = "a"
    assert get_config().n_jobs == 3


def test_an_unknown_profile_is_a_problem_that_lists_the_known_ones(world):
    world.write("user", "[profiles.night]\nn_jobs = 2")
    world.write("project", "[profiles.day]\nn_jobs = 2")
    world.environ["PARALLEL_PROFILE"] = "nigth"
    assert "no profile 'nigth'; known are 'day', 'night' (did you mean 'night'?)" in world.problems()


def test_a_profile_of_files_that_are_skipped_is_a_problem_that_says_so(world):
    world.write("user", "[profiles.night]\nn_jobs = 2")
    world.environ |= {"PARALLEL_PROFILE": "night", "PARALLEL_NO_CONFIG": "1"}
    assert "no profile 'night'; PARALLEL_NO_CONFIG skips all files" in world.problems()


def test_profiles_that_are_not_selected_are_checked_too(world):
    world.write("project", "[profiles.night]\nn_jobs = 0")
    assert "parallel.toml:2:10: profiles" not in world.problems()
    assert "parallel.toml:2:10: n_jobs = 0" in world.problems()


def test_a_profile_for_another_machine_is_a_problem_where_it_is_selected(world):
    world.write("project", "[profiles.cluster]\ntemp_folder = '$SCRATCH/x'\nbackend = 'slurm'\nn_jobs = 8")
    assert get_config().n_jobs is None
    world.environ["PARALLEL_PROFILE"] = "cluster"
    problems = world.problems()
    assert 'parallel.toml:2:15: temp_folder = "$SCRATCH/x": the environment variable SCRATCH' in problems
    assert 'parallel.toml:3:11: backend = "slurm": unknown backend' in problems


def test_what_is_wrong_on_every_machine_is_a_problem_of_any_profile(world):
    world.write("project", "[profiles.cluster]\nbackend = 3\ntemp_folder = 4")
    problems = world.problems()
    assert "backend = 3: expected the name of a backend" in problems
    assert "temp_folder = 4: expected a path" in problems


def test_locked_values_stand_above_code(world):
    world.write("system", "[locked]\ntemp_folder = '/scratch'\n[locked.backends.dask]\naddress = 'head'")
    world.environ["PARALLEL_TEMP_FOLDER"] = "/elsewhere"
    world.environ["PARALLEL_BACKENDS__DASK__ADDRESS"] = "other"
    assert get_config().temp_folder == "/scratch"
    assert get_config().backends["dask"]["address"] == "head"
    with pytest.warns(
        ConfigWarning, match=r"temp_folder = '/scratch' is locked by .*, so '/mine' is ignored"
    ):
        assert get_config(temp_folder="/mine").temp_folder == "/scratch"
    assert explain("temp_folder").winner.verdict == "locked"


@pytest.mark.filterwarnings("ignore:backend = 'threading' is locked")
def test_parameters_go_with_the_backend_that_a_lock_overrules(world):
    world.write("system", "[locked]\nbackend = 'threading'")
    parallel = Parallel(n_jobs=2, backend="loky", idle_worker_timeout=60)
    assert parallel([delayed(abs)(-1)]) == [1]
    with parallel_config("multiprocessing", maxtasksperchild=3) as config:
        assert (config.backend, config.backend_params) == ("threading", {})
    with pytest.raises(TypeError, match="idle_worker_timeoutt"):
        parallel_config("loky", idle_worker_timeoutt=60)


def test_a_lock_that_is_overruled_is_an_error_under_strict(world):
    world.write("system", "strict = true\n[locked]\nn_jobs = 2")
    assert get_config().n_jobs == 2
    with pytest.raises(ConfigError, match="is locked by"):
        get_config(n_jobs=4)


def test_only_the_system_locks(world):
    world.write("user", "[locked]\nn_jobs = 2")
    assert (
        f"user/parallel.toml:1:2: [locked] counts in {world.root}/system/parallel.toml only"
        in world.problems()
    )


def test_the_lowest_ceiling_of_all_layers_holds(world):
    world.write("system", "max_jobs = 8")
    world.write("project", "max_jobs = 16")
    with parallel_config(max_jobs=64):
        assert get_config(max_jobs=None).max_jobs == 8
        assert get_config(max_jobs=2).max_jobs == 2
        text = str(explain("n_jobs", get_config(n_jobs=32)))
    assert text.startswith("n_jobs = 8   (clamped by max_jobs; 32 was asked for)\n  call ")
    assert f"max_jobs     8   {world.root}/system/parallel.toml:1:1" in text


@needs_owners
def test_a_project_file_of_another_user_is_not_trusted_with_folders(world):
    file = world.write(
        "project",
        "n_jobs = 3\ntemp_folder = '/evil'\ntrace = '/evil'\n[backends.dask]\naddress = 'evil'\n"
        "[profiles.p]\ntemp_folder = '/evil'\nverbose = 5\n[profiles.q]\nretries = 2",
    )
    os.chown(file, 12345, -1)
    world.environ["PARALLEL_PROFILE"] = "p,q"
    with pytest.warns(ConfigWarning) as caught:
        config = get_config()
    assert (config.n_jobs, config.retries, config.verbose) == (3, 2, 0)
    assert (config.temp_folder, config.trace, dict(config.backends)) == (None, None, {})
    told = [str(warning.message) for warning in caught]
    remedy = "if you trust the file, set PARALLEL_CONFIG=parallel.toml"
    why = f"it belongs to another user (uid 12345); {remedy}"
    assert told == [
        f"parallel.toml: temp_folder, trace, backends.dask skipped: {why}",
        f"parallel.toml: profile 'p', which sets profiles.p.temp_folder, skipped: {why}",
    ]


@needs_owners
def test_naming_the_file_of_another_user_accepts_it(world):
    file = world.write("project", "temp_folder = '/theirs'")
    os.chown(file, 12345, -1)
    world.environ["PARALLEL_CONFIG"] = str(file)
    assert get_config().temp_folder == "/theirs"


@needs_owners
def test_files_of_root_are_trusted_by_everybody(world):
    file = world.write("project", "temp_folder = '/roots'")
    os.chown(file, 0, -1)
    with context.using_machine(replace(world.machine, uid=12345)):
        assert get_config().temp_folder == "/roots"


@pytest.mark.skipif(os.name == "nt", reason="no such modes")
def test_a_file_that_everybody_may_write_to_is_not_trusted(world):
    file = world.write("project", "temp_folder = '/evil'")
    file.chmod(0o666)
    with pytest.warns(ConfigWarning, match="temp_folder skipped: everybody may write to it"):
        assert get_config().temp_folder is None
    with pytest.raises(ConfigError, match="everybody may write"):
        get_config(strict=True)


def test_a_syntax_error_has_its_line_and_column(world):
    world.write("project", "n_jobs = 3\nverbose = \n")
    assert world.problems() == (
        "1 problem in the configuration\n"
        "  parallel.toml:2:11: no valid TOML: invalid value\n"
        "    2 | verbose = \n"
        "      |           ^"
    )


def test_every_problem_of_a_file_is_told_at_once(world):
    world.write(
        "project",
        "n_jbos = 4\nmmap_mode = 'z'\nn_jobs = 4.0\nverbose = '3'\ntimeout = 'none'\nmax_nbytes = 'None'\n"
        "backend = 'lokey'\nprofiles = 3\n[backends]\ndask = 3",
    )
    told = [line for line in world.problems().split("\n") if line.startswith("  parallel")]
    assert told == [
        "  parallel.toml:1:1: unknown key 'n_jbos' (did you mean 'n_jobs'?)",
        "  parallel.toml:2:13: mmap_mode = \"z\": expected 'r', 'r+', 'w+', 'c' or none",
        "  parallel.toml:3:10: n_jobs = 4.0: expected an integer other than 0 or none",
        '  parallel.toml:4:11: verbose = "3": expected an integer >= 0',
        (
            '  parallel.toml:6:14: max_nbytes = "None": '
            "expected bytes, a size such as '1M' (K, M, G, T of 1024)"
        ),
        "  parallel.toml:7:11: backend = \"lokey\": unknown backend, did you mean 'loky'? "
        + told[5].partition("'loky'? ")[2],
        "  parallel.toml:10:8: backends.dask = 3: expected a table of its parameters",
        "  parallel.toml:8:1: profiles = 3: expected a table of profiles, [profiles.NAME]",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# caf\xe9\nn_jobs = 1", "parallel.toml:1:6: byte 0xe9 is no UTF-8; save the file as UTF-8"),
        (b"\xef\xbb\xbfn_jobs = 1", "starts with a byte order mark"),
        (b"x = " + b"[" * 5000 + b"]" * 5000, "parallel.toml: is too deeply nested"),
        (b"x = " + b"[" * 60 + b"]" * 60, "parallel.toml: is too deeply nested"),
        (b"#" * (5 * 1024**2), "parallel.toml: is larger than 512 KB"),
        (b"n_jobs = 1\nn_jobs = 2", "parallel.toml:2:11: no valid TOML: this key has a value already"),
    ],
)
def test_what_is_no_toml_is_a_problem_in_the_same_form(world, content, message):
    world.write("project", content)
    assert message in world.problems()


def test_a_folder_named_parallel_toml_is_a_problem(world):
    (world.root / "home/repo/parallel.toml").mkdir()
    assert "parallel.toml: is a folder, expected a TOML file" in world.problems()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_a_problem(world):
    world.write("project", "n_jobs = 3").chmod(0)
    assert "parallel.toml: can't be read: Permission denied" in world.problems()


def test_an_unreadable_file_is_a_problem_for_root_too(world):
    file = world.root / "home/repo/parallel.toml"
    file.symlink_to(file)
    assert "parallel.toml: can't be read: Too many levels of symbolic links" in world.problems()


def test_a_table_that_is_none_is_a_problem(world):
    world.write("home/repo/pyproject.toml", "[tool]\nparallelcfg = 3")
    assert "pyproject.toml: tool.parallelcfg must be a table" in world.problems()


def test_none_is_null_in_toml(world):
    world.write("project", 'max_nbytes = "none"\nmmap_mode = "none"\n[backends.dask]\naddress = "none"')
    config = get_config()
    assert (config.max_nbytes, config.mmap_mode, config.backends["dask"]["address"]) == (None, None, None)


def deny(monkeypatch, *denied):
    """Have the system refuse to open these files and whatever stands in these folders, to root too."""

    def refused(call, *, for_files=True):
        def wrapped(path, *args, **kwargs):
            above = [Path(path), *Path(path).parents]
            if any(one in above and (for_files or one != above[0]) for one in denied):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *args, **kwargs)

        return wrapped

    monkeypatch.setattr(os, "open", refused(os.open))
    monkeypatch.setattr(type(denied[0]), "lstat", refused(type(denied[0]).lstat, for_files=False))


def test_a_users_folder_that_may_not_be_entered_is_another_users(world, monkeypatch):
    file = world.write("user", "n_jobs = 3")
    with monkeypatch.context() as patch:
        deny(patch, file)
        assert "can't be read: Permission denied" in world.problems()  # its owner is to mend it
    deny(monkeypatch, file.parent)
    context.reload()
    with pytest.warns(ConfigWarning, match="can't be read: Permission denied"):
        assert get_config().n_jobs is None


def test_folders_that_may_not_be_entered_are_passed_over_with_one_notice(world, monkeypatch):
    world.write("home/repo/sub/parallel.toml", "n_jobs = 2")
    world.write("home/repo/sub/deeper/parallel.toml", "n_jobs = 1")
    world.write("project", "n_jobs = 3")
    closed = world.root / "home/repo/sub"
    deny(monkeypatch, closed)
    with (
        context.using_machine(replace(world.machine, cwd=closed / "deeper")),
        pytest.warns(ConfigWarning) as caught,
    ):
        assert get_config().n_jobs == 3
    assert [str(one.message) for one in caught] == [
        f"{closed}/deeper: may not be entered, so no configuration is sought in it"
    ]


def test_a_pyproject_that_can_not_be_read_does_not_end_the_search(world, monkeypatch):
    file = world.write("home/repo/sub/pyproject.toml", "[tool.parallelcfg]\nn_jobs = 2")
    world.write("project", "n_jobs = 3")
    deny(monkeypatch, file)
    with (
        context.using_machine(replace(world.machine, cwd=file.parent)),
        pytest.warns(ConfigWarning, match=r"^pyproject.toml: can't be read: Permission denied$"),
    ):
        assert get_config().n_jobs == 3


def test_a_folder_named_pyproject_is_no_concern_beyond_a_notice(world):
    (world.root / "home/repo/pyproject.toml").mkdir()
    with pytest.warns(ConfigWarning, match="pyproject.toml: is a folder, expected a TOML file"):
        assert get_config().n_jobs is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_that_is_found_is_a_problem_and_not_waited_for(world):
    os.mkfifo(world.root / "home/repo/parallel.toml")
    assert "parallel.toml: can't be read: it is no regular file" in world.problems()


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="descriptors have no names")
def test_a_pipe_that_is_named_is_read(world):
    read, write = os.pipe()
    os.write(write, b"n_jobs = 3")
    os.close(write)
    world.environ["PARALLEL_CONFIG"] = f"/dev/fd/{read}"
    assert get_config().n_jobs == 3
    os.close(read)


def test_whoever_mends_a_file_need_not_tell(world):
    file = world.write("project", "n_jbos = 3")
    assert "unknown key 'n_jbos'" in world.problems()
    file.write_text("n_jobs = 3")
    assert get_config().n_jobs == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mmap_mode = none", '1:13: no valid TOML: text stands in quotes, "none"'),
        ("backend = loky # mine", '1:11: no valid TOML: text stands in quotes, "loky"'),
        ("verbose = 1\r\nstrict = True", "2:10: no valid TOML: write true"),
        ("n_jobs = ", "1:10: no valid TOML: invalid value"),
        ("n_jobs = -", "1:10: no valid TOML: invalid value"),
    ],
)
def test_text_without_quotes_is_told_as_such(world, text, said):
    world.write("project", text)
    assert f"parallel.toml:{said}\n" in world.problems()


def test_a_file_that_is_no_toml_by_now_is_named_without_a_line(world):
    file = world.write("project", "n_jobs = 3")
    config = get_config()
    file.write_text("n_jobs = [")
    context.reload()
    assert explain("n_jobs", config).winner.origin == "parallel.toml"
