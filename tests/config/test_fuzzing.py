"""Whatever stands in a file or a variable: nothing but ConfigError comes out, and within a second."""

from __future__ import annotations

import contextlib
import time
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallelcfg import ConfigError, ConfigWarning, explain, get_config
from parallelcfg.config.keys import KEYS

fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=1000)

SYNTAX = ["[", "]", "[[", "]]", "{", "}", "=", ".", ",", '"', "'", '"""', "'''", "\n", "\r\n", "\r", " ", "#"]
WORDS = ["none", "profiles", "locked", "backends", "dask", "true", "[tool.parallelcfg]", "n_jobs = 2\n"]
VALUES = ["0", "-1", "1e999", "nan", "1979-05-27", "0x1F", "9" * 30, "\\u00e9", "\\", "\0", "é", "\ufeff"]
pieces = st.sampled_from([*KEYS, *SYNTAX, *WORDS, *VALUES])


def resolve_and_explain():
    with contextlib.suppress(ConfigError), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConfigWarning)  # of backends that nobody knows, for example
        config = get_config()
        for key in config.sources:
            str(explain(key))


@fuzz
@given(st.binary(max_size=200))
def test_any_bytes_in_a_file(world, content):
    world.write("project", content)
    resolve_and_explain()


@fuzz
@given(st.lists(pieces, max_size=25).map("".join))
def test_anything_that_looks_like_toml(world, content):
    world.write("user", content)
    resolve_and_explain()


values = st.recursive(
    st.sampled_from(["1", "0", "-1", '"none"', '"x"', "true", "1.5", "nan", "1979-05-27", "[]", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(["a", '"b.c"', "dask"]), inner, max_size=2).map(
            lambda table: f"{{{', '.join(f'{name} = {value}' for name, value in table.items())}}}"
        )
    ),
    max_leaves=6,
)


@fuzz
@given(st.dictionaries(st.sampled_from([*KEYS, "profiles", "locked", "other"]), values, max_size=6))
def test_any_value_for_any_key(world, table):
    world.write("system", "\n".join(f"{key} = {value}" for key, value in table.items()))
    resolve_and_explain()


@fuzz
@given(
    st.dictionaries(
        st.sampled_from([*KEYS, "profile", "config", "x"]), st.text(st.characters(exclude_characters="\0"))
    )
)
def test_any_text_in_any_variable(world, texts):
    world.environ.clear()
    world.environ.update({f"PARALLEL_{key.upper()}": text for key, text in texts.items()})
    with contextlib.suppress(Warning):
        resolve_and_explain()


MEGABYTE = 2**20


@pytest.mark.parametrize(
    "content",
    [
        "temp_folder = '" + "x" * MEGABYTE + "'",
        "pre_dispatch = '" + "n_jobs+" * (MEGABYTE // 7) + "1'",
        "max_nbytes = '" + "9" * MEGABYTE + "M'",
        "x" * MEGABYTE + " = 1",
        "n_jobs = " + "9" * MEGABYTE,
        "n_jobs = " + "[" * MEGABYTE,
        "a" + ".a" * (MEGABYTE // 64) + " = 1",
        "backends = " + "{a=" * 10000,
        "x = [" + "0," * (MEGABYTE // 2) + "]",
        '"""' * (MEGABYTE // 3),
        "[profiles.a]\n" + "\n".join(f"x{number} = 1" for number in range(20000)),
    ],
    ids=lambda content: content[:14],
)
def test_a_megabyte_is_judged_within_a_second(world, content):
    world.write("project", content)
    started = time.process_time()
    resolve_and_explain()
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "key", ["N_JOBS", "MAX_NBYTES", "PRE_DISPATCH", "BACKEND", "BACKENDS", "BACKENDS__A", "X"]
)
@pytest.mark.parametrize(
    "text", ["9" * MEGABYTE, "[" * MEGABYTE, "x" * MEGABYTE, "{a=" * (MEGABYTE // 3), "1" + "+1" * 1000]
)
@pytest.mark.filterwarnings("ignore::parallelcfg.ConfigWarning")
def test_a_megabyte_in_a_variable_is_judged_within_a_second(world, key, text):
    world.environ[f"PARALLEL_{key}"] = text
    started = time.process_time()
    resolve_and_explain()
    assert time.process_time() - started < 1
