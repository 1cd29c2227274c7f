from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg import get_config, parallel_config
from parallelcfg.config import context
from parallelcfg.config.declared import DECLARED
from parallelcfg.config.fields import FIELDS
from parallelcfg.config.generate import generated
from parallelcfg.config.keys import DEFAULTS, KEYS
from parallelcfg.config.machine import Machine
from parallelcfg.config.schema import environment_table, example, file_schema, markdown_table
from parallelcfg.config.settings import format_size, parse_size

ROOT = Path(__file__).parents[2]
TOMBI = Path(sys.executable).with_name("tombi")


@pytest.mark.parametrize("file", list(generated(ROOT)), ids=lambda file: file.name)
def test_a_derived_file_has_not_drifted(file):
    text = generated(ROOT)[file]
    assert file.read_text(encoding="utf-8") == text, "run python -m parallelcfg.config.generate"


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(file_schema())


def violations(text):
    return [
        error.message
        for error in jsonschema.Draft202012Validator(file_schema()).iter_errors(tomli.loads(text))
    ]


def uncommented(text):
    return "\n".join(
        line.removeprefix("# ") if not line.startswith("##") else line for line in text.split("\n")
    )


def test_the_schema_accepts_the_example_with_every_key_in_force(world):
    text = uncommented(example("")).partition("What stands here")[2].partition("\n")[2].partition("\n")[2]
    assert set(tomli.loads(text)) == {*KEYS, "profiles", "locked"}
    assert violations(text) == []
    world.write("system", text)
    assert get_config().sources.keys() >= set(KEYS) - {"backends"}


def test_what_the_example_shows_are_the_defaults(world):
    text = uncommented(example("")).partition("What stands here")[2].partition("\n")[2].partition("\n")[2]
    world.write("system", text.partition("[backends")[0])
    config = get_config()
    assert {key: getattr(config, key) for key in KEYS} == {key: said.value for key, said in DEFAULTS.items()}


@pytest.mark.parametrize("file", [*ROOT.glob("examples/**/parallel.toml"), ROOT / "parallel.toml.example"])
def test_the_schema_accepts_every_example_of_the_repository(file):
    assert violations(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "n_jbos = 1",
        "n_jobs = 0",
        "n_jobs = true",
        "n_jobs = '4'",
        "mmap_mode = 'z'",
        "max_nbytes = '1X'",
        "timeout = 0",
        "strict = 'none'",
        "pre_dispatch = 0",
        "[profiles.a]\nn_jbos = 1",
        "[locked]\nretries = -1",
        "backends = {dask = 3}",
    ],
)
def test_the_schema_and_the_loader_refuse_the_same(world, text):
    assert violations(text)
    world.write("system", text)
    world.problems()


ODD_SIZES = [
    "10 M",
    " 1M",
    "+1M",
    "-0M",
    ".5M",
    "1.M",
    "1e3M",
    "1_0M",
    "1m",
    "1MB",
    "\N{ARABIC-INDIC DIGIT ONE}M",
]
ODD_SIZES += ["9" * 301 + "M"]
ODD_SUMS = [
    "2 * n_jobs # two",
    "0x10",
    "1e2",
    "2 if 1",
    "\N{FULLWIDTH LATIN SMALL LETTER N}_jobs",
    "1+" * 50 + "1",
]


@pytest.mark.parametrize(
    ("key", "text"),
    [*(("max_nbytes", one) for one in ODD_SIZES), *(("pre_dispatch", one) for one in ODD_SUMS)],
)
def test_the_schema_and_the_loader_refuse_the_same_texts(world, key, text):
    assert violations(f"{key} = '{text}'")
    world.write("system", f"{key} = '{text}'")
    assert f"system/parallel.toml:1:{len(key) + 4}: " in world.problems()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(("max_nbytes", text) for text in ("1M", "1.5K", "0M", "9" * 40 + "T", "none")),
        *(
            ("pre_dispatch", text)
            for text in ("1.5 * n_jobs", "(n_jobs + 1) // 2 % 7", "n_jobs**2", "1_000", " 3\t")
        ),
    ],
)
def test_the_schema_and_the_loader_accept_the_same_texts(world, key, text):
    assert violations(f"{key} = '{text}'") == []
    world.write("system", f"{key} = '{text}'")
    get_config()


