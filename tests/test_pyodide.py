"""The package in Pyodide under Node: no processes, no threads, and pydantic's core built for WebAssembly."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import parallelcfg

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PYODIDE = "pyodide@314"
PACKAGES = (
    "pydantic",
    "pydantic-settings",
    "platformdirs",
    "cloudpickle",
    "tomli",
    "threadpoolctl",
    "pytest",
    "hypothesis",
)

RUNNER = """
import { loadPyodide } from "pyodide";
const [packages, tests, code] = process.argv.slice(2);
const python = await loadPyodide();
python.mountNodeFS("/packages", packages);
python.mountNodeFS("/tests", tests);
python.runPython("import sys; sys.dont_write_bytecode = True; sys.path.insert(0, '/packages')");
try {
    python.runPython(code);
} catch (error) {
    console.error(error.message);  // by itself Node would print the source of Pyodide
    process.exit(1);
}
"""

CALLS = """
import json, os, warnings
from parallelcfg import (
    ConfigError, Parallel, cpu_count, delayed, effective_n_jobs, get_config, parallel_config
)

def run(**keys):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parallel = Parallel(**keys)
        results = list(parallel(delayed(pow)(x, 2) for x in range(4)))
    return [
        parallel.backend_name, parallel.effective_n_jobs, results == [0, 1, 4, 9], len(caught),
        [[s.key, s.asked, s.got] for s in parallel.report.substitutions],
    ]

def refused(function, *args, **keys):
    try:
        function(*args, **keys)
    except ConfigError as error:
        return [problem.message for problem in error.problems]

seen = {
    "default": run(),
    "generator": run(return_as="generator"),
    "two jobs": run(n_jobs=2),
    "loky": run(n_jobs=2, backend="loky"),
    "strict": refused(Parallel, n_jobs=2, backend="threading", strict=True),
    "counts": [cpu_count(), effective_n_jobs(-1)],
}
with parallel_config(max_nbytes="2M"):
    seen["config"] = get_config().max_nbytes
os.environ["PARALLEL_N_JOBS"] = "many"
seen["variable"] = refused(get_config)
print(json.dumps(seen))
"""

PURE_TESTS = """
import hypothesis, os, pytest
hypothesis.settings.register_profile("few", max_examples=15, deadline=None)
hypothesis.settings.load_profile("few")
os.chdir("/tests")
files = ["core", "config/test_layers.py", "config/test_cpus_cgroups.py"]
options = ["-q", "-c", "/dev/null", "--rootdir=/tests", "--import-mode=importlib", "-p", "no:cacheprovider"]
assert pytest.main([*options, *files]) == 0
"""


def tool(*command: str, **keys) -> str:
    """Run something that the test needs and a machine may lack."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **keys)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{command[0]}: {error}")
    if done.returncode:
        pytest.skip(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


@pytest.fixture(scope="module")
def pyodide(tmp_path_factory):
    """A folder with Pyodide, and in ``packages`` what shall be imported there."""
    folder = tmp_path_factory.mktemp("pyodide")
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed")
    (folder / "package.json").write_text('{"type": "module"}')
    tool(npm, "install", "--no-audit", "--no-fund", PYODIDE, cwd=folder)
    built = json.loads((folder / "node_modules/pyodide/pyodide-lock.json").read_text())["info"]
    wheels = folder / "wheels"
    tool(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(wheels)),
        *("--implementation", "cp", "--python-version", ".".join(built["python"].split(".")[:2])),
        *("--platform", f"pyemscripten_{built['abi_version']}_wasm32", *PACKAGES),
    )
    for wheel in wheels.glob("*.whl"):
        with ZipFile(wheel) as archive:
            archive.extractall(folder / "packages")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(parallelcfg.__file__).parent, folder / "packages/parallelcfg", ignore=ignored)
    (folder / "run.mjs").write_text(RUNNER)
    return folder


def in_pyodide(folder: Path, code: str) -> str:
    tests = Path(__file__).parent
    done = subprocess.run(
        ["node", "run.mjs", str(folder / "packages"), str(tests), code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_calls_run_one_task_after_another_and_say_so(pyodide):
    seen = json.loads(in_pyodide(pyodide, CALLS))
    sequential = ["backend", "loky", "sequential"]
    assert seen["default"] == seen["generator"] == ["sequential", 1, True, 0, [sequential]]
    for asked in ("two jobs", "loky"):
        assert seen[asked] == ["sequential", 1, True, 1, [sequential, ["n_jobs", "2", "1"]]]
    assert "backend is sequential in place of threading" in seen["strict"][0]
    assert seen["counts"] == [1, 1]
    assert seen["config"] == 2 << 20
    assert seen["variable"] == ["expected an integer other than 0 or none"]


def test_the_tests_of_pure_parts_pass_there(pyodide):
    assert " passed" in in_pyodide(pyodide, PURE_TESTS)
