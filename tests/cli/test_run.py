from __future__ import annotations

import os
import py_compile
import subprocess
import sys
import zipfile

import pytest

PROGRAM = """
import sys
from parallelcfg import Parallel, delayed, explain, get_config, set_config

def double(x):
    return 2 * x

if __name__ == "__main__":
    set_config(n_jobs=9)
    print(sys.argv, sys.path[0])
    print(get_config().n_jobs, explain("n_jobs").winner.layer)
    print(double.__module__, sys.modules["__main__"].double is double)
    print(Parallel(n_jobs=2, backend="loky")(delayed(double)(x) for x in range(3)))
"""


@pytest.fixture
def run(tmp_path):
    def run(*args, stdin="", **environ):
        clean = {name: text for name, text in os.environ.items() if not name.startswith("PARALLEL")}
        return subprocess.run(
            [sys.executable, "-m", "parallelcfg.cli", "run", *args],
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            env={**clean, **environ},
            check=False,
        )

    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "program.py").write_text(PROGRAM)
    (tmp_path / "module.py").write_text(PROGRAM)
    return run


def test_a_script_runs_as_python_would_run_it(run, tmp_path):
    outcome = run("--n-jobs", "3", "scripts/program.py", "--n-jobs", "x")
    assert outcome.stderr == ""
    assert outcome.stdout.split("\n")[:4] == [
        f"['scripts/program.py', '--n-jobs', 'x'] {tmp_path / 'scripts'}",
        "3 command_line",
        "__main__ True",
        "[0, 2, 4]",
    ]


def test_a_module_runs_as_python_would_run_it(run, tmp_path):
    outcome = run("--n_jobs=3", "-m", "module", "--help")
    assert outcome.stdout.split("\n")[:4] == [
        f"['{tmp_path / 'module.py'}', '--help'] {tmp_path}",
        "3 command_line",
        "__main__ True",
        "[0, 2, 4]",
    ]


IDENTITY = """
import atexit, os, pickle, sys, threading
class Mine: pass
os.chdir(os.path.dirname(__file__))
main = threading.current_thread()
threading.Thread(target=lambda: (main.join(), print(len(pickle.dumps(Mine())), flush=True))).start()
atexit.register(lambda: print(len(pickle.dumps(Mine())), flush=True))
print(__file__, sys.argv, sys.path[0], __name__, __package__, __spec__ and __spec__.name)
print(sys.modules["__main__"].__dict__ is globals(), sorted(globals()))
raise SystemExit(3)
"""


