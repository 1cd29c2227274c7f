"""The backend of examples/backend-plugin, installed by pip and chosen by a file alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "examples" / "backend-plugin"

SETTINGS = """
backend = "command"
n_jobs = 2

[backends.command]
command = ["{python}"]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that pip has installed it into."""
    source, folder = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("site")
    shutil.copytree(PLUGIN, source)
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        *offline,
        "--target",
        str(folder),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    assert list(folder.glob("parallelcfg_command-*.dist-info/entry_points.txt"))
    return folder


@pytest.fixture
def run(site, tmp_path):
    """Runs a program in a folder whose parallel.toml names the backend."""
    (tmp_path / "parallel.toml").write_text(SETTINGS.format(python=sys.executable.replace("\\", "/")))

    def run_program(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
        program = tmp_path / "program.py"
        program.write_text(code)
        env = {**os.environ, "PYTHONPATH": str(site), **variables}
        return subprocess.run(
            [sys.executable, str(program)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    return run_program


def test_a_file_chooses_an_installed_backend_without_an_import(run):
    done = run(
        "import os\n"
        "from parallelcfg import Parallel, delayed\n"
        "parallel = Parallel()\n"
        "def square(x):\n"
        "    print('noise')\n"
        "    return x * x, os.getpid()\n"
        "results = parallel(delayed(square)(x) for x in range(4))\n"
        "print(parallel, [x for x, _ in results], os.getpid() in {pid for _, pid in results})\n"
    )
    assert done.stdout == "Parallel(n_jobs=2, backend='command') [0, 1, 4, 9] False\n", done.stderr


def test_large_arrays_reach_workers_that_share_no_files(run):
    done = run(
        "import numpy as np\n"
        "from parallelcfg import Parallel, delayed\n"
        "def look(x):\n"
        "    return type(x).__name__, float(x.sum())\n"
        "print(Parallel()([delayed(look)(np.ones(300_000))]))\n"
    )
    assert done.stdout == "[('ndarray', 300000.0)]\n", done.stderr


def test_a_command_that_fails_is_a_lost_worker(run):
    done = run(
        "from parallelcfg import Parallel, WorkerLost, delayed\n"
        "try:\n"
        "    Parallel()([delayed(abs)(-1)])\n"
        "except WorkerLost as error:\n"
        "    print(error)\n",
        PARALLEL_BACKENDS__COMMAND__COMMAND='["false"]',
    )
    assert done.stdout.startswith("the command ended with exit code 1"), done.stderr


def test_its_parameters_are_checked_by_name(run):
    done = run(
        "from parallelcfg import Parallel\n"
        "try:\n"
        "    Parallel(comand=['x'])\n"
        "except TypeError as error:\n"
        "    print(error)\n"
    )
    assert "'comand'" in done.stdout, done.stderr
    assert "command" in done.stdout
