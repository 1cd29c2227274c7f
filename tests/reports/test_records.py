"""Records of batches: bounded in number, exact in sum."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from parallelcfg.report.records import BatchRecord, History, WorkerSummary


def batches(workers, count):
    return [
        BatchRecord(f"w{i % workers}", float(i), i + 0.5, 0.25, tasks=i % 7, failed=i % 2, first=i)
        for i in range(count)
    ]


@given(workers=st.integers(1, 12), count=st.integers(0, 300), limit=st.integers(4, 50))
def test_a_history_keeps_sums_whatever_it_joins(workers, count, limit):
    history = History(limit)
    written = batches(workers, count)
    for batch in written:
        history.add(batch)
    kept = list(history)
    for total in ("tasks", "failed", "seconds"):
        assert sum(getattr(one, total) for one in kept) == sum(getattr(one, total) for one in written)
    assert sum(one.batches for one in kept) == count
    sizes = [one.tasks for one in written] or [0]
    assert history.sizes == (min(sizes), max(sizes))
    assert sum(one.tasks for one in history.workers.values()) == sum(sizes)
    assert len(kept) == history.kept <= max(limit, 4 * workers)


@given(count=st.integers(1, 200))
def test_records_of_a_worker_stay_in_order_and_apart(count):
    history = History(limit=10)
    for batch in batches(1, count):
        history.add(batch)
    lane = history.lanes["w0"]
    assert all(one.ended <= other.started for one, other in pairwise(lane))


def test_workers_that_live_for_one_batch_do_not_make_every_batch_expensive():
    history = History(limit=4)
    for batch in batches(100, 100):
        history.add(batch)
    assert history.limit >= history.kept == 100


def test_a_worker_is_summed_up():
    first = BatchRecord("w", 3.0, 4.0, 0.5, 10, failed=1, peak_rss=500)
    worker = WorkerSummary.of("w", [first, BatchRecord("w", 1.0, 2.0, 0.25, 5, peak_rss=300)])
    assert (worker.batches, worker.tasks, worker.failed, worker.busy_seconds) == (2, 15, 1, 0.75)
    assert (worker.wall_seconds, worker.peak_rss) == (3.0, 500)