@pytest.mark.parametrize(
    "program",
    [
        ["tools/identity.py"],
        ["link.py"],
        ["tools/identity.pyc"],
        ["tools"],
        ["tools.pyz"],
        ["-m", "tools"],
        ["-m", "tools.identity"],
    ],
    ids=" ".join,
)
def test_a_program_finds_itself_where_it_does_under_python(run, tmp_path, program):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("identity.py", "__main__.py"):
        (tools / name).write_text(IDENTITY)
    py_compile.compile(str(tools / "identity.py"), str(tools / "identity.pyc"))
    (tmp_path / "link.py").symlink_to(tools / "identity.py")
    (tmp_path / "inside.py").write_text(IDENTITY.replace("os.path.dirname(__file__)", "os.sep"))
    with zipfile.ZipFile(tmp_path / "tools.pyz", "w") as archive:
        archive.write(tmp_path / "inside.py", "__main__.py")
    plain = subprocess.run(
        [sys.executable, *program, "x"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (plain.returncode, plain.stderr) == (3, "")
    outcome = run(*program, "x")
    assert (outcome.stdout, outcome.stderr, outcome.returncode) == (plain.stdout, "", 3)


@pytest.mark.skipif(os.name == "nt", reason="a working folder can't be deleted there")
@pytest.mark.skipif(sys.version_info[:3] == (3, 13, 0), reason="it can't import socket there itself")
def test_a_module_runs_where_the_working_folder_is_gone(tmp_path):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "some.py").write_text("print('ran')")
    path = os.pathsep.join([str(tmp_path / "modules"), *filter(None, sys.path)])
    program = "import os; os.rmdir(os.getcwd()); from parallelcfg.cli import main; main()"
    (tmp_path / "gone").mkdir()
    outcome = subprocess.run(
        [sys.executable, "-c", program, "run", "-m", "some"],
        cwd=tmp_path / "gone",
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.stdout == "ran\n"


def test_standard_input_runs_as_python_would_run_it(run):
    outcome = run("-", "a", stdin=PROGRAM)
    assert outcome.stdout.split("\n")[:4] == ["['-', 'a'] ", "9 set_config", "__main__ True", "[0, 2, 4]"]


def test_parameters_of_backends_can_be_options(run):
    program = "from parallelcfg import get_config; print(dict(get_config().backends['loky']))"
    outcome = run("--backends.loky.idle_worker_timeout", "5", "--backends.loky.env=none", "-", stdin=program)
    assert outcome.stdout == "{'idle_worker_timeout': 5, 'env': None}\n"


@pytest.mark.parametrize(
    ("program", "code", "tail"),
    [
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('bye')", 1, "bye"),
        ("raise ValueError('x')", 1, "ValueError: x"),
        ("def f(:", 1, "SyntaxError"),
    ],
)
def test_it_ends_as_the_program_does(run, tmp_path, program, code, tail):
    (tmp_path / "ends.py").write_text(program)
    outcome = run("ends.py")
    assert outcome.returncode == code
    assert tail in outcome.stderr
    assert "parallelcfg" not in outcome.stderr
    assert "runpy" not in outcome.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ((), 2, "nothing to run: expected a SCRIPT, -m MODULE or - for standard input"),
        (("-m",), 2, "nothing to run"),
        (("--n-jobs",), 2, "--n-jobs needs a value"),
        (("--njobs", "3", "x.py"), 2, "no key for the option --njobs; did you mean '--n-jobs'?"),
        (("-n", "3", "x.py"), 2, "no key for the option -n"),
        (("--n-jobs.x", "3", "x.py"), 2, "no key for the option --n-jobs.x"),
        (("--backends..x", "3", "x.py"), 2, "no key for the option --backends..x"),
        (("nowhere.py",), 2, "no file 'nowhere.py'"),
        (("-m", "nowhere"), 1, "No module named nowhere"),
        (
            ("--n-jobs", "0", "--verbose", "x", "scripts/program.py"),
            1,
            "--verbose x: expected an integer >= 0",
        ),
    ],
)
def test_wrong_usage_and_wrong_values_are_told_before_anything_runs(run, args, code, message):
    outcome = run(*args)
    assert (outcome.returncode, outcome.stdout) == (code, "")
    assert message in outcome.stderr


def test_problems_of_the_configuration_stop_the_program_from_starting(run):
    outcome = run("scripts/program.py", PARALLEL_N_JOBS="0")
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert "environment variable PARALLEL_N_JOBS='0': expected an integer other than 0" in outcome.stderr


def test_get_imports_nothing_that_takes_time(tmp_path):
    """A tenth of a second is spent on start-up in shell scripts, not half of one."""
    program = (
        "import sys\n"
        "from parallelcfg.cli import main\n"
        "sys.argv = ['parallelcfg', 'get', 'n_jobs']\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = {'pydantic', 'numpy', 'rich', 'tomlkit', 'loky', 'multiprocessing'}\n"
        "    print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout == "none\n[]\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--strict", "."], "; . was taken for the value of --strict"),
        (["."], "no __main__.py in the folder '.'"),
        (["nowhere.py"], "no file 'nowhere.py'"),
    ],
)
def test_nothing_to_run_is_told_with_the_reason(run, args, said):
    outcome = run(*args)
    assert (outcome.returncode, said in outcome.stderr) == (2, True)


def test_a_program_may_register_the_backend_that_a_file_names(run, tmp_path):
    program = """
from parallelcfg import Parallel, delayed, register_parallel_backend
from parallelcfg.backends.threads import ThreadsBackend
register_parallel_backend("own", ThreadsBackend)
print(Parallel(n_jobs=2)(delayed(abs)(-x) for x in range(3)))
"""
    outcome = run("-", stdin=program, PARALLEL_BACKEND="own")
    assert (outcome.stdout, outcome.stderr) == ("[0, 1, 2]\n", "")
