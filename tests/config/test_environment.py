from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg import ConfigError, ConfigWarning, get_config
from parallelcfg.config import context
from parallelcfg.config.environ import RESERVED, read, variable_name
from parallelcfg.config.keys import KEYS
from parallelcfg.config.machine import Machine
from parallelcfg.config.spelling import from_text, from_untyped_text, to_text, to_untyped_text


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("N_JOBS", "4", 4),
        ("N_JOBS", " -1 ", -1),
        ("N_JOBS", "none", None),
        ("N_JOBS", "NULL", None),
        ("N_JOBS", "", None),
        ("BACKEND", "threading", "threading"),
        ("MAX_NBYTES", "none", None),
        ("MAX_NBYTES", "1M", 2**20),
        ("MAX_NBYTES", "1.5K", 1536),
        ("MAX_NBYTES", "1000", 1000),
        ("TIMEOUT", "2.5", 2.5),
        ("TIMEOUT", "1e3", 1000.0),
        ("TIMEOUT", "3", 3.0),
        ("STRICT", "true", True),
        ("STRICT", "Yes", True),
        ("STRICT", "on", True),
        ("STRICT", "1", True),
        ("STRICT", "OFF", False),
        ("STRICT", "0", False),
        ("PROGRESS", "tqdm", "tqdm"),
        ("PROGRESS", "no", False),
        ("BATCH_SIZE", "auto", "auto"),
        ("BATCH_SIZE", "7", 7),
        ("PRE_DISPATCH", "all", "all"),
        ("PRE_DISPATCH", "3*n_jobs", "3*n_jobs"),
        ("PRE_DISPATCH", "12", 12),
        ("TEMP_FOLDER", "/4", "/4"),
        ("MMAP_MODE", "none", None),
        ("SEED", "123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_a_documented_spelling_has_the_documented_value(world, name, text, value):
    world.environ[f"PARALLEL_{name}"] = text
    found = getattr(get_config(), name.lower())
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("N_JOBS", "4.0", "expected an integer other than 0 or none"),
        ("N_JOBS", "4_0", "expected an integer other than 0 or none"),
        ("N_JOBS", "0", "expected an integer other than 0"),
        ("N_JOBS", "\N{FULLWIDTH DIGIT FOUR}", "expected an integer other than 0 or none"),
        ("STRICT", "maybe", "expected true or false"),
        ("STRICT", "none", "expected true or false"),
        ("MMAP_MODE", "z", "expected 'r', 'r+', 'w+', 'c' or none"),
        ("TIMEOUT", "nan", "expected seconds > 0 or none"),
        ("TIMEOUT", "1e999", "expected seconds > 0 or none"),
        ("BACKENDS", "{dask = ", "no TOML value"),
        ("BACKENDS", "dask", "expected a table of backends' parameters"),
        ("BACKENDS__DASK", "3", "expected a table of its parameters"),
        ("BACKENDS__RAY__ARGS", "[1,\n2", "no TOML value"),
        ("BACKENDS__LOKY__ENV__MKL_DYNAMIC", "false", "say PARALLEL_BACKENDS__LOKY__ENV='{NAME = VALUE}'"),
        ("BACKENDS__RAY__ARGS", "'''\n'''\nn_jobs = 3", None),
        ("BACKENDS__RAY__ARGS", "[1]\nn_jobs = 3", "no TOML value: more than one line"),
    ],
)
def test_a_wrong_value_names_the_variable(world, name, text, expected):
    world.environ[f"PARALLEL_{name}"] = text
    if expected is None:
        with pytest.raises(ConfigError):
            get_config()
        return
    text_of_error = world.problems()
    assert f"environment variable PARALLEL_{name}={text!r}: " in text_of_error
    assert expected in text_of_error


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tcp://head:8786", "tcp://head:8786"),
        ("3", 3),
        ("0", 0),
        ("1", 1),
        ("2.5", 2.5),
        ("true", True),
        ("none", None),
        ("{num_gpus = 1}", {"num_gpus": 1}),
        ('["a", 2]', ["a", 2]),
        ('"3"', "3"),
        ("'4'", "4"),
    ],
)
def test_a_backends_parameter_reads_as_what_it_looks_like(world, text, value):
    world.environ["PARALLEL_BACKENDS__LOKY__X"] = text
    assert get_config().backends["loky"]["x"] == value


@pytest.mark.parametrize(
    "name",
    ["PARALLEL_NJOBS", "PARALLEL_N_JOBS__X", "PARALLEL_BACKENDS__", "PARALLEL___", "PARALLEL_PROFILES"],
)
def test_an_unknown_variable_is_told(world, name):
    world.environ[name] = "1"
    with pytest.warns(ConfigWarning, match=f"environment variable {name}='1': no key has this name"):
        get_config()


@pytest.mark.parametrize(
    "name",
    [
        *("PARALLEL", "PARALLEL_PID", "PARALLEL_SEQ", "PARALLEL_JOBSLOT", "PARALLEL_RANK", "PARALLEL_HOME"),
        *("PARALLEL_TMP", "PARALLEL_TMPDIR", "PARALLEL_SSH", "PARALLEL_SSHLOGIN", "PARALLEL_SSHHOST"),
        *(
            "PARALLEL_ARGFILE",
            "PARALLEL_ARG1",
            "PARALLEL_IGNORED_NAMES",
            "PARALLEL_ENV",
            "PARALLEL_ENVIRONMENT",
        ),
        *("parallel_n_jobs", "XPARALLEL_N_JOBS", *RESERVED),
    ],
)
def test_variables_of_others_are_left_alone(name):
    assert read({name: "1"}, KEYS, ["backends"]) == ([], [])


def test_gnu_parallels_variables_cause_no_warning(world):
    world.environ.update(PARALLEL_PID="1", PARALLEL_SEQ="2", PARALLEL="-j4")
    assert get_config().sources == {}


@pytest.mark.parametrize("name", list(KEYS))
def test_every_keys_variable_is_found(name):
    variables, unknown = read({variable_name((name,)): "x"}, KEYS, ["backends"])
    assert ([one.path for one in variables], unknown) == ([(name,)], [])


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
plain = scalars | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
values = st.lists(plain.filter(lambda value: value is not None), max_size=3) | st.dictionaries(
    st.text(string.ascii_letters, min_size=1), plain.filter(lambda value: value is not None), max_size=3
)


@given(plain | values)
def test_a_parameter_survives_its_spelling_as_text(value):
    found = from_untyped_text(to_untyped_text(value))
    assert (found, type(found)) == (value, type(value))


@given(scalars)
def test_a_scalar_survives_its_spelling_as_text(value):
    found = from_text(to_text(value), {type(value)}, nullable=True)
    assert (found, type(found)) == (value, type(value))


@given(st.text(max_size=20), st.sampled_from(list(KEYS)))
def test_no_text_of_a_variable_escapes_as_another_error(text, key):
    machine = Machine(environ={variable_name((key,)): text}, uid=None)
    with context.using_machine(machine), contextlib.suppress(ConfigError):
        assert getattr(get_config(), key) is not Ellipsis
