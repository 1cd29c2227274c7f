from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg.config.layers import flatten, merge, nest, split
from parallelcfg.config.snapshot import Origin, Sourced
from parallelcfg.config.spelling import join

names = st.text(min_size=1, max_size=3)
leaves = st.integers() | st.text(max_size=2) | st.lists(st.integers(), max_size=2)
tables = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=6)
backends = st.dictionaries(names, st.dictionaries(names, tables, max_size=3), max_size=3)
layers = st.fixed_dictionaries({}, optional={"n_jobs": leaves, "verbose": leaves, "backends": backends})


def layer_of(table, name):
    plain = {key: value for key, value in table.items() if key != "backends"}
    found = {key: Sourced(value, Origin(name)) for key, value in plain.items()}
    if "backends" in table:
        nested = {"backends": table["backends"]}
        found |= {join(path): Sourced(value, Origin(name)) for path, value in flatten(nested, ())}
    return found


def naive(below, above):
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: naive(below.get(key), value) for key, value in above.items()}
    return above


def merged(tables_of_layers):
    chain = {}
    for number, table in enumerate(tables_of_layers):
        chain = merge(chain, layer_of(table, f"layer {number}"), {})
    return chain


@given(st.lists(layers, max_size=5))
def test_any_set_of_layers_merges_as_nested_dicts_would(stack):
    expected = {}
    for table in stack:
        expected = naive(expected, table)
    chain = merged(stack)
    assert nest(chain, "backends") == expected.get("backends", {})
    assert {key: said.value for key, said in chain.items() if key in {"n_jobs", "verbose"}} == {
        key: value for key, value in expected.items() if key != "backends"
    }


@given(st.lists(layers, max_size=5))
def test_history_holds_what_every_layer_said_highest_first(stack):
    chain = merged(stack)
    for key in ("n_jobs", "verbose"):
        said = [(table[key], f"layer {number}") for number, table in enumerate(stack) if key in table]
        if said:
            assert [(one.value, one.origin.layer) for one in chain[key].history] == said[::-1]


@given(st.lists(names, min_size=1, max_size=4).map(tuple))
def test_a_path_survives_its_dotted_form(path):
    assert split(join(path)) == path


@pytest.mark.parametrize("key", ["", ".", "a.", ".a", "a..b", 'a."b', '"a"b', 'a"b"'])
def test_what_is_no_dotted_key_is_refused(key):
    with pytest.raises(ValueError, match="dotted key"):
        split(key)


def test_a_quoted_part_may_hold_dots_and_quotes():
    assert split(r'backends."a.b \" c".x') == ("backends", 'a.b " c', "x")


def test_locked_values_stay_and_remember_who_tried():
    locked = {"n_jobs": Sourced(2, Origin("locked"))}
    chain = merge(locked, {"n_jobs": Sourced(8, Origin("call"))}, {})
    assert chain["n_jobs"].value == 2
    assert [one.value for one in chain["n_jobs"].shadowed] == [8]


@pytest.mark.parametrize("said", [{"x": {"y": 1}}, {"x": 1}])
def test_a_locked_table_and_a_locked_leaf_keep_their_place(said):
    locked = (
        {"backends.dask.x": Sourced(5, Origin("locked"))}
        if "y" in str(said)
        else {"backends.dask.x.y": Sourced(5, Origin("locked"))}
    )
    above = layer_of({"backends": {"dask": said}}, "call")
    assert merge(locked, above, {}).keys() == locked.keys()


def test_a_leaf_that_replaces_a_table_shadows_what_stood_in_it():
    chain = merged([{"backends": {"ray": {"args": {"a": 1}}}}, {"backends": {"ray": {"args": 5}}}])
    assert [one.value for one in chain["backends.ray.args"].shadowed] == [1]


def test_a_default_is_the_last_thing_that_is_shadowed():
    defaults = {"verbose": Sourced(0, Origin("default"))}
    chain = merge({}, {"verbose": Sourced(3, Origin("user"))}, defaults)
    assert json.dumps([one.value for one in chain["verbose"].history]) == "[3, 0]"


@given(
    st.lists(
        st.tuples(st.sampled_from(["system", "user", "call"]), st.none() | st.integers(1, 99)), min_size=1
    )
)
def test_the_lowest_ceiling_wins_whatever_the_order(ceilings):
    chain = {}
    for name, height in ceilings:
        chain = merge(chain, {"max_jobs": Sourced(height, Origin(name))}, {})
    heights = [height for _, height in ceilings if height is not None]
    assert chain["max_jobs"].value == (min(heights) if heights else None)
    assert len(chain["max_jobs"].history) == len(ceilings)
