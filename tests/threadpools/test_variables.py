"""The environment of a worker: what it says about inner threads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg.threadpools.variables import INHERITED, VARIABLES, environment_for, size_in, sizes_for

SIZES = st.integers(1, 64)
ENVIRONMENTS = st.dictionaries(
    st.sampled_from([*VARIABLES, "GOTO_NUM_THREADS"]), SIZES.map(str) | st.sampled_from(["", "x", "0", "4,2"])
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4", 4), (" 4 ", 4), ("4,2", 4), ("", 0), ("0", 0), ("-1", 0), ("x", 0), ("٣", 0), ("9" * 5000, 0)],
)
def test_the_outermost_size_counts(text: str, size: int) -> None:
    assert size_in(text) == size


def test_every_variable_is_set_to_the_limit_where_nothing_was_said() -> None:
    assert environment_for(3, {}) == dict.fromkeys(VARIABLES, "3") | {INHERITED: ""}


def test_an_inherited_size_above_the_limit_is_lowered() -> None:
    assert environment_for(2, {"OMP_NUM_THREADS": "8"})["OMP_NUM_THREADS"] == "2"


def test_an_inherited_size_below_the_limit_stays() -> None:
    assert environment_for(4, {"POLARS_MAX_THREADS": "1"})["POLARS_MAX_THREADS"] == "1"


def test_an_explicit_limit_beats_what_was_inherited() -> None:
    made = environment_for(4, {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "8"}, explicit=True)
    assert {made[name] for name in VARIABLES} == {"4"}


def test_blas_follows_openmp_where_it_has_no_word_of_its_own() -> None:
    made = environment_for(4, {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "3"})
    assert (made["OPENBLAS_NUM_THREADS"], made["MKL_NUM_THREADS"], made["RAYON_NUM_THREADS"]) == (
        "2",
        "3",
        "4",
    )


def test_a_list_of_sizes_stays_whole_where_it_fits() -> None:
    assert environment_for(4, {"OMP_NUM_THREADS": "4,2"})["OMP_NUM_THREADS"] == "4,2"
    assert environment_for(3, {"OMP_NUM_THREADS": "4,2"})["OMP_NUM_THREADS"] == "3"


@given(limit=SIZES, environ=ENVIRONMENTS)
def test_no_pool_exceeds_the_limit(limit: int, environ: dict[str, str]) -> None:
    sizes = sizes_for(limit, environ)
    assert set(sizes) == set(VARIABLES)
    assert all(1 <= size <= limit for size in sizes.values())


@given(first=SIZES, second=SIZES, environ=ENVIRONMENTS, explicit=st.booleans())
def test_a_worker_remembers_the_users_wish_through_any_first_limit(first, second, environ, explicit) -> None:
    worker = environ | environment_for(first, environ, explicit=explicit)
    assert sizes_for(second, worker) == sizes_for(second, environ)
    nested = worker | environment_for(second, worker)
    assert nested[INHERITED] == worker[INHERITED]
