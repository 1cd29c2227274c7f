"""The extension in a real Jupyter kernel, and the example notebook."""

import json
import os
import re
from contextlib import contextmanager
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

EXAMPLE = Path(__file__).parents[2] / "examples" / "notebook.ipynb"
PREPARE = """
%load_ext parallelcfg
from parallelcfg import Parallel, delayed, get_config, set_config
import asyncio
import parallelcfg
"""

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of jupyter's own packages
    pytest.mark.timeout(240),
]


class Notebook:
    """Runs cells one after another and gives what they show."""

    def __init__(self, client):
        self._client = client

    def run(self, source):
        cell = nbformat.v4.new_code_cell(source)
        self._client.nb.cells.append(cell)
        self._client.execute_cell(cell, len(self._client.nb.cells) - 1)
        return cell.outputs

    def value(self, source):
        """The text of a cell's value."""
        outputs = self.run(source)
        return next(out.data["text/plain"] for out in outputs if out.output_type == "execute_result")

    def error(self, source):
        return next(out for out in self.run(source) if out.output_type == "error")


@contextmanager
def new_kernel():
    os.environ.pop("PYTEST_CURRENT_TEST")  # with it, ipykernel would let the output of workers go elsewhere
    empty = nbformat.v4.new_notebook()
    client = nbclient.NotebookClient(empty, allow_errors=True, kernel_name="python3", timeout=90)
    with client.setup_kernel():
        notebook = Notebook(client)
        assert notebook.run(PREPARE) == []
        yield notebook


@pytest.fixture(scope="module")
def kernel():
    with new_kernel() as notebook:
        yield notebook


@pytest.fixture
def notebook(kernel):
    kernel.run("%parallel n_jobs=2 backend=loky")
    yield kernel
    kernel.run("%parallel reset")


def test_the_line_magic_shows_the_configuration(notebook):
    (shown,) = notebook.run("%parallel")
    assert "<table>" in shown.data["text/html"]
    assert "%parallel" in shown.data["text/html"]


def test_settings_hold_in_every_cell_also_with_await(notebook):
    assert notebook.value("get_config().n_jobs") == "2"
    assert notebook.value("await asyncio.sleep(0)\nget_config().n_jobs") == "2"
    notebook.run("handle = set_config(verbose=3)\nawait asyncio.sleep(0)")
    assert notebook.value("get_config().verbose") == "3"
    notebook.run("handle.reset()")


def test_reset_takes_back_what_the_magic_has_set(notebook):
    notebook.run("%parallel reset")
    assert notebook.value("get_config().n_jobs, get_config().verbose") == "(None, 0)"


def test_the_cell_magic_holds_for_one_cell_which_stays_a_cell(notebook):
    outputs = notebook.run("%%parallel n_jobs=1\nawait asyncio.sleep(0)\nprint(get_config().n_jobs)\n'last'")
    assert [out.get("text", "") or out.data["text/plain"] for out in outputs] == ["1\n", "'last'"]
    assert notebook.value("get_config().n_jobs") == "2"


def test_a_cell_that_fails_leaves_nothing_behind_and_keeps_its_line_numbers(notebook):
    error = notebook.error("%%parallel n_jobs=1\n\nraise ValueError")
    assert any("line 3" in line or "3 \x1b" in line or ":3" in line for line in error.traceback)
    assert notebook.value("get_config().n_jobs") == "2"


def test_the_cell_magic_works_below_another_one(notebook):
    outputs = notebook.run("%%capture captured\n%%parallel n_jobs=1\nprint(get_config().n_jobs)")
    assert outputs == []
    assert notebook.value("captured.stdout, get_config().n_jobs") == "('1\\n', 2)"


@pytest.mark.parametrize("other", ["%%time", "%%capture captured"])
def test_the_cell_magic_works_above_another_one(notebook, other):
    outputs = notebook.run(f"%%parallel n_jobs=1\n{other}\nseen = get_config().n_jobs\n'last'")
    assert [out.output_type for out in outputs if out.output_type == "error"] == []
    assert notebook.value("seen, get_config().n_jobs") == "(1, 2)"


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("inner", ["1", "1 / 0", "", "%%parallel n_jobs=5"])
def test_cells_that_a_cell_runs_do_not_end_its_settings(notebook, inner, silent):
    run = f"get_ipython().run_cell({inner!r}, silent={silent})"
    notebook.run(f"%%parallel n_jobs=3\n{run}\nseen = get_config().n_jobs")
    assert notebook.value("seen, get_config().n_jobs") == "(3, 2)"


