from __future__ import annotations

import pytest

from parallelcfg import BackendUnavailable
from parallelcfg.backends import registry
from parallelcfg.cli.doctor import round_trip


def test_doctor_reports_the_machine_and_tries_backends(command):
    command.write("parallel.toml", "verbose = 60\non_error = 'return'\nreturn_as = 'generator'")
    outcome = command("doctor", "--backend", "threading", "--backend", "sequential")
    assert (outcome.code, outcome.err) == (0, "")
    for part in ("CPUs, decided by", "parallel.toml", "GiB free", "threads", "configuration files"):
        assert part in outcome.out
    rows = [line.split() for line in outcome.out.strip().split("\n")[-2:]]
    assert [row[:4] for row in rows] == [
        ["threading", "built", "in", "ok"],
        ["sequential", "built", "in", "ok"],
    ]


def test_a_folder_that_nothing_can_be_written_to_has_no_room(command, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr("parallelcfg.transport.files.make_folder", refuse)
    outcome = command("doctor", "--backend", "sequential")
    assert "can't be used: Permission denied" in outcome.out
    assert "GiB free" not in outcome.out


@pytest.mark.parametrize(("free", "said"), [(64 << 20, "64.0 MiB free"), (3 << 29, "1.5 GiB free")])
def test_the_small_shared_memory_of_a_container_is_told_in_a_unit_that_fits(command, monkeypatch, free, said):
    monkeypatch.setattr("parallelcfg.transport.files.free_space", lambda _: free)
    assert said in command("doctor", "--backend", "sequential").out


@pytest.mark.parametrize("name", ["loky", "multiprocessing"])
def test_process_backends_really_run(command, name):
    assert round_trip(name).outcome == "ok"


def test_a_missing_backend_says_what_to_install(command, monkeypatch):
    def missing():
        raise BackendUnavailable("install parallelcfg[quantum]")

    monkeypatch.setitem(registry._registered, "quantum", missing)
    outcome = command("doctor", "--backend", "quantum")
    assert outcome.code == 0
    assert "install parallelcfg[quantum]" in outcome.out


def test_a_backend_that_can_not_be_loaded_is_told_without_a_line_that_asked_for_it(command, monkeypatch):
    class Point:
        name, value = "site", "nowhere:Backend"

        def load(self):
            raise ImportError("no such driver")

    monkeypatch.setattr(registry, "_entry_points", lambda: {"site": Point()})
    told = command("doctor", "--backend", "site").out
    assert told.endswith("entry point nowhere:Backend: ImportError: no such driver\n")


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("max_jobs = 1", "max_jobs is the ceiling"),
        ("[locked]\nbackend = 'sequential'", "is locked by "),
    ],
)
def test_a_backend_that_a_limit_forbids_is_not_called_ok(command, system, said):
    command.write("../system/parallel.toml", system)
    outcome = command("doctor", "--backend", "threading", "--backend", "dask")
    assert (outcome.code, outcome.err) == (0, "")
    for line in outcome.out.strip().split("\n")[-2:]:
        assert "not tried" in line
        assert said in line
        assert "doctor asked for" in line
        assert ".py:" not in line


def test_a_failing_backend_is_told_with_code_1(command, monkeypatch):
    def broken():
        raise ValueError("no qubits")

    monkeypatch.setitem(registry._registered, "quantum", broken)
    outcome = command("doctor", "--backend", "quantum")
    assert outcome.code == 1
    assert "failed" in outcome.out
    assert "ValueError: no qubits" in outcome.out


def test_an_unknown_backend_is_wrong_usage(command):
    outcome = command("doctor", "--backend", "lokey")
    assert (outcome.code, "unknown backend lokey; known are loky" in outcome.err) == (2, True)


def test_a_folder_that_can_not_be_used_is_told(command):
    command.write("file", "")
    command.environ["PARALLEL_TEMP_FOLDER"] = "file/below"
    assert "file/below: can't be used: Not a directory" in command("doctor", "--backend", "sequential").out


def test_a_broken_configuration_does_not_silence_the_doctor(command):
    command.write("parallel.toml", "n_jbos = 3")
    outcome = command("doctor")
    assert outcome.code == 1
    for part in ("CPUs, decided by", "parallel.toml:1:1: unknown key 'n_jbos'", "thread pools"):
        assert part in outcome.out
    assert "did you mean 'loky'?" in command("doctor", "--backend", "lokey").err


def test_a_wrong_count_of_cpus_does_not_silence_the_doctor(command, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "abc")
    command.write("parallel.toml", "n_jobs = 3")
    outcome = command("doctor")
    assert outcome.code == 1
    for part in ("variable LOKY_MAX_CPU_COUNT='abc'", "parallel.toml", "folders for", "thread pools"):
        assert part in outcome.out
