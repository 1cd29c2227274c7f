"""What `show` writes, read back."""

from __future__ import annotations

import shlex
import warnings

import pytest
import tomli
from hypothesis import example, given
from hypothesis import strategies as st

from parallelcfg import get_config
from parallelcfg.cli.written import env_lines, toml_lines
from parallelcfg.config.context import using_machine
from parallelcfg.config.explanation import explain_all
from parallelcfg.config.keys import KEYS
from parallelcfg.config.machine import Machine
from parallelcfg.config.process import current
from parallelcfg.config.spelling import to_toml

texts = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["007", "1", "true", "None", " 7", "nan", "[", '"x"', "a=b #c", "line\nline", "\0", "\x7f"]
)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats()
scalars = st.booleans() | numbers | texts | st.dates() | st.times() | st.datetimes()
bare = st.sampled_from(["x", "two_words", "a__b", "_x", "X", "MKL_DYNAMIC"])
names = bare | st.sampled_from(["a.b", "a b", "a-b", "é", "😀", '"', "\x7f", ""])
values = st.recursive(
    scalars, lambda below: st.lists(below, max_size=3) | st.dictionaries(names, below, max_size=3)
)
tables = st.dictionaries(
    names | st.sampled_from(["loky", "dask"]), st.dictionaries(names, values, max_size=4), max_size=3
)
keys = st.fixed_dictionaries(
    {},
    optional={
        "n_jobs": st.integers(1, 10**6) | st.integers(max_value=-1),
        "max_nbytes": st.just("none") | st.integers(min_value=0) | st.sampled_from(["1M", "1.5K"]),
        "timeout": st.just("none") | st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        "pre_dispatch": st.integers(min_value=1) | st.sampled_from(["all", "3*n_jobs"]),
        "progress": st.booleans() | st.sampled_from(["tqdm", "log"]),
        "mmap_mode": st.sampled_from(["none", "r+"]),
        "backends": tables,
    },
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("written") / "parallel.toml"


def in_order(value):
    """The same whatever the order of names; as text, since nan is not nan."""
    return {name: in_order(value[name]) for name in sorted(value)} if hasattr(value, "keys") else repr(value)


def read(environ):
    """What a machine with these variables has in force, and what `show` writes there."""
    with warnings.catch_warnings(), using_machine(Machine(environ=environ, uid=None)):
        warnings.simplefilter("ignore")  # nobody knows such backends
        config = get_config()
        explained = list(explain_all(config, current().resolver.reader))
        said = {key: in_order(getattr(config, key)) for key in KEYS}
        return said, "\n".join(toml_lines(explained, shadowed=True)), list(env_lines(config))


@given(keys)
@example({"backends": {"dask": {"address": "x", "resources": {"GPU": 1}, "retries": 2}}})
@example({"backends": {"loky": {"env": {"MKL_DYNAMIC": "false", "BUILD": "007"}}, "mine": {}}})
def test_what_is_written_reads_back_as_the_same_configuration(file, keys):
    file.write_text("\n".join(f"{key} = {to_toml(value)}" for key, value in keys.items()), encoding="utf-8")
    said, as_toml, as_variables = read({"PARALLEL_CONFIG": str(file)})
    file.write_text(as_toml, encoding="utf-8")
    assert read({"PARALLEL_CONFIG": str(file)})[0] == said
    (assigned,) = zip(*(shlex.split(line) for line in as_variables), strict=True)
    environ = dict(assignment.split("=", 1) for assignment in assigned)
    assert not [name for name in environ if not name.isidentifier() or not name.isascii()]
    assert read({**environ, "PARALLEL_NO_CONFIG": "1"})[0] == said


def test_every_value_of_a_file_has_a_line_and_an_origin_of_its_own(command):
    command.write("parallel.toml", "backends.dask = {resources = {GPU = 1}, retries = 2}")
    text = command("show", "--format", "toml").out
    assert "\n[backends.dask]\nresources.GPU = 1  # project: parallel.toml:1:31\nretries = 2  # " in text
    assert tomli.loads(text)["backends"] == {"dask": {"resources": {"GPU": 1}, "retries": 2}}