@pytest.mark.parametrize("silent", [False, True])
def test_settings_end_with_a_cell_that_another_one_runs(notebook, silent):
    inner = "%%parallel n_jobs=5\nseen = get_config().n_jobs"
    notebook.run(f"get_ipython().run_cell({inner!r}, silent={silent})\nafter = get_config().n_jobs")
    assert notebook.value("seen, after") == "(5, 2)"


def test_what_widgets_do_in_other_threads_does_not_end_a_cells_settings(notebook):
    notebook.run(
        "%%parallel n_jobs=3\n"
        "import threading\n"
        "other = threading.Thread(target=get_ipython().events.trigger, args=['post_execute'])\n"
        "other.start()\n"
        "other.join()\n"
        "seen = get_config().n_jobs"
    )
    assert notebook.value("seen, get_config().n_jobs") == "(3, 2)"


@pytest.mark.parametrize(
    ("typed", "status"),
    [
        ("%%parallel n_jobs=2", "incomplete"),
        ("%%parallel n_jobs=2\nx = 1", "incomplete"),
        ("%%parallel n_jobs=2\nx = 1\n\n", "complete"),
        ("%parallel n_jobs=2", "complete"),
    ],
)
def test_at_a_prompt_a_blank_line_ends_the_cell(notebook, typed, status):
    assert notebook.value(f"get_ipython().check_complete({typed!r})[0]") == repr(status)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("%parallel n_jbos=3", "unknown key 'n_jbos' (did you mean 'n_jobs'?)"),
        ("%parallel n_jobs=many", "expected an integer other than 0"),
        ("%parallel n_jobs", "expected KEY=VALUE, got 'n_jobs'"),
        ("%parallel n_jobs=3 n_jobs=4", "n_jobs is said twice, '3' and '4'"),
    ],
)
def test_slips_are_explained(notebook, line, text):
    error = notebook.error(line)
    assert error.ename == "ConfigError"
    assert text in error.evalue
    assert notebook.value("get_config().n_jobs") == "2"


@pytest.mark.parametrize(
    "source",
    [
        "%parallel njobs=4",
        "%parallel n_jobs='4",
        "Parallel(n_jobs=0)",
        "set_config(n_jobs=0)",
        "Parallel(prefer='processes', require='sharedmem')",
        "Parallel(n_jobs=2)(delayed(int)(x) for x in 'ab')",
        "Parallel(n_jobs=2)(int(x) for x in '12')",
        "list(Parallel(n_jobs=2, return_as='generator')(delayed(int)(x) for x in 'ab'))",
    ],
)
def test_tracebacks_hide_all_of_this_package_but_the_line_that_raised(notebook, source):
    shown = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(notebook.error(source)["traceback"]))
    assert "Cell In[" in shown
    assert "skipping hidden" in shown
    assert len(re.findall(r"File .*parallelcfg[/\\]\w+(?:[/\\]\w+)*\.py", shown)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "Parallel(n_jobs=2, backend='threading')(delayed(lambda x: 1 / x)(x) for x in (1, 0))",
        "Parallel(n_jobs=1)(delayed(lambda x: 1 / x)(x) for x in (1, 0))",
        "Parallel(n_jobs=2)(delayed(abs)(1 / x) for x in (1, 0))",
        "def tell(event):\n    1 / 0\nParallel(n_jobs=1, progress=tell)([delayed(abs)(1)])",
    ],
    ids=["thread", "one job", "source", "progress"],
)
def test_tracebacks_that_end_in_a_cell_hide_all_of_this_package(notebook, source):
    shown = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(notebook.error(source)["traceback"]))
    assert shown.count("Cell In[") >= 2
    assert re.findall(r"File .*parallelcfg[/\\]\w+(?:[/\\]\w+)*\.py", shown) == []


def test_a_workers_traceback_has_the_cells_code(notebook):
    source = "def invert(x):\n    return 1 / x\nParallel(n_jobs=2)(delayed(invert)(x) for x in (1, 0))"
    shown = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(notebook.error(source)["traceback"]))
    assert re.search(r"line 2, in invert\n    return 1 / x\n", shown)


def test_a_place_in_a_cell_has_the_cells_name(notebook):
    notebook.run("handle = set_config(retries=1)")
    told = notebook.value("import parallelcfg; parallelcfg.explain('retries')")
    notebook.run("handle.reset()")
    assert re.search(r"set_config +1 +Cell In\[\d+\]:1", told)
    error = notebook.error("Parallel(n_jobs=0)")
    assert re.match(r"1 problem in the configuration\n  Cell In\[\d+\]:1: n_jobs=0", error["evalue"])


