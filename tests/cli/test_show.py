from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

from parallelcfg import get_config
from parallelcfg.config import context
from parallelcfg.config.keys import KEYS


def test_show_has_every_key_with_its_layer(command):
    command.write("parallel.toml", "n_jobs = 3\n[backends.dask]\naddress = 'x'")
    lines = command("show").out.split("\n")
    assert lines[0].split() == ["key", "value", "layer"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:] if line}
    assert rows["n_jobs"] == ["3", "project"]
    assert rows["backends.dask.address"] == ['"x"', "project"]
    assert set(KEYS) - {"backends"} <= set(rows)


def test_show_names_origins_and_shadowed_values(command):
    command.write("parallel.toml", "n_jobs = 3")
    command.environ["PARALLEL_N_JOBS"] = "4"
    shown = command("show", "--origin", "--all").out
    assert any(
        line.split() == ["n_jobs", "4", "environment", "PARALLEL_N_JOBS"] for line in shown.split("\n")
    )
    assert any(line.split() == ["(3)", "(project)", "parallel.toml:1:1"] for line in shown.split("\n"))


def test_the_toml_output_is_a_file_with_the_same_meaning(command):
    command.write(
        "parallel.toml",
        "n_jobs = 3\nmax_nbytes = 'none'\n[backends.dask]\n'a.b' = [1]\n[backends.loky]\nx = 1",
    )
    before = get_config()
    text = command("show", "--format", "toml").out
    assert "n_jobs = 3  # project: parallel.toml:1:1" in text
    command.write("parallel.toml", text)
    context.reload()
    after = get_config()
    assert {key: getattr(after, key) for key in KEYS} == {key: getattr(before, key) for key in KEYS}


def test_the_toml_output_tells_shadowed_values_in_comments(command):
    command.write("parallel.toml", "n_jobs = 3")
    command.environ["PARALLEL_N_JOBS"] = "4"
    text = command("show", "--format", "toml", "--all").out
    assert "# n_jobs = 3  # project: parallel.toml:1:1, shadowed" in text
    assert tomli.loads(text)["n_jobs"] == 4


def test_the_env_output_means_the_same_as_variables(command):
    command.write("parallel.toml", "n_jobs = 3\npre_dispatch = '3*n_jobs'\n[backends.dask]\naddress = 'x y'")
    before = get_config()
    lines = command("show", "--format", "env").out.strip().split("\n")
    (command.root / "parallel.toml").unlink()
    command.environ.update(
        {name: text.strip("'") for name, _, text in (line.partition("=") for line in lines)}
    )
    context.reload()
    after = get_config()
    assert {key: getattr(after, key) for key in KEYS} == {key: getattr(before, key) for key in KEYS}


def test_the_json_output_has_every_key(command):
    command.write("parallel.toml", "\nn_jobs = 3")
    rows = {row["key"]: row for row in command("show", "--format", "json").json}
    assert set(rows) == set(KEYS)
    row = rows["n_jobs"]
    assert (row["value"], row["layer"], row["line"], row["column"], row["env"]) == (3, "project", 2, 1, None)


def test_the_json_output_is_json_whatever_toml_can_say(command):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    command.write("parallel.toml", "[backends.dask]\nday = 1979-05-27\nnoon = 12:00:00\nx = nan\ny = [inf]")
    text = command("explain", "backends.dask", "--format", "json").out
    values = [row["value"] for row in json.loads(text, parse_constant=refuse)]
    assert values == ["1979-05-27", "12:00:00", "nan", ["inf"]]


def test_explain_names_the_winner_first(command):
    command.write("parallel.toml", "n_jobs = 3")
    command.environ["PARALLEL_N_JOBS"] = "4"
    assert command("explain", "n_jobs").out.split("\n")[:3] == [
        "n_jobs = 4",
        "  environment     4   PARALLEL_N_JOBS",
        "  project         3   parallel.toml:1:1   shadowed",
    ]
    assert command("explain", "n_jobs", "--format", "json").json["env"] == "PARALLEL_N_JOBS"


@pytest.mark.parametrize(
    ("key", "text", "bare"),
    [
        ("n_jobs", "n_jobs = 3", "3"),
        ("n_jobs", "n_jobs = 3\nmax_jobs = 2", "2"),
        ("n_jobs", "", "none"),
        ("mmap_mode", "mmap_mode = 'c'", "c"),
        ("max_nbytes", "", "1M"),
        ("strict", "", "false"),
        ("backends.dask.address", "[backends.dask]\naddress = 'tcp://x'", "tcp://x"),
        ("backends.dask", "[backends.dask]\naddress = 'x'", '{"address": "x"}'),
        ("backends.dask.when", "[backends.dask]\nwhen = 1979-05-27", "1979-05-27"),
        ("backends.dask", "[backends.dask]\nx = [1979-05-27, -inf]", '{"x": ["1979-05-27", "-inf"]}'),
    ],
)
def test_get_prints_the_bare_value(command, key, text, bare):
    command.write("parallel.toml", text)
    assert command("get", key).out == f"{bare}\n"


@pytest.mark.parametrize("name", ["get", "explain"])
def test_an_unknown_key_is_wrong_usage(command, name):
    outcome = command(name, "njobs")
    assert outcome.code == 2
    assert "unknown key 'njobs' (did you mean 'n_jobs'?)" in outcome.err


