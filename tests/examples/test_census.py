"""The example of the README: the same table on every backend, and the right layer named at its end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CENSUS = Path(__file__).parents[2] / "examples" / "census.py"

MODULES = {
    "alpha/__init__.py": "def first():\n    return 1\n",
    "alpha/beta.py": """
class Beta:
    def long(self):
        x = 1
        return x
    async def short(self): ...
""".lstrip(),
    "gamma.py": "",
    "test/test_alpha.py": "def test(): ...\n",
}

TABLE = """
package          modules     lines  functions  classes   longest function
--------------------------------------------------------------------------------------
alpha                  2         7          3        1   beta.long (3 lines)
single modules         1         0          0        0
--------------------------------------------------------------------------------------
all                    3         7          3        1   beta.long (3 lines)
"""

FIGURES = r"\n\d+\.\d\d seconds, [\d,]+ tasks per second, (\d+) workers?\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        file = tmp_path / "lib" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "lib"


def census(folder: Path, **environ: str) -> str:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PARALLEL_")}
    done = subprocess.run(
        [sys.executable, str(CENSUS), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder.parent,
        env=clean | environ,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing", "sequential"])
def test_the_table_is_the_same_on_every_backend(folder: Path, backend: str) -> None:
    assert TABLE in census(folder, PARALLEL_BACKEND=backend)


def test_the_settings_beside_the_script_decide_wherever_it_is_started(folder: Path) -> None:
    output = census(folder)
    assert re.search(r"n_jobs  = -1 +decided by: project  .*parallel\.toml:\d+:1\n", output)
    assert re.search(r"backend = loky +decided by: project  .*parallel\.toml:\d+:1\n", output)


def test_a_variable_takes_the_decision_over(folder: Path) -> None:
    output = census(folder, PARALLEL_N_JOBS="1", PARALLEL_BACKEND="threading")
    assert "n_jobs  = 1           decided by: environment  PARALLEL_N_JOBS\n" in output
    assert "backend = threading   decided by: environment  PARALLEL_BACKEND\n" in output
    figures = re.search(FIGURES, output)
    assert figures
    assert figures[1] == "1"