def test_a_magic_tells_what_counts_all_the_same(notebook):
    notebook.run("opened = parallelcfg.parallel_config(n_jobs=7)")
    (shown,) = notebook.run("%parallel n_jobs=2 backend=loky")
    notebook.run("opened.unregister()")
    assert shown.text.startswith("n_jobs = 7 counts all the same: parallel_config (Cell In[")
    assert notebook.run("%parallel n_jobs=2 backend=loky") == []


def test_a_magic_that_is_run_again_leaves_one_layer(notebook):
    for _ in range(3):
        notebook.run("%parallel n_jobs=2 backend=loky")
    assert notebook.value("parallelcfg.explain('n_jobs')").count("%parallel") == 1


def test_a_configuration_and_an_explanation_are_readable_as_text(notebook):
    assert notebook.value("get_config()") == "Config(backend='loky', n_jobs=2)"
    assert notebook.value("import parallelcfg; parallelcfg.explain('n_jobs')").split("\n")[0] == "n_jobs = 2"


def test_functions_of_cells_run_in_workers_and_may_be_redefined(notebook):
    call = "Parallel()(delayed(f)(x) for x in range(3))"
    assert notebook.value(f"def f(x):\n    return x + 1\n{call}") == "[1, 2, 3]"
    assert notebook.value(f"def f(x):\n    return x + 10\n{call}") == "[10, 11, 12]"


def test_output_of_workers_is_not_lost(notebook):
    notebook.run("def shout(x):\n    print('worker', x)")
    outputs = notebook.run("Parallel()(delayed(shout)(x) for x in range(3))")
    text = "".join(out.text for out in outputs if out.output_type == "stream")
    assert sorted(text.split()) == ["0", "1", "2", "worker", "worker", "worker"]


def test_progress_is_a_widget(notebook):
    outputs = notebook.run("Parallel(progress=True)(delayed(abs)(x) for x in range(3));")
    assert any("application/vnd.jupyter.widget-view+json" in out.get("data", {}) for out in outputs)


def test_a_trace_is_written_after_every_cell(notebook, tmp_path):
    file = tmp_path / "run.json"
    for calls in (1, 2):
        notebook.run(f"Parallel(n_jobs=2, trace={str(file)!r})(delayed(abs)(x) for x in range(3))")
        events = json.loads(file.read_text())["traceEvents"]
        assert len([event for event in events if event["ph"] == "b"]) == calls


def test_a_report_shows_its_timeline(notebook):
    outputs = notebook.run("p = Parallel()\np(delayed(abs)(x) for x in range(3))\np.report")
    assert "<svg" in outputs[-1].data["text/html"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%parallel n_j", ["n_jobs="]),
        ("%parallel n_jobs=2 verb", ["verbose="]),
        ("%%parallel backend=th", ["threading"]),
        ("%parallel prefer=", ["processes", "threads", "none"]),
        ("%parallel strict=f", ["false"]),
        ("%parallel nothing=", []),
    ],
)
def test_keys_and_values_are_completed(notebook, line, expected):
    code = f"""
        from IPython.core.completer import provisionalcompleter
        with provisionalcompleter():
            found = [one.text for one in get_ipython().Completer.completions({line!r}, {len(line)})]
        found
    """
    found = eval(notebook.value(code))
    assert found == expected or not expected  # then IPython offers what it knows itself
    assert expected or not {"processes", "true"} & set(found)


def test_unloading_takes_everything_back(kernel):
    kernel.run("%load_ext parallelcfg\n%parallel n_jobs=3\n%unload_ext parallelcfg")
    assert kernel.value("get_config().n_jobs is None") == "True"
    (shown,) = kernel.run("%parallel")
    assert "not found" in shown.text
    assert kernel.run("%reload_ext parallelcfg") == []


def test_no_file_outlives_a_kernel_that_is_shut_down(tmp_path):
    with new_kernel() as kernel:
        kernel.run(f"""
            import numpy as np
            from parallelcfg import shared_array
            shared = shared_array(4, temp_folder={str(tmp_path)!r})
            loop = Parallel(n_jobs=2, return_as="generator", temp_folder={str(tmp_path)!r})
            arrays = loop(delayed(np.ones)(10**6) for _ in range(4))
            first = next(arrays)
        """)
        assert len(list(tmp_path.iterdir())) == len(["shared", "arrays"])
    assert list(tmp_path.iterdir()) == []


def test_the_example_runs(monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    notebook = nbformat.read(EXAMPLE, as_version=4)
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=90).execute()
    texts = [out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", ())]
    assert any("Ada says hello" in text for text in texts)
