"""The same programs, unchanged, on one machine, on dask and on ray: the environment alone says where."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EXAMPLES = Path(__file__).parents[2] / "examples"


def output_of(program, *args, **environ):
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PARALLEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "parallelcfg.cli", "run", str(EXAMPLES / program), *args],
        capture_output=True,
        text=True,
        check=False,
        env=clean | {"RAY_DEDUP_LOGS": "0"} | environ,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def places(dask_address):
    return {
        "loky": {},
        "dask": {"PARALLEL_BACKENDS__DASK__ADDRESS": dask_address},
        "ray": {"PARALLEL_BACKENDS__RAY__RAY_REMOTE_ARGS": "{num_cpus = 1}"},
    }


@pytest.fixture
def everywhere(dask_processes):
    pytest.importorskip("ray")

    def run(program, *args):
        return {
            backend: output_of(program, *args, PARALLEL_BACKEND=backend, PARALLEL_N_JOBS="2", **environ)
            for backend, environ in places(dask_processes.address).items()
        }

    return run


def test_the_census_counts_the_same_everywhere(everywhere):
    import json

    outputs = everywhere("census.py", str(Path(json.__file__).parent))
    tables = {output.split(" seconds, ")[0].rsplit("\n", 1)[0] for output in outputs.values()}
    assert len(tables) == 1
    for backend, output in outputs.items():
        assert f"backend = {backend:<12}decided by: environment  PARALLEL_BACKEND" in output


def test_a_grid_search_finds_the_same_everywhere(everywhere):
    pytest.importorskip("sklearn")
    outputs = everywhere("gridsearch.py")
    assert len(set(outputs.values())) == 1
    assert "best: " in outputs["loky"]
