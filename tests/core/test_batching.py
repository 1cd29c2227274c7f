"""Batch sizes: rules, and what they make of synthetic work on simulated workers."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg.core.actions import Deliver, Divide, Finish, Limits, Pull, Submit
from parallelcfg.core.batching import Batcher
from parallelcfg.core.dispatch import Dispatcher
from parallelcfg.core.gathering import columns
from parallelcfg.core.outcome import Reply

times = st.floats(1e-7, 10.0)


class TestRules:
    def test_the_first_batches_have_one_task_each(self):
        batcher = Batcher("auto", workers=4)
        assert [batcher.size(remaining=1000) for _ in range(3)] == [1, 1, 1]

    @pytest.mark.parametrize("workers", [1, 2, 64])
    def test_a_long_queue_of_unknown_tasks_is_no_row_of_single_ones(self, workers):
        batcher, sizes = Batcher("auto", workers=workers, end_in_sight=True), []
        while sum(sizes) < 1_000_000:
            sizes.append(batcher.size(remaining=None, waiting=sum(sizes)))
        assert sizes[: 16 * workers] == [1] * 16 * workers
        assert all(size <= max(1, sum(sizes[:at]) / workers / 16) for at, size in enumerate(sizes))
        assert len(sizes) < 300 * workers

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

    def test_batches_are_longer_still_where_they_can_be_divided(self):
        for known in (True, False):
            batcher = Batcher("auto", workers=2, end_in_sight=known, divides=True)
            batcher.observe(10, compute=0.01, feed=1e-5, overhead=2e-4)
            sizes = [batcher.size(remaining) for remaining in (None, 10_000, 100, 10, 1)]
            assert sizes == [100, 100, 50, 5, 1]
            assert batcher.divisible == 2  # tasks of a millisecond

    def test_what_is_slow_to_pack_is_not_lumped_together(self):
        batcher = Batcher("auto", workers=2)
        batcher.observe(1, compute=1e-6, feed=0.02, overhead=1e-3)
        assert batcher.size(None) == 1


@dataclass(frozen=True)
class Machine:
    """Costs, in seconds: of a batch on its way, of a task in the parent, and of a batch there, each way."""

    workers: int
    overhead: float = 3e-4
    feed: float = 2e-6
    handing: float = 2e-5


class Simulation:
    """One call in simulated time.

    Parameters
    ----------
    lengths : list of float
        What each task takes, in seconds.
    machine : Machine
        What everything else takes.
    known : bool
        Whether the number of tasks is known.
    divides : bool
        Whether a batch can be divided while it runs.
    """

    def __init__(self, lengths: list[float], machine: Machine, *, known: bool, divides: bool) -> None:
        self.lengths, self.machine = lengths, machine
        self.batcher = Batcher("auto", machine.workers, end_in_sight=known, divides=divides)
        limits = Limits(in_flight=2 * machine.workers)
        total = len(lengths) if known else None
        self.dispatcher = Dispatcher(self.batcher, limits, ordered=True, total=total, divides=divides)
        self.now = self.parent_free = 0.0
        self.todo: deque[Pull | Submit | Divide] = deque()
        self.idle = machine.workers
        self.waiting: deque[tuple[float, Submit]] = deque()
        self.running: dict[int, tuple[float, float, list[float]]] = {}  # sent, begun, when each task ends
        self.ends: list[tuple[float, int]] = []

    def makespan(self) -> float:
        """Seconds from the first pull to the last result."""
        actions = self.dispatcher.start()
        while Finish() not in actions:
            self.todo.extend(action for action in actions if not isinstance(action, Deliver))
            if self.todo and (not self.ends or self.parent_free <= self.ends[0][0]):
                self.now = max(self.now, self.parent_free)
                actions = self.perform(self.todo.popleft())
            else:
                self.now, batch_id = heapq.heappop(self.ends)
                last = self.running[batch_id][2][-1] if batch_id in self.running else None
                actions = self.end(batch_id) if last == self.now else []  # else it was divided since
        return self.now

    def perform(self, action: Pull | Submit | Divide) -> list[Any]:
        if isinstance(action, Pull):
            first = self.dispatcher.pulled_count
            indices = range(first, min(first + action.size, len(self.lengths)))
            batch = columns(first, [(abs, (i,), {}) for i in indices]) if indices else None
            return self.dispatcher.pulled(batch, exhausted=len(indices) < action.size)
        if isinstance(action, Divide):
            return self.divide(action)
        self.batcher.handed_over(self.machine.handing)
        self.parent_free = self.now + self.machine.feed * len(action.batch) + self.machine.handing
        self.waiting.append((self.parent_free, action))
        self.begin()
        return []

    def begin(self) -> None:
        while self.idle and self.waiting:
            self.idle -= 1
            sent, submit = self.waiting.popleft()
            begun = time = max(self.now, sent + self.machine.overhead)
            ends = []
            for index in submit.batch.indices:  # as a worker does: no further when its patience is over
                ends.append(time := time + self.lengths[index])
                if self.batcher.patience is not None and time - begun > self.batcher.patience:
                    break
            self.running[submit.batch_id] = sent, begun, ends
            heapq.heappush(self.ends, (time, submit.batch_id))

    def divide(self, action: Divide) -> list[Any]:
        candidates = {}
        for batch_id in action.sizes.keys() & self.running.keys():
            _, begun, ends = self.running[batch_id]
            claimed = 1 + bisect_right(ends, self.now) if begun <= self.now else 0
            candidates[batch_id] = action.sizes[batch_id] - claimed
        batch_id = max(candidates, key=candidates.__getitem__, default=None)
        if batch_id is None or candidates[batch_id] < action.least:
            return self.dispatcher.divided(None, 0)
        kept = action.sizes[batch_id] - (candidates[batch_id] + 1) // 2
        ends = self.running[batch_id][2]
        if kept < len(ends):
            del ends[kept:]
            heapq.heappush(self.ends, (ends[-1], batch_id))
        return self.dispatcher.divided(batch_id, kept)

    def end(self, batch_id: int) -> list[Any]:
        sent, begun, ends = self.running.pop(batch_id)
        self.parent_free = max(self.parent_free, self.now) + self.machine.handing
        self.idle += 1
        self.begin()
        ran, seconds = len(ends), ends[-1] - begun
        self.batcher.observe(ran, seconds, self.machine.feed * ran, self.now - sent - seconds)
        return self.dispatcher.done(batch_id, Reply([None] * ran, ran, seconds=seconds))


def efficiency(lengths: list[float], machine: Machine, *, known: bool = True, divides: bool = False) -> float:
    """How near this comes to single tasks at no cost, each in its turn to the first worker that is free."""
    free = [0.0] * machine.workers
    for length in lengths:
        heapq.heappush(free, heapq.heappop(free) + length)
    ideal = max(*free, machine.feed * len(lengths))
    return ideal / Simulation(lengths, machine, known=known, divides=divides).makespan()


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


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("work", WORK)
def test_batches_that_can_be_divided_come_nearer_known_or_not(work, workers, known):
    assert efficiency(WORK[work], Machine(workers), known=known, divides=True) > 0.96


def uniform(count: int, mean: float) -> list[float]:
    random = Random(7)
    return [mean * random.uniform(0.5, 1.5) for _ in range(count)]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("workers", "tasks"),
    [(100, uniform), (100, heavy_tailed), (1_000, uniform), (1_000, heavy_tailed), (10_000, uniform)],
)
def test_many_workers_are_kept_busy_by_one_parent(workers, tasks, known):
    work = tasks(4 * workers, mean=2.0)
    assert efficiency(work, Machine(workers), known=known) > 0.97


@pytest.mark.parametrize("divides", [True, False])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("count", "mean"), [(400, 0.02), (1_000, 0.005), (3_000, 0.001)])
def test_the_first_to_end_are_the_shortest_which_misleads_nobody_for_long(count, mean, known, divides):
    random = Random(7)
    work = [random.expovariate(1 / mean) for _ in range(count)]
    assert efficiency(work, Machine(workers=64), known=known, divides=divides) > 0.85


@pytest.mark.parametrize("known", [True, False])
def test_short_tasks_of_many_workers_are_put_together(known):
    work = uniform(100_000, mean=0.05)
    assert efficiency(work, Machine(workers=1_000), known=known) > 0.95


@pytest.mark.parametrize("work", ["trivial", "short"])
def test_automatic_batches_beat_single_tasks_by_far(work):
    machine = Machine(workers=4)
    single = len(WORK[work]) * (machine.overhead + WORK[work][0]) / machine.workers
    assert Simulation(WORK[work], machine, known=True, divides=False).makespan() < single / 3
