"""Workers of loky begin without loky, in the surroundings that were asked for."""

import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from operator import neg
from pathlib import Path

import pytest

import parallelcfg
from parallelcfg import Parallel, delayed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="loky's own entry is in use there")


def loaded(*names):
    return [name for name in names if name in sys.modules]


def test_a_worker_imports_nothing_of_loky():
    names = "loky", "cloudpickle", "numpy", "pydantic"
    assert (
        Parallel(n_jobs=2)([delayed(loaded)(*names, "parallelcfg.worker")] * 2)
        == [["parallelcfg.worker"]] * 2
    )


def in_a_process(x):
    with multiprocessing.Pool(1) as pool:
        return multiprocessing.get_start_method(), pool.map(neg, [x])


def test_tasks_may_start_processes_of_the_standard_library():
    tasks = [delayed(in_a_process)(x) for x in range(2)]
    assert Parallel(n_jobs=2)(tasks) == [("spawn", [0]), ("spawn", [-1])]


PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from parallelcfg import Parallel, delayed
import parallelcfg

def found():
    place = os.path.dirname(sys.modules["parallelcfg"].__file__)
    return place, os.environ.get("PYTHONPATH"), os.environ["WHO"]

if __name__ == "__main__":
    for place in set(Parallel(n_jobs=2, env={"WHO": "me"})(delayed(found)() for _ in range(2))):
        print(*place)
"""


@pytest.mark.parametrize("variable", [None, "/somewhere/else"])
def test_a_package_that_only_the_programs_own_path_finds(tmp_path, variable):
    copy = tmp_path / "libraries" / "parallelcfg"
    shutil.copytree(Path(parallelcfg.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if variable:
        env["PYTHONPATH"] = variable
    command = [sys.executable, "-c", PROGRAM, str(copy.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (f"{copy} {variable} me\n", "")


def test_the_search_path_of_the_backends_parameter_is_the_workers():
    def path():
        return os.environ["PYTHONPATH"]

    assert Parallel(n_jobs=2, env={"PYTHONPATH": "/mine"})(delayed(path)() for _ in range(2)) == ["/mine"] * 2


def test_workers_begin_in_silence_under_the_bridge(tmp_path):
    program = """
import parallelcfg
from joblib import Parallel, delayed
print(Parallel(2)([delayed(abs)(-1)] * 2))
"""
    done = subprocess.run(
        [sys.executable, "-W", "always::RuntimeWarning", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PARALLEL_JOBLIB": "1"},
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("[1, 1]\n", "")


@pytest.mark.parametrize("written", [b"", pickle.dumps({"name": "worker"})[:-3]])
def test_a_process_whose_parent_died_before_it_began_says_nothing(written):
    reading, writing = os.pipe()
    os.write(writing, written)
    os.close(writing)
    command = [sys.executable, "-m", "parallelcfg.workerentry", "--pipe", str(reading)]
    done = subprocess.run(command, pass_fds=[reading], capture_output=True, text=True, check=False)
    os.close(reading)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
