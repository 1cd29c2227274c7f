from __future__ import annotations

import html
import inspect
import json
import re

import pytest

from parallelcfg import ConfigError, Parallel, explain, get_config, parallel_config, set_config
from parallelcfg.config import policy
from parallelcfg.config.context import resolve_call


def here():
    frame = inspect.currentframe().f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def test_an_explanation_reads_as_documented(world):
    world.write("system", "\n\n\n\nmax_jobs = 8")
    world.write("project", "\n\nn_jobs = 4")
    world.environ["PARALLEL_N_JOBS"] = "16"
    config, place = get_config(n_jobs=64), here()
    width = len(place)
    assert str(explain("n_jobs", config)).split("\n") == [
        "n_jobs = 8   (clamped by max_jobs; 64 was asked for)",
        f"  call           64   {place}   clamped",
        f"  environment    16   {'PARALLEL_N_JOBS':<{width}}   shadowed",
        f"  project         4   {'parallel.toml:3:1':<{width}}   shadowed",
        f"  max_jobs        8   {world.root}/system/parallel.toml:5:1",
        "  default      null",
    ]


def test_a_task_tells_a_lock_beyond_the_ceiling_once(world):
    world.write("system", "max_jobs = 2\n[locked]\nn_jobs = 3")
    assert [(step.layer, step.verdict) for step in explain("n_jobs", get_config().for_tasks()).steps] == [
        ("locked", "clamped"),
        ("system", "limit"),
    ]


@pytest.mark.parametrize("names", [{}, {"__name__": None}, {"__name__": 3}])
def test_code_that_is_in_no_module_is_a_caller(world, names):
    source = compile("config = get_config(n_jobs=2)", "<made up>", "exec")
    made = {**names, "get_config": get_config}
    exec(source, made)
    assert explain("n_jobs", made["config"]).steps[0].origin == "<made up>:1"


def test_every_layer_of_code_names_its_line(world):
    set_config(verbose=1)
    place_of_set = here()
    with parallel_config(verbose=2):
        place_of_context = here()
        steps = explain("verbose", get_config(verbose=3)).steps
        place_of_call = here()
    before = lambda place, lines: place.rpartition(":")[0] + f":{int(place.rpartition(':')[2]) - lines}"
    assert [step.origin for step in steps] == [
        before(place_of_call, 1),
        before(place_of_context, 1),
        before(place_of_set, 1),
        "",
    ]


def test_a_nested_key_has_its_own_place(world):
    world.write(
        "project", '[backends]\ndask = { address = "a", "b.c" = 2 }\n[backends.loky]\nidle_worker_timeout = 3'
    )
    assert explain("backends.dask.address").winner.origin == "parallel.toml:2:10"
    assert explain('backends.dask."b.c"').winner.origin == "parallel.toml:2:25"
    assert explain("backends.loky.idle_worker_timeout").winner.origin == "parallel.toml:4:1"


def test_a_table_is_explained_by_its_parts(world):
    world.write("project", '[backends.dask]\naddress = "a"\nx = 1')
    explanation = explain("backends.dask")
    assert explanation.value == {"address": "a", "x": 1}
    assert [part.key for part in explanation.parts] == ["backends.dask.address", "backends.dask.x"]
    assert str(explanation).count("parallel.toml:") == 2
    assert explain("backends").value == {"dask": {"address": "a", "x": 1}}


def test_parameters_of_the_call_are_explained_too(world):
    config = resolve_call({}, {"idle_worker_timeout": 3})
    assert explain("backend_params.idle_worker_timeout", config).value == 3


def test_an_empty_table_is_a_default(world):
    assert (explain("backends").value, explain("backends").winner.layer) == ({}, "default")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("njobs", r"unknown key 'njobs' \(did you mean 'n_jobs'\?\)"),
        ("backends.dask", "no layer says 'backends.dask'"),
        ("", "unknown key ''"),
        ("n_jobs.x", "unknown key 'n_jobs.x'"),
    ],
)
def test_what_is_no_key_is_an_error_with_a_suggestion(world, key, message):
    with pytest.raises(ConfigError, match=message):
        explain(key)


@pytest.mark.parametrize("key", [None, 3, b"n_jobs"])
def test_what_is_no_text_is_no_key(world, key):
    with pytest.raises(TypeError, match=f"takes the name of a key as text, got {key!r}"):
        explain(key)


def test_negative_jobs_say_what_they_come_to(world):
    from parallelcfg import cpu_count

    assert explain("n_jobs", get_config(n_jobs=-1)).note.startswith(f"{cpu_count()} on this machine")


def test_places_of_a_file_that_has_gone_are_kept(world):
    file = world.write("project", "\nn_jobs = 4")
    get_config()
    file.unlink()
    assert explain("n_jobs").winner.origin == "parallel.toml:2:1"


def test_json_round_trips_with_every_documented_field(world):
    world.write("project", "n_jobs = 4")
    with parallel_config("threading", n_jobs=2, progress=print):
        data = explain("n_jobs").as_dict()
        progress = explain("progress").as_dict()
    assert json.loads(json.dumps(data)) == data
    documented = "key value default type layer origin file line column env locked shadowed"
    assert set(documented.split()) <= set(data)
    assert (data["value"], data["layer"], data["locked"]) == (2, "parallel_config", False)
    assert data["shadowed"][0]["origin"] == "parallel.toml:1:1"
    assert progress["value"] == repr(print)


def test_html_shows_the_same_and_escapes_it(world):
    world.write("project", "temp_folder = '/<b>'")
    page = explain("temp_folder")._repr_html_()
    assert html.escape('"/<b>"') in page
    assert "parallel.toml:1:1" in page
    assert "<b>" not in page


def test_the_html_of_a_config_has_what_was_said_first(world):
    world.write("project", "verbose = 3\n[backends.dask]\naddress = 'x'")
    page = get_config()._repr_html_()
    assert page.index("verbose") < page.index("backends.dask.address") < page.index("n_jobs")
    assert page.count("<tr>") > 20


def test_the_html_of_a_config_says_what_a_ceiling_took(world):
    world.write("system", "max_jobs = 2")
    world.write("project", "n_jobs = 16")
    assert ">2 (clamped by max_jobs; 16 was asked for)</td>" in get_config()._repr_html_()


def test_notebooks_do_not_align_the_html_right_nor_break_it():
    for page in (get_config()._repr_html_(), explain("n_jobs")._repr_html_()):
        cells = re.findall(r"<(?:caption|th|td)[ >][^<]*", page)
        assert len(cells) > 4
        assert all('style="text-align:left;white-space:nowrap"' in cell for cell in cells)


@pytest.mark.parametrize(
    ("n_jobs", "cpus", "max_jobs", "expected"),
    [
        (None, 8, None, (1, False)),
        (-1, 8, None, (8, False)),
        (-9, 8, None, (1, False)),
        (64, 2, 8, (8, True)),
    ],
)
def test_jobs_are_counted_and_clamped(n_jobs, cpus, max_jobs, expected):
    assert policy.clamp(n_jobs, cpus, max_jobs) == expected


def test_a_count_from_above_says_which_limit_decided(world, monkeypatch):
    world.environ["PARALLEL_N_JOBS"] = "-1"
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert str(explain("n_jobs")).startswith(
        "n_jobs = -1   (1 on this machine, decided by SLURM_CPUS_PER_TASK)"
    )


def test_a_loop_can_be_explained_as_it_is(world):
    assert explain("n_jobs", Parallel(n_jobs=3, backend="threading")).value == 3
    with pytest.raises(TypeError, match=r"explain\(\) takes a Config or a Parallel, got 3"):
        explain("n_jobs", 3)