@pytest.mark.parametrize("args", [("show",), ("get", "n_jobs"), ("explain", "n_jobs"), ("env",)])
def test_problems_go_to_stderr_with_code_1(command, args):
    command.write("parallel.toml", "n_jobs = 0")
    outcome = command(*args)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(
        "1 problem in the configuration\n  parallel.toml:1:10: n_jobs = 0: expected"
    )


@pytest.mark.parametrize("args", [("show",), ("get", "n_jobs"), ("explain", "n_jobs")])
def test_a_wrong_count_of_cpus_is_no_wrong_usage(command, monkeypatch, args):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "abc")
    command.environ["PARALLEL_N_JOBS"] = "-1"
    outcome = command(*args)
    assert (outcome.code, "environment variable LOKY_MAX_CPU_COUNT='abc': " in outcome.err) == (1, True)


def test_env_lists_variables_and_what_they_override(command):
    command.write("parallel.toml", "n_jobs = 3")
    command.environ.update(
        PARALLEL_N_JOBS="4", PARALLEL_NJOBS="5", JOBLIB_TEMP_FOLDER="/j", PARALLEL_TEMP_FOLDER="/p"
    )
    outcome = command("env", "--format", "json")
    rows = {row["name"]: row for row in outcome.json}
    assert rows["PARALLEL_N_JOBS"]["overrides"] == "3 of parallel.toml:1:1"
    assert rows["PARALLEL_NJOBS"]["type"] == "unknown; did you mean 'PARALLEL_N_JOBS'?"
    assert rows["JOBLIB_TEMP_FOLDER"]["overrides"] == "overridden by environment"
    assert rows["PARALLEL_VERBOSE"]["now"] is None
    assert {"PARALLEL_CONFIG", "PARALLEL_PROFILE", "PARALLEL_NO_CONFIG"} <= set(rows)
    assert outcome.err.startswith("warning: environment variable PARALLEL_NJOBS='5'")
    assert "PARALLEL_N_JOBS" in command("env").out


def test_an_unknown_command_is_wrong_usage_with_a_suggestion(command):
    outcome = command("shwo")
    assert (outcome.code, "did you mean 'show'?" in outcome.err) == (2, True)


def test_every_command_is_listed_and_has_help(command):
    listed = command("--help").out
    for name in (
        "show",
        "explain",
        "get",
        "set",
        "env",
        "init",
        "validate",
        "schema",
        "doctor",
        "run",
        "completion",
    ):
        assert f"  {name} " in listed
        assert command(name, "--help").code == 0


def test_a_broken_byte_in_a_path_can_be_printed(command):
    command.environ["PARALLEL_TEMP_FOLDER"] = "/x\udcff"
    for args in (("show",), ("explain", "temp_folder"), ("get", "temp_folder"), ("show", "--format", "toml")):
        assert r"\udcff" in command(*args).out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp1251", "utf-8"])
@pytest.mark.parametrize("args", [("show",), ("get", "temp_folder"), ("show", "--format", "toml")])
def test_what_an_encoding_lacks_is_printed_as_toml_would_escape_it(command, monkeypatch, encoding, args):
    name = "é\u3042\N{PILE OF POO}"
    command.environ["PARALLEL_TEMP_FOLDER"] = f"/{name}"
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", stream)
    assert command(*args).code == 0
    text = stream.buffer.getvalue().decode(encoding)
    (line,) = [line for line in text.split("\n") if "/" in line]
    said = line.partition("/")[2].partition('"')[0].strip()
    assert tomli.loads(f'name = "{said}"')["name"] == name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_completion_script(command, shell):
    assert "_PARALLELCFG_COMPLETE" in command("completion", shell).out


@pytest.mark.skipif(not shutil.which("bash") or os.name == "nt", reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["parallelcfg", "exp"], ["explain"]),
        (["parallelcfg", "explain", "n_j"], ["n_jobs"]),
        (["parallelcfg", "set", "max_"], ["max_nbytes", "max_pending_results", "max_jobs"]),
        (["parallelcfg", "show", "--form"], ["--format"]),
        (["parallelcfg", "set", "backend", "th"], ["threading"]),
        (["parallelcfg", "run", "--max-"], ["--max-nbytes", "--max-pending-results", "--max-jobs"]),
        (["parallelcfg", "run", "--backend", "mul"], ["multiprocessing"]),
        (["parallelcfg", "run", "--n-jobs", "2", "scr"], ["script.py"]),
        (["parallelcfg", "run", "script.py", "--n"], []),
    ],
)
def test_bash_completes_commands_keys_and_options(tmp_path, words, expected):
    script = f"""
        eval "$(parallelcfg completion bash)" || exit 3
        compopt() {{ :; }}  # bash's own is for a prompt; what it asks for is asked for below
        COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}
        function=$(complete -p parallelcfg | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        $function parallelcfg "${{COMP_WORDS[COMP_CWORD]}}"
        [[ ${{#COMPREPLY[@]}} -gt 0 ]] || COMPREPLY=($(compgen -o default -- "${{COMP_WORDS[COMP_CWORD]}}"))
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    (tmp_path / "script.py").touch()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == sorted(expected)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("args", [["schema"], ["show"], ["get", "n_jobs"], ["--help"]])
def test_an_output_without_room_is_told_in_a_line(args):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "parallelcfg.cli", *args],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    told = "the output can't be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, told)
