from __future__ import annotations

import jsonschema
import pytest

from parallelcfg.backends import registry


def test_validate_is_silent_about_what_is_fine(command):
    command.write("parallel.toml", "n_jobs = 3")
    outcome = command("validate")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_validate_tells_every_problem_of_every_layer(command):
    command.write("parallel.toml", "n_jobs = 0\n[profiles.x]\nverbose = -1")
    command.write("../user/parallel.toml", "n_jbos = 3")
    command.environ.update(PARALLEL_MMAP_MODE="z", PARALLEL_NJOBS="3")
    outcome = command("validate")
    assert outcome.code == 1
    assert outcome.err.startswith("5 problems in the configuration\n")
    for part in (
        "user/parallel.toml:1:1: unknown key",
        "parallel.toml:1:10: n_jobs = 0",
        "parallel.toml:3:11: verbose",
    ):
        assert part in outcome.err
    assert "environment variable PARALLEL_MMAP_MODE='z': expected" in outcome.err
    assert "environment variable PARALLEL_NJOBS='3': no key has this name" in outcome.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prefer = 'processes'\nrequire = 'sharedmem'", "parallel.toml:1:1: prefer='processes' contradicts"),
        ("[backends.lokey]\nx = 1", "parallel.toml:2:1: backends.lokey.x is for an unknown backend"),
    ],
)
def test_validate_tells_what_only_resolving_would_find(command, text, message):
    command.write("parallel.toml", text)
    outcome = command("validate")
    assert outcome.code == 1
    assert message in outcome.err
    assert "warning" not in outcome.err


def test_validate_tells_what_a_profile_for_another_machine_lacks_here(command):
    command.write("parallel.toml", "[profiles.cluster]\ntemp_folder = '$SCRATCH/x'\nbackend = 'slurm'\n")
    outcome = command("validate")
    assert outcome.code == 1
    assert 'parallel.toml:2:15: temp_folder = "$SCRATCH/x": the environment variable SCRATCH' in outcome.err
    assert 'parallel.toml:3:11: backend = "slurm": unknown backend' in outcome.err
    assert command("get", "n_jobs").err == ""


def test_validate_takes_files_as_a_pre_commit_hook_gives_them(command):
    command.write("good.toml", "n_jobs = 3")
    command.write("bad.toml", "[tool]\nn_jobs = 3")
    command.write("sub/pyproject.toml", "[tool.parallelcfg]\nn_jobs = 0")
    assert command("validate", "good.toml").code == 0
    outcome = command("validate", "good.toml", "bad.toml", "sub/pyproject.toml", "missing.toml")
    assert outcome.code == 1
    assert "bad.toml:1:2: unknown key 'tool'" in outcome.err
    assert "sub/pyproject.toml:2:10: n_jobs = 0" in outcome.err
    assert "missing.toml: no such file" in outcome.err


def test_locks_are_checked_as_the_systems_on_demand(command):
    command.write("site.toml", "[locked]\nn_jobs = 3")
    assert command("validate", "site.toml").code == 1
    assert command("validate", "--system", "site.toml").code == 0


def test_the_schema_is_printed_as_json(command):
    jsonschema.Draft202012Validator.check_schema(command("schema").json)


def test_validate_holds_backends_parameters_against_what_they_take(command):
    command.write(
        "parallel.toml",
        "[backends.loky]\nidle_worker_timout = 3\n[backends.threading]\nx = 1\n"
        "[profiles.night.backends.dask]\nadress = 'x'\n[backends.ray]\naddress = 'auto'\n",
    )
    command.environ["PARALLEL_BACKENDS__LOKY__X"] = "1"
    for args in (["validate"], ["validate", "parallel.toml"]):
        outcome = command(*args)
        assert outcome.code == 1
        for part in (
            "parallel.toml:2:1: 'idle_worker_timout' is neither",
            "(did you mean 'idle_worker_timeout'?)",
            "parallel.toml:4:1: 'x' is neither",
            "parallel.toml:6:1: 'adress' is neither",
        ):
            assert outcome.err.count(part) == 1
        assert "address = 'auto'" not in outcome.err
        assert ("variable PARALLEL_BACKENDS__LOKY__X=1: 'x' is neither" in outcome.err) == (len(args) == 1)


def test_validate_tells_of_a_backend_that_cannot_be_loaded(command, monkeypatch):
    class Point:
        def load(self):
            raise ImportError("no such driver")

    monkeypatch.setattr(registry, "_entry_points", lambda: {"site": Point()})
    command.write("parallel.toml", "[backends.site]\nqueue = 'long'\n")
    outcome = command("validate")
    assert outcome.code == 1
    assert "parallel.toml:2:1: backends.site.queue: backend 'site' can't be loaded" in outcome.err


