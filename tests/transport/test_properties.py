"""The pure parts, against models."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parallelcfg.transport.layout import has_raw_bytes, pieces, plan, span
from parallelcfg.transport.ledger import Ledger


@st.composite
def views(draw):
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=6))
    dtype = draw(st.sampled_from(["?", "u1", ">i2", "f8", "S3", "V5", "M8[s]"]))
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    array = (np.arange(count) % (2 if dtype == "?" else 251)).astype("u1").view(dtype).reshape(shape)
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    if array.ndim:
        array = array[draw(hnp.basic_indices(array.shape, allow_newaxis=True, allow_ellipsis=True))]
    array = np.asarray(array)
    if draw(st.booleans()):
        array = np.broadcast_to(array, (draw(st.integers(1, 4)), *array.shape))
    return array


@given(views(), st.booleans())
def test_an_array_can_be_seen_again_in_its_bytes(array, overlap):
    if not has_raw_bytes(array):
        assert array.size == 0
        return
    layout, chunks = plan(array, overlap=overlap)
    content = b"".join(chunks())
    assert len(content) == layout.nbytes
    assert b"".join(chunks()) == content
    seen = layout.view(np.ndarray, content)
    assert seen.shape == array.shape
    assert seen.dtype == array.dtype
    assert seen.tobytes() == array.tobytes()
    if overlap:
        assert len(content) <= array.nbytes
    else:
        assert len(content) == array.nbytes


@given(views())
def test_the_span_of_an_array_is_the_memory_between_its_outermost_elements(array):
    if array.size == 0:
        return
    places = np.asarray(array.__array_interface__["data"][0])
    for length, stride in zip(array.shape, array.strides, strict=True):
        places = np.add.outer(places, np.arange(length) * stride)
    assert span(array) == (places.min(), places.max() - places.min() + array.itemsize)


@given(views())
def test_pieces_are_the_elements_in_order(array):
    if array.size:
        assert b"".join(pieces(array)) == array.tobytes()


def test_large_arrays_come_in_pieces():
    for shape in [(3_000_000,), (3, 1_000_000), (1, 1, 3_000_000), (3_000_000, 1)]:
        array = np.arange(6_000_000).reshape(*shape, 2)[..., 0]
        sizes = [len(piece) for piece in pieces(array)]
        assert sum(sizes) == array.nbytes
        assert max(sizes) <= 1 << 22
    huge = np.zeros(3, "V5000000")
    assert [len(piece) for piece in pieces(huge)] == [5_000_000] * 3


class Thing:
    """Something that can die. Its number is never another's, as its address may be."""

    _numbers = itertools.count()

    def __init__(self):
        self.number = next(self._numbers)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("release"), st.integers(0, 3)),
        st.tuples(st.just("die"), st.integers(0, 3)),
    ),
    max_size=30,
)


@given(STEPS)
def test_a_file_is_obsolete_exactly_when_object_and_batches_are_gone(steps):
    ledger, things = Ledger(), [Thing() for _ in range(4)]
    users, files, removed = {}, {}, set()
    for number, (step, *rest) in enumerate(steps):
        if step == "use":
            batch, key = rest
            entry = ledger.find(key, things[key])
            if entry is None:
                entry = ledger.add(key, "value", f"file {number}", things[key], weak=True)
                files[entry.path] = key, things[key].number
                users[entry.path] = set()
            path = entry.path
            ledger.use(entry, batch)
            users[path].add(batch)
        elif step == "release":
            ledger.release(rest[0])
            for batches in users.values():
                batches.discard(rest[0])
        else:
            things[rest[0]] = Thing()
        new = list(ledger.obsolete())
        assert removed.isdisjoint(new)
        removed.update(new)
        alive = {(key, thing.number) for key, thing in enumerate(things)}
        expected = {path for path, owner in files.items() if owner not in alive and not users[path]}
        assert removed == expected


def test_entries_that_hold_their_object_live_as_long_as_batches():
    ledger = Ledger()
    held = Thing()
    ledger.use(ledger.add("k", "v", "file", held, weak=False), 1)
    assert ledger.find("k", Thing()).value == "v"
    assert list(ledger.obsolete()) == []
    ledger.release(1)
    assert list(ledger.obsolete()) == ["file"]
    assert ledger.find("k", held) is None
    ledger.release(1)
    assert list(ledger.obsolete()) == []
