"""The bridge with the oldest joblib that the extra allows."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement


def oldest(name: str, extra: str) -> str:
    """The lower bound of an extra's requirement."""
    for line in requires("parallelcfg") or ():
        requirement = Requirement(line)
        if requirement.name == name and requirement.marker and requirement.marker.evaluate({"extra": extra}):
            (bound,) = (one.version for one in requirement.specifier if one.operator == ">=")
            return bound
    raise LookupError(name)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_bridge_works_with_the_oldest_joblib(tmp_path):
    version = oldest("joblib", "joblib")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(
        [*pip, "--target", str(tmp_path), f"joblib=={version}.*"], check=True, stdin=subprocess.DEVNULL
    )
    env = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    tests = [str(file) for file in sorted(Path(__file__).parent.glob("test_joblib_*.py"))]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        env={**env, "PYTHONPATH": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = subprocess.run(
        [sys.executable, "-c", "import joblib; print(joblib.__version__)"],
        env={**env, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith(f"{version}.")