@pytest.mark.parametrize(
    ("backend", "variable", "instead", "text"),
    [
        ("MyCluster", "BACKENDS__MYCLUSTER__MAXSIZE", "BACKENDS", "{MyCluster = {maxSize = 5}}"),
        ("my-cluster", "BACKENDS__MY_CLUSTER__MAXSIZE", "BACKENDS", "{my-cluster = {maxSize = 5}}"),
        ("low", "BACKENDS__LOW__MAXSIZE", "BACKENDS__LOW", "{maxSize = 5}"),
    ],
)
def test_what_no_name_of_a_variable_can_say_is_told_with_what_can(
    command, monkeypatch, backend, variable, instead, text
):
    def factory(maxSize=3):  # noqa: N803 - a name with capitals
        raise AssertionError("nobody runs anything")

    monkeypatch.setitem(registry._registered, backend, factory)
    command.environ[f"PARALLEL_{variable}"] = "5"
    hint = f"(say PARALLEL_{instead}='{text.partition(' = ')[0]} = ...}}': names of variables have no case"
    assert hint in command("validate").err
    command.environ.clear()
    command.environ[f"PARALLEL_{instead}"] = text
    assert (command("validate").code, command("get", f"backends.{backend}.maxSize").out) == (0, "5\n")


def test_a_variable_for_an_unknown_backend_is_told_with_its_value(command):
    command.environ["PARALLEL_BACKENDS__LOKEY__X"] = "a"
    command.environ["PARALLEL_BACKENDS__LUKY__X"] = "none"
    told = command("validate").err
    assert "variable PARALLEL_BACKENDS__LOKEY__X='a': backends.lokey.x is for an unknown backend" in told
    assert "variable PARALLEL_BACKENDS__LUKY__X: backends.luky.x is for an unknown backend" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prefer = 'processes'\nrequire = 'sharedmem'", "f.toml:1:1: prefer='processes' contradicts"),
        ("[backends.lokey]\nx = 1", "f.toml:2:1: backends.lokey.x is for an unknown backend"),
        ("[profiles.night]\nlocked = {n_jobs = 3}", "f.toml:2:1: [locked] stands at the top of a file only"),
        ("[tool.parallelcfg]\nn_jobs = 3", "f.toml:1:2: [tool.parallelcfg] is for pyproject.toml"),
        ("n_jobs = 2\nn_jobs = 3", "no valid TOML: this key has a value already; say it once"),
    ],
)
def test_validate_finds_in_a_file_what_it_finds_in_force(command, text, message):
    command.write("f.toml", text)
    outcome = command("validate", "f.toml")
    assert (outcome.code, message in outcome.err) == (1, True)
    assert "did you mean 'locked'" not in outcome.err


@pytest.mark.parametrize("name", ["PARALLEL_NO_CONFIG", "PARALLEL_JOBLIB"])
def test_a_switch_is_on_or_off(command, name):
    command.environ[name] = "maybe"
    assert f"environment variable {name}='maybe': expected 1, true, yes or on" in command("validate").err
    command.environ[name] = " Off "
    assert command("validate").code == 0


def test_validate_looks_at_the_ceiling_of_loky(command, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "abc")
    assert "LOKY_MAX_CPU_COUNT='abc': expected a whole number" in command("validate").err


def test_problems_as_json_are_for_programs(command):
    command.write("parallel.toml", "n_jbos = 3")
    outcome = command("validate", "--format", "json")
    assert outcome.code == 1
    (problem,) = outcome.json
    assert problem["place"] == "parallel.toml:1:1"
    assert problem["suggestion"] == "did you mean 'n_jobs'?"
    command.write("parallel.toml", "n_jobs = 3")
    outcome = command("validate", "--format", "json")
    assert (outcome.code, outcome.json) == (0, [])


def test_validate_finds_what_strict_would_refuse_in_every_call(command):
    command.write("../system/parallel.toml", "max_jobs = 2\nstrict = true")
    command.write("parallel.toml", "n_jobs = 8")
    outcome = command("validate")
    assert outcome.code == 1
    assert "parallel.toml:1:1: n_jobs = 8 is more than max_jobs = 2 (" in outcome.err
    assert command("set", "n_jobs", "-1").code == 0
    assert command("validate").code == 0


def test_system_is_for_named_files(command):
    assert command("validate", "--system").code == 2
