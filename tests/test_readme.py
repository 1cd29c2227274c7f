"""The README holds: its outputs are today's, its examples run, its commands set up a fresh checkout."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()
]


def _render():
    spec = importlib.util.spec_from_file_location("render", ROOT / "docs" / "render.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_output_shown_is_what_the_command_prints_today():
    render = _render()
    assert render.rendered(render.README) == README, "run python docs/render.py"


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_every_example_runs(program, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(program, encoding="utf-8")
    subprocess.run([sys.executable, script], check=True, timeout=60, cwd=tmp_path)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What a clone would have: the files that git tracks, as they are now."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nobody knows which files belong to it")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    folder = tmp_path_factory.mktemp("clone")
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def _in_clone(checkout, command, **env):
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PARALLEL_", "PYTEST_"))
    }
    done = subprocess.run(
        command,
        shell=True,
        cwd=checkout,
        env={**clean, **env},
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_set_up_a_fresh_checkout(checkout):
    main_job, tests, benchmarks = COMMANDS
    assert "decided by" in _in_clone(checkout, main_job)
    narrow = "tests/config/test_layers.py -n0 -p no:cacheprovider"
    assert " passed" in _in_clone(checkout, tests, PYTEST_ADDOPTS=narrow)
    assert "effective_n_jobs()" in _in_clone(checkout, f"{benchmarks} --quick --only effective_n_jobs")
