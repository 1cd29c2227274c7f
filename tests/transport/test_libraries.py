"""Buffers of other libraries, there and back, with the real libraries."""

import numpy as np
import pytest

from parallelcfg.transport import load

N = 5000


def _round_trip(sharing, obj):
    there = load.loads(sharing.dumps(obj))
    back = sharing.loads(load.dumps(there, sharing.ticket))
    return there, back


def test_pandas_frames(make_sharing, arena_files):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "x": np.arange(N, dtype=float),
            "y": np.arange(N),
            "when": pd.date_range("2020-01-01", periods=N, freq="min"),
            "kind": pd.Categorical(["a", "b"] * (N // 2)),
            "text": [f"row {i}" for i in range(N)],
        }
    )
    sharing = make_sharing()
    there, back = _round_trip(sharing, frame)
    assert there.equals(frame)
    pd.testing.assert_frame_equal(back, frame)
    assert sharing.bytes_shared >= 2 * 3 * 8 * N
    assert all("result" not in path for path in arena_files())
    back.loc[0, "x"] = -1.0
    back["z"] = back["x"] + 1
    assert frame.loc[0, "x"] == 0


def test_pandas_series_and_index(make_sharing):
    pd = pytest.importorskip("pandas")
    series = pd.Series(np.arange(N) * 1.5, index=pd.Index(np.arange(N) * 2), name="s")
    for got in _round_trip(make_sharing(), series):
        pd.testing.assert_series_equal(got, series)


def test_scipy_sparse_matrices(make_sharing):
    sparse = pytest.importorskip("scipy.sparse")
    matrix = sparse.random(500, 400, density=0.2, format="csr", rng=np.random.default_rng(0))
    sharing = make_sharing()
    there, back = _round_trip(
        sharing, {"csr": matrix, "csc": matrix.tocsc(), "array": sparse.csr_array(matrix)}
    )
    for got in (there, back):
        assert {type(value).__name__ for value in got.values()} == {"csr_matrix", "csc_matrix", "csr_array"}
        for value in got.values():
            assert (value != matrix).nnz == 0
    assert type(there["csr"].data) is np.memmap
    assert type(back["csr"].data) is np.ndarray
    back["csr"].data[:] = 0
    assert (there["csr"] @ np.ones(400)).sum() == pytest.approx(matrix.sum())


def test_pyarrow_tables(make_sharing, arena_files):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"i": np.arange(N), "s": [f"text {i}" for i in range(N)], "l": [[i] for i in range(N)]})
    sharing = make_sharing()
    there, back = _round_trip(sharing, table)
    assert there.equals(table)
    assert back.equals(table)
    assert sharing.bytes_shared > 2 * 8 * N
    assert all("result" not in path for path in arena_files())


def test_a_table_in_many_batches_is_written_once_and_goes_with_the_last(make_sharing, arena_files):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"i": np.arange(N)})
    sharing = make_sharing()
    for batch in range(3):
        sharing.dumps([table, batch], user=batch)
    assert sharing.bytes_shared == 8 * N
    for batch in range(3):
        assert len(arena_files()) == 1
        sharing.release(batch)
    assert arena_files() == []


def test_parts_of_one_table_share_their_memory_on_both_sides(make_sharing, arena_files):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"i": np.arange(N), "j": np.arange(N)})
    parts = [table, table.select(["i"]), table.slice(10), table.to_batches(max_chunksize=500)]
    sharing = make_sharing()
    there, back = _round_trip(sharing, parts)
    assert there == back == parts
    assert sharing.bytes_shared == 2 * table.nbytes
    assert all("result" not in path for path in arena_files())
    for got in (there, back):
        assert len({part["i"].chunk(0).buffers()[1].address for part in got[:3]}) == 1


def test_polars_frames(make_sharing):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"i": np.arange(N), "s": [f"text {i}" for i in range(N)]})
    for got in _round_trip(make_sharing(), frame):
        assert got.equals(frame)


def test_torch_tensors(make_sharing):
    torch = pytest.importorskip("torch")
    tensor = torch.arange(N, dtype=torch.float64).reshape(50, -1)
    for got in _round_trip(make_sharing(), tensor):
        assert torch.equal(got, tensor)


class Owner:
    """Something with a buffer of its own, as :pep:`574` wants it."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        import pickle

        return Owner, (pickle.PickleBuffer(self.data),)


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_buffers_of_any_type(kind, make_sharing, arena_files):
    data = kind(range(256)) * 40
    sharing = make_sharing()
    there, back = _round_trip(sharing, [Owner(data), lambda: None])
    assert sharing.bytes_shared == 2 * len(data)
    for got in (there[0].data, back[0].data):
        view = memoryview(got)
        assert view.readonly == (kind is bytes)
        assert view == data
    if kind is bytearray:
        memoryview(there[0].data)[0] = 9
        assert data[0] == 0
        assert load.loads(sharing.dumps(Owner(data))).data[0] == 0


def test_a_writable_buffer_that_comes_twice_arrives_as_two(make_sharing, arena_files):
    data = bytearray(5000)
    sharing = make_sharing()
    twice = [Owner(data), Owner(data)]
    there, back = load.loads(sharing.dumps(twice)), sharing.loads(load.dumps(twice, sharing.ticket))
    assert all("result" not in path for path in arena_files())
    for first, second in (there, back):
        memoryview(first.data)[0] = 1
        assert (first.data[0], second.data[0], data[0]) == (1, 0, 0)


def test_small_buffers_stay_in_the_pickle(make_sharing, tmp_path):
    there = load.loads(make_sharing().dumps(Owner(b"small")))
    assert there.data == b"small"
    assert list(tmp_path.iterdir()) == []


def test_buffers_that_are_not_contiguous_say_so(make_sharing):
    from parallelcfg.errors import TaskNotPicklable

    with pytest.raises(TaskNotPicklable, match="contiguous"):
        make_sharing().dumps(Owner(memoryview(bytes(5000))[::2]))
