"""Batch sizes: rules, and what they make of synthetic work on simulated workers."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg.core.actions import Deliver, Finish, Limits, Pull, Submit
from parallelcfg.core.batching import Batcher
from parallelcfg.core.dispatch import Dispatcher
from parallelcfg.core.gathering import columns
from parallelcfg.core.outcome import Reply

times = st.floats(1e-7, 10.0)


class TestRules:
    def test_the_first_batches_have_one_task_each(self):
        batcher = Batcher("auto", workers=4)
        assert [batcher.size(remaining=1000) for _ in range(3)] == [1, 1, 1]

    @given(st.integers(1, 1000), times)
    def test_a_number_stays_what_it_is(self, size, seconds):
        batcher = Batcher(size, workers=2)
        batcher.observe(size, seconds, seconds, seconds)
        assert batcher.size(remaining=3) == size
        assert batcher.patience is None

    def test_a_function_is_asked_for_every_batch(self):
        sizes = iter([3, 5])
        batcher = Batcher(lambda: next(sizes), workers=2)
        assert [batcher.size(None), batcher.size(None)] == [3, 5]
        assert batcher.patience is None

    @given(st.lists(st.tuples(st.integers(1, 500), times, times, times), min_size=1, max_size=20))
    def test_sizes_are_bounded(self, seen):
        batcher = Batcher("auto", workers=3, ceiling=1000)
        for observation in seen:
            batcher.observe(*observation)
        largest = max(count for count, *_ in seen)
        assert 1 <= batcher.size(remaining=None) <= min(1000, 256 * largest)
        assert batcher.size(remaining=0) >= 1
        assert 0.01 <= batcher.target <= 0.2

    @given(times, times, times)
    def test_a_batch_of_which_nothing_was_run_teaches_nothing(self, compute, feed, overhead):
        batcher = Batcher("auto", workers=2)
        batcher.observe(0, compute, feed, overhead)
        assert batcher.size(None) == 1

    def test_long_tasks_travel_alone(self):
        batcher = Batcher("auto", workers=2)
        for _ in range(10):
            batcher.observe(1, compute=1.0, feed=1e-5, overhead=1e-3)
        assert batcher.size(None) == 1

    def test_many_workers_of_one_parent_get_batches_that_leave_it_time(self):
        batcher = Batcher("auto", workers=1000)
        batcher.observe(100, compute=1.0, feed=1e-4, overhead=1e-3)
        assert batcher.size(None) == 5  # fifty times the overhead
        for seconds in (0.3, 1e-3, 0.02):
            batcher.handed_over(seconds)
        assert batcher.target == 4.0  # a thousand batches take a second of it to hand over
        assert batcher.size(None) == 400
        batcher.workers = 10
        assert batcher.size(None) == 5

    def test_batches_are_longer_where_they_can_shrink_towards_the_end(self):
        batcher = Batcher("auto", workers=2, end_in_sight=True)
        batcher.observe(10, compute=0.01, feed=1e-5, overhead=2e-4)
        sizes = [batcher.size(remaining) for remaining in (10_000, 100, 10, 1)]
        assert sizes == [50, 25, 2, 1]

    def test_batches_grow_with_what_was_done_where_the_end_may_come_any_time(self):
        batcher, sizes = Batcher("auto", workers=2), []
        for seconds in (0.01, 1.0, 1.0, 10.0):
            batcher.observe(int(seconds * 1000), seconds, 1e-5, 2e-4)
            sizes.append(batcher.size(None))
        assert sizes == [10, 20, 40, 50]

    def test_what_is_slow_to_pack_is_not_lumped_together(self):
        batcher = Batcher("auto", workers=2)
        batcher.observe(1, compute=1e-6, feed=0.02, overhead=1e-3)
        assert batcher.size(None) == 1


@dataclass(frozen=True)
class Machine:
    """Costs, in seconds: of a batch on its way, and of a task in the parent."""

    workers: int
    overhead: float = 3e-4
    feed: float = 2e-6


def makespan(lengths: list[float], machine: Machine, *, known: bool = True) -> float:
    """Seconds from the first pull to the last result, in simulated time."""
    batcher = Batcher("auto", machine.workers, end_in_sight=known)
    limits = Limits(in_flight=2 * machine.workers)
    dispatcher = Dispatcher(batcher, limits, ordered=True, total=len(lengths) if known else None)
    now, parent_free = 0.0, 0.0
    free = [0.0] * machine.workers  # when each worker will have ended what it has
    events: list[tuple[float, int, Reply, float]] = []
    todo = deque(dispatcher.start())
    while True:
        while todo:
            action = todo.popleft()
            if isinstance(action, Finish):
                return now
            if isinstance(action, Deliver):
                continue
            parent_free = max(parent_free, now)
            if isinstance(action, Pull):
                first = dispatcher.pulled_count
                indices = range(first, min(first + action.size, len(lengths)))
                batch = columns(first, [(abs, (i,), {}) for i in indices]) if indices else None
                todo.extend(dispatcher.pulled(batch, exhausted=len(indices) < action.size))
                continue
            assert isinstance(action, Submit)
            parent_free += machine.feed * len(action.batch)
            start = max(heapq.heappop(free), parent_free + machine.overhead)
            seconds, ran = 0.0, 0
            for index in action.batch.indices:  # as a worker does: no further when its patience is over
                seconds, ran = seconds + lengths[index], ran + 1
                if batcher.patience is not None and seconds > batcher.patience:
                    break
            heapq.heappush(free, start + seconds)
            reply = Reply([None] * ran, ran, seconds=seconds)
            heapq.heappush(events, (start + seconds, action.batch_id, reply, parent_free))
        now, batch_id, reply, sent = heapq.heappop(events)
        batcher.observe(reply.ran, reply.seconds, machine.feed * reply.ran, now - sent - reply.seconds)
        todo.extend(dispatcher.done(batch_id, reply))


def efficiency(lengths: list[float], machine: Machine, *, known: bool = True) -> float:
    """How near this comes to single tasks at no cost, each in its turn to the first worker that is free."""
    free = [0.0] * machine.workers
    for length in lengths:
        heapq.heappush(free, heapq.heappop(free) + length)
    ideal = max(*free, machine.feed * len(lengths))
    return ideal / makespan(lengths, machine, known=known)


def heavy_tailed(count: int, mean: float) -> list[float]:
    random = Random(7)
    raw = [random.paretovariate(1.5) for _ in range(count)]
    return [mean * value * count / sum(raw) for value in raw]


def bimodal(count: int, short: float, long: float) -> list[float]:
    random = Random(7)
    return [long if random.random() < 0.02 else short for _ in range(count)]


WORK = {
    "trivial": [5e-6] * 100_000,
    "short": [1e-4] * 50_000,
    "medium": [0.01] * 1_000,
    "long": [1.0] * 64,
    "bimodal": bimodal(20_000, 1e-4, 0.05),
    "heavy-tailed": heavy_tailed(5_000, 5e-3),
    "rising": sorted(heavy_tailed(5_000, 5e-3)),
    "falling": sorted(heavy_tailed(5_000, 5e-3), reverse=True),
    "one long task at the end": [*[1e-4] * 20_000, 0.3],
}


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("work", WORK)
def test_automatic_batches_come_near_the_ideal(work, workers):
    assert efficiency(WORK[work], Machine(workers)) > 0.96


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("work", WORK)
def test_automatic_batches_come_near_the_ideal_without_a_known_length(work, workers):
    assert efficiency(WORK[work], Machine(workers), known=False) > 0.94


@pytest.mark.parametrize("work", ["trivial", "short"])
def test_automatic_batches_beat_single_tasks_by_far(work):
    machine = Machine(workers=4)
    single = len(WORK[work]) * (machine.overhead + WORK[work][0]) / machine.workers
    assert makespan(WORK[work], machine) < single / 3