@pytest.mark.parametrize("key", list(KEYS))
def test_every_key_is_described_with_its_default(key):
    properties = file_schema()["$defs"]["keys"]["properties"]
    assert properties[key]["description"].endswith(".")
    assert "default" in properties[key]
    assert f"| `{key}` |" in markdown_table()


def test_the_table_of_variables_has_all_of_them():
    table = {row["name"]: row for row in environment_table()}
    assert {row["key"] for row in table.values()} == {*KEYS, None}
    assert table["PARALLEL_N_JOBS"]["default"] is None
    assert table["PARALLEL_MAX_NBYTES"]["default"] == "1M"
    json.dumps(environment_table())


def test_the_signature_of_a_context_has_every_key():
    parameters = inspect.signature(parallel_config).parameters
    assert [name for name in parameters if name != "backend_params"] == list(KEYS)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1536, 2**20, 3 * 2**30, 5 * 2**40])
def test_sizes_survive_their_short_form(size):
    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=0), st.integers(0, 200))
def test_no_size_is_rounded(number, zeros):
    assert parse_size(format_size(number << zeros)) == number << zeros
    assert parse_size(f"{number}K") == number * 1024


@pytest.mark.skipif(not TOMBI.exists(), reason="tombi is not installed")
@pytest.mark.parametrize(
    ("text", "accepted"), [("n_jobs = 4\n", True), ('n_jobs = "four"\n', False), ("n_jbos = 4\n", False)]
)
def test_an_editor_finds_the_schema_offline(tmp_path, text, accepted):
    shutil.copy(ROOT / "schemas/parallel.schema.json", tmp_path)
    file = tmp_path / "parallel.toml"
    file.write_text(f"#:schema ./parallel.schema.json\n{text}")
    outcome = subprocess.run(
        [TOMBI, "lint", "--offline", file], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (outcome.returncode == 0) == accepted, outcome.stdout + outcome.stderr


def test_documents_get_their_table_between_the_markers(tmp_path):
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- keys:begin -->\nold\n<!-- keys:end -->\nafter\n")
    text = generated(tmp_path)[document]
    assert text == f"before\n<!-- keys:begin -->\n{markdown_table()}\n<!-- keys:end -->\nafter\n"


def test_a_machine_can_be_made_up_without_files():
    with context.using_machine(Machine(environ={"PARALLEL_NO_CONFIG": "1"})):
        assert get_config().n_jobs is None


@given(st.sampled_from(sorted(KEYS)), st.data())
def test_what_passes_without_pydantic_is_what_pydantic_makes_of_it(name, data):
    facts = DECLARED[name]
    words = st.sampled_from([*facts.words, "none", "", "all", "1M", "Threading"])
    value = data.draw(
        st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.integers(), words, st.floats())
    )
    if KEYS[name].is_plainly_right(value):
        canonical = FIELDS[name].validate(value)
        assert (type(canonical), canonical) == (type(value), value)


@pytest.mark.parametrize("name", sorted(KEYS))
@pytest.mark.parametrize(
    "value", [print, lambda _: None, int, [].append], ids=["built-in", "lambda", "class", "method"]
)
def test_functions_pass_without_pydantic_where_they_pass_with_it(name, value):
    try:
        passes = FIELDS[name].validate(value) is value
    except ValueError:
        passes = False
    assert DECLARED[name].function == passes


@pytest.mark.parametrize("progress", ["False", "repr", "'log'"])
def test_a_plain_call_needs_no_pydantic(tmp_path, progress):
    program = (
        "import sys, parallelcfg\n"
        "with parallelcfg.parallel_config(backend='threading', n_jobs=2, verbose=0):\n"
        f"    parallelcfg.Parallel(batch_size=1, progress={progress})([parallelcfg.delayed(abs)(-1)])\n"
        "print(sorted({'pydantic', 'pydantic_settings', 'numpy'} & sys.modules.keys()))\n"
    )
    env = {name: text for name, text in os.environ.items() if not name.startswith("PARALLEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
