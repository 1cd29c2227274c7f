"""Every example runs as its first lines say, and shows what it is there to show."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name: str, folder: Path, **environ: str) -> str:
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("PARALLEL_", "SLURM_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=clean | environ,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_closures_lambdas_and_local_classes_travel_and_locks_are_named(tmp_path: Path) -> None:
    shown = dict(line.split(maxsplit=1) for line in run_example("closures.py", tmp_path).splitlines())
    assert shown["lambda"] == "[0, 1, 4, 9, 16]"
    assert shown["closures"] == "[9.0, 10.0, 11.0]"
    assert shown["methods"] == "[11, 101]"
    assert shown["wrapped"] == "42"
    assert "['guard']" in shown["refused"]
    assert shown["threads"] == "[2, 2]"


def test_workers_draw_into_the_callers_array(tmp_path: Path) -> None:
    *picture, last = run_example("shared_arrays.py", tmp_path).splitlines()
    assert sum(line.count("@") for line in picture) > 300
    wrote, pickled = (int(number.replace(",", "")) for number in re.findall(r"([\d,]+) bytes", last))
    assert wrote > 10 * pickled


def test_the_pipeline_counts_every_file(tmp_path: Path) -> None:
    output = run_example("pipeline.py", tmp_path)
    assert " 150 files" in output
    assert "def  (keyword)" in output


def test_flaky_work_comes_to_an_end_with_a_reason_for_each_failure(tmp_path: Path) -> None:
    output = run_example("flaky.py", tmp_path)
    assert re.search(r"refuses +<h1>refuses</h1> at attempt [2-9]", output)
    assert re.search(r"crashes +<h1>crashes</h1> at attempt [2-9]", output)
    assert "hangs    gave up after 2 attempts: TaskTimeout" in output
    assert "1 failed for good" in output


def test_requests_are_served_at_once_under_settings_of_their_own(tmp_path: Path) -> None:
    answers = [json.loads(line) for line in run_example("asyncio_service.py", tmp_path).splitlines()]
    assert answers == [
        {"primes": 2262, "backend": "loky", "workers": 2},
        {"primes": 1229, "backend": "threading", "workers": 3},
        {"primes": 168, "backend": "sequential", "workers": 1},
    ]


@pytest.mark.parametrize(("rate", "least"), [("20", 0.4), ("40", 0.2)])
def test_the_backend_keeps_to_the_rate_that_a_variable_sets(tmp_path: Path, rate: str, least: float) -> None:
    output = run_example("custom_backend.py", tmp_path, PARALLEL_BACKENDS__POLITE__PER_SECOND=rate)
    assert "polite: 10 requests by 4 threads" in output
    assert float(re.search(r"([\d.]+) seconds", output)[1]) >= least


@pytest.mark.skipif(sys.platform == "win32", reason="a job script is a script of a POSIX shell")
def test_the_batch_job_takes_what_the_scheduler_grants(tmp_path: Path) -> None:
    output = run_example("slurm.py", tmp_path)
    found = re.search(r"2,262 primes, (\d+) workers, (\d+) CPUs granted", output)
    assert found, output
    assert found[1] == found[2]
    assert int(found[2]) <= 2
    assert "PARALLEL_N_JOBS" in output


@pytest.mark.slow
def test_one_file_governs_the_loops_of_scikit_learn_too(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    by_file, by_variable = (
        run_example("one_toml.py", tmp_path, **env) for env in ({}, {"PARALLEL_N_JOBS": "1"})
    )
    assert "Parallel(n_jobs=2, backend='loky')" in by_file
    assert "Parallel(n_jobs=1, backend='sequential')" in by_variable
    scores = re.compile(r"^(?:grid|random|importance).*", re.MULTILINE)
    assert scores.findall(by_file) == scores.findall(by_variable)
    assert len(scores.findall(by_file)) == 3


def test_without_scikit_learn_the_example_says_so() -> None:
    program = (
        f"import sys; sys.modules['sklearn'] = None; exec(open({str(EXAMPLES / 'one_toml.py')!r}).read())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "needs scikit-learn" in done.stdout
