"""Tasks in columns are the same tasks."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg import delayed
from parallelcfg.core import gathering
from parallelcfg.core.gathering import columns, take
from parallelcfg.core.messages import call_text

values = st.integers() | st.text(max_size=3) | st.none()
calls = st.tuples(
    st.sampled_from([abs, len, max]),
    st.lists(values, max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(["a", "b"]), values, max_size=2),
)
uniform = st.lists(st.tuples(st.just(abs), st.tuples(values), st.just({})), min_size=1, max_size=20)
mixed = st.lists(calls, min_size=1, max_size=20)


@given(uniform | mixed, st.integers(0, 5))
def test_columns_and_back(tasks, first):
    batch = columns(first, tasks)
    assert list(batch.calls()) == tasks
    assert [batch.at(position) for position in range(len(batch))] == tasks
    assert list(batch.indices) == list(range(first, first + len(tasks)))
    assert batch.attempt == 1


@given(uniform | mixed, st.data())
def test_a_subset_has_the_tasks_of_its_positions(tasks, data):
    positions = data.draw(st.lists(st.sampled_from(range(len(tasks))), unique=True, min_size=1))
    subset = columns(0, tasks).subset(positions, attempt=2)
    assert list(subset.calls()) == [tasks[position] for position in positions]
    assert list(subset.indices) == positions
    assert subset.attempt == 2
    again = subset.subset([len(positions) - 1], attempt=3)
    assert list(again.calls()) == [tasks[positions[-1]]]
    assert list(again.indices) == positions[-1:]


@given(uniform | mixed)
def test_mapping_reaches_every_argument(tasks):
    mapped = columns(0, tasks).mapped(lambda value: [value])
    expected = [
        (function, tuple([a] for a in args), {k: [v] for k, v in kwargs.items()})
        for function, args, kwargs in tasks
    ]
    assert list(mapped.calls()) == expected


@given(mixed, st.integers(1, 30), st.integers(1, 4))
def test_taking_in_slices_gives_what_one_slice_gives(tasks, size, slice_size):
    before, gathering._SLICE = gathering._SLICE, slice_size
    try:
        source = iter(tasks)
        batch, exhausted = take(source, size, 10)
    finally:
        gathering._SLICE = before
    assert batch is not None
    assert list(batch.calls()) == tasks[:size]
    assert exhausted is (size > len(tasks))
    assert list(source) == tasks[size:]


def test_an_exhausted_source_gives_no_batch():
    assert take(iter(()), 5, 0) == (None, True)


def test_what_the_source_raises_passes():
    def source():
        yield delayed(abs)(1)
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        take(source(), 5, 0)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (abs, "forget delayed"),
        (delayed(abs), "forget delayed"),
        (7, "of type int"),
        ("abc", "of type str"),
        ((abs, (1,)), "of type tuple"),
        ((abs, [1], {}), "of type tuple"),
        ((abs, (1,), [("key", 1)]), "of type tuple"),
        (("abs", (1,), {}), "of type tuple"),
        (None, "of type NoneType"),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 300])
def test_an_item_that_is_no_task_is_named_by_position_and_type(item, words, before):
    source = [*[delayed(abs)(-1)] * before, item, delayed(abs)(-2)]
    with pytest.raises(TypeError, match=rf"task {7 + before} is .*{words}"):
        take(iter(source), len(source), 7)


@pytest.mark.parametrize("error", [TypeError("mine"), ValueError("mine"), KeyError("mine")])
@pytest.mark.parametrize("before", [0, 3, 300])
def test_what_the_iterator_raises_is_its_own(error, before):
    def source():
        yield from [delayed(abs)(-1)] * before
        raise error

    with pytest.raises(type(error)) as caught:
        take(source(), before + 1, 0)
    assert caught.value is error


@pytest.mark.parametrize("before", [0, 1, 300])
def test_a_task_unlike_the_others_is_taken_once(before):
    tasks = [*[delayed(abs)(-1)] * before, delayed(pow)(2, 3), *[delayed(abs)(-2)] * 3]
    source = iter([*tasks, "not looked at"])
    batch, exhausted = take(source, len(tasks), 0)
    assert [(function, args) for function, args, _ in batch.calls()] == [task[:2] for task in tasks]
    assert not exhausted
    assert list(source) == ["not looked at"]


def test_one_function_is_kept_once():
    batch = columns(0, [delayed(abs)(i) for i in range(100)])
    assert len(batch.functions) == 1
    assert len(batch.arguments) == 1
    assert len(batch.kwargs) == 0


class Rude:
    def __repr__(self):
        raise RuntimeError

    def __call__(self):
        return self


@given(st.lists(values | st.just(Rude()) | st.binary(max_size=300), max_size=8))
def test_the_text_of_a_call_is_short_and_never_fails(args):
    assert len(call_text(Rude(), args, {"key": Rude()})) <= 120


class Counter:
    def add(self, number):
        return number


def test_a_method_is_kept_once_though_it_is_made_anew_for_each_task():
    one, other = Counter(), Counter()
    assert len(columns(0, [delayed(one.add)(i) for i in range(9)]).functions) == 1
    assert len(columns(0, [delayed(each.add)(0) for each in (one, other)]).functions) == 2


def test_delayed_gives_each_function_its_own_tasks_in_turn():
    functions = [call_text, columns, call_text, take, take]
    assert [delayed(function)()[0] for function in functions] == functions


def test_delayed_keeps_no_closure_alive():
    def local():
        return None

    dropped = weakref.ref(local)
    delayed(local)()
    del local
    gc.collect()
    assert dropped() is None


@pytest.mark.parametrize("alike", [True, False])
def test_a_slow_source_is_left_with_what_it_gave(alike):
    given = []

    def source():
        for number in range(1000):
            given.append(number)
            yield delayed(abs)(number) if alike else delayed((abs, len)[number % 2])(number)

    stream = source()
    batch, exhausted = take(stream, 500, 0, enough=lambda: len(given) >= 40)
    assert (len(batch), exhausted) == (63, False)  # it is looked after 1, 3, 7, ... tasks
    assert batch.indices == range(63)
    batch, exhausted = take(stream, 500, 63, enough=lambda: True)
    assert (len(batch), exhausted, list(batch.indices)) == (1, False, [63])
    batch, exhausted = take(stream, 2000, 64)
    assert (len(batch), exhausted) == (936, True)
    assert [args for _, args, _ in batch.calls()] == [(number,) for number in range(64, 1000)]
