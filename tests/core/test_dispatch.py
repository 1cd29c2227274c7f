"""The dispatcher against a simulated world: every task is delivered once, or the call fails."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallelcfg.core.actions import Abort, Deliver, Divide, Fault, Finish, Kill, Limits, Part, Pull, Submit
from parallelcfg.core.batching import Batcher
from parallelcfg.core.dispatch import Dispatcher
from parallelcfg.core.gathering import columns
from parallelcfg.core.outcome import Failure, Lost, Reply
from parallelcfg.core.states import State
from parallelcfg.errors import DeadlineExceeded, TaskTimeout, WorkerLost

if TYPE_CHECKING:
    from random import Random

    from parallelcfg.core.tasks import Batch


@dataclass
class World:
    """Performs what a dispatcher asks for, in an order and with accidents that a random generator decides.

    A task fails in as many of its first attempts as `failing` says. Tasks that `packing` refuses never leave.
    """

    random: Random
    total: int
    limits: Limits
    ordered: bool = True
    batch_size: int | str = "auto"
    failing: dict[int, int] = field(default_factory=dict)
    refused: frozenset[int] = frozenset()
    losses: float = 0.0
    partial: float = 0.0
    overdue: float = 0.0
    divides: bool = False

    def __post_init__(self) -> None:
        self.batcher = Batcher(self.batch_size, workers=2, ceiling=self.limits.unread, divides=self.divides)
        self.dispatcher = Dispatcher(
            self.batcher, self.limits, ordered=self.ordered, total=self.total, divides=self.divides
        )
        self.todo: deque[Any] = deque()
        self.out: dict[int, Batch] = {}
        self.unread: deque[Deliver] = deque()
        self.delivered: list[Any] = []
        self.finished: list[Finish] = []
        self.aborted = 0
        self.succeeded: Counter[int] = Counter()
        self.most_out = 0

    def run(self) -> World:
        self.perform(self.dispatcher.start())
        for _ in range(200 * (self.total + 10)):
            if self.finished and not self.unread:
                return self
            self.step()
        raise AssertionError(f"no end in sight: {self.dispatcher.state}, {len(self.out)} batches out")

    def step(self) -> None:
        choices = []
        if self.todo:
            choices.append(self.do)
        if self.out:
            choices.append(self.report)
        if self.unread:
            choices.append(self.take)
        if self.out and self.random.random() < 0.1:
            choices.append(self.wait)
        assert choices, "everybody waits"
        self.random.choice(choices)()

    def perform(self, actions: list[Any]) -> None:
        for action in actions:
            assert not self.finished, f"{action} after the end"
            if isinstance(action, Deliver):
                self.unread.append(action)
            elif isinstance(action, Finish):
                self.finished.append(action)
            elif isinstance(action, Abort):
                self.aborted += 1
                self.out.clear()
            elif isinstance(action, Kill):
                self.lose(action.batch_id)
            else:
                self.todo.append(action)

    def do(self) -> None:
        action = self.todo.popleft()
        if isinstance(action, Pull):
            self.pull(action.size)
        elif isinstance(action, Divide):
            self.divide(action)
        elif self.dispatcher.state.live:
            self.submit(action)

    def pull(self, size: int) -> None:
        first = self.dispatcher.pulled_count
        count = min(size, self.total - first)
        batch = columns(first, [(abs, (first + i,), {}) for i in range(count)]) if count else None
        self.perform(self.dispatcher.pulled(batch, exhausted=count < size))

    def submit(self, action: Submit) -> None:
        bad = [p for p, index in enumerate(action.batch.indices) if index in self.refused]
        if bad:
            failures = [Failure(p, TypeError(action.batch.indices[p]), "") for p in bad]
            self.perform(self.dispatcher.refused(action.batch_id, failures))
        else:
            self.out[action.batch_id] = action.batch
            self.most_out = max(self.most_out, len(self.out))

    def divide(self, action: Divide) -> None:
        """A worker has begun some of its tasks by now, or all of them, and may end before this is known."""
        assert self.divides
        batch_id = self.random.choice(list(action.sizes))
        size = action.sizes[batch_id]
        begun = self.random.randint(0, size)
        kept = size - (size - begun + 1) // 2
        batch = self.out.get(batch_id)
        if begun == size or batch is None:
            self.perform(self.dispatcher.divided(None, 0))
            return
        assert size == len(batch) > action.least
        self.out[batch_id] = batch.subset(range(kept), batch.attempt)
        if self.random.random() < 0.3:
            self.reply(batch_id)
        self.perform(self.dispatcher.divided(batch_id, kept))

    def wait(self) -> None:
        self.perform(self.dispatcher.stalled())

    def report(self) -> None:
        batch_id = self.random.choice(list(self.out))
        if self.random.random() < self.losses:
            self.lose(batch_id)
        elif self.random.random() < self.overdue:
            position = self.random.randrange(len(self.out[batch_id]))
            killable = self.random.random() < 0.5
            if not killable:
                del self.out[batch_id]
            error = TaskTimeout("slow")
            self.perform(self.dispatcher.overdue(batch_id, position, error, killable=killable))
        else:
            self.reply(batch_id)

    def lose(self, batch_id: int) -> None:
        batch = self.out.pop(batch_id, None)
        if batch is None:
            return
        # One position too far: the board is read while its worker is between two tasks
        suspect = self.random.choice([None, self.random.randrange(len(batch) + 1)])
        innocent = suspect is None and self.random.random() < 0.5
        self.perform(self.dispatcher.done(batch_id, Lost(WorkerLost("died"), suspect, innocent)))

    def reply(self, batch_id: int) -> None:
        batch = self.out.pop(batch_id)
        ran = len(batch)
        if self.random.random() < self.partial:
            ran = self.random.randint(1, ran)
        stop = not self.limits.keep_going and not self.limits.retries
        values: list[int | None] = []
        failures = []
        for position, index in enumerate(batch.indices[:ran]):
            assert not self.succeeded[index], f"task {index} is run again after its success"
            if batch.attempt <= self.failing.get(index, 0):
                values.append(None)
                failures.append(Failure(position, ValueError(index), ""))
                if stop:
                    break
            else:
                self.succeeded[index] += 1
                values.append(index)
        self.batcher.observe(len(values), 1e-3 * len(values), 1e-5, 1e-4)
        self.perform(self.dispatcher.done(batch_id, Reply(values, len(values), tuple(failures))))

    def take(self) -> None:
        delivery = self.unread.popleft()
        self.delivered += unpack(delivery)
        self.perform(self.dispatcher.taken(delivery.count))


def unpack(delivery: Deliver) -> list[Any]:
    """The results of a delivery, each placed exactly once."""
    places: dict[int, Any] = {}
    for part in delivery.parts:
        for at, (where, value) in enumerate(zip(part.positions, part.values or (), strict=True)):
            if at not in part.holes:
                assert where not in places
                places[where] = value
        for where, fault in part.faults:
            assert where not in places
            places[where] = fault
    assert sorted(places) == list(range(delivery.count))
    return [places[where] for where in range(delivery.count)]


def index_of(result: int | Fault) -> int:
    return result.index if isinstance(result, Fault) else result


worlds = st.builds(
    World,
    random=st.randoms(use_true_random=False),
    total=st.integers(0, 40),
    limits=st.builds(
        Limits,
        in_flight=st.none() | st.integers(1, 5),
        unread=st.none() | st.integers(1, 10),
        retries=st.integers(0, 3),
        keep_going=st.booleans(),
    ),
    ordered=st.booleans(),
    batch_size=st.just("auto") | st.integers(1, 8),
    failing=st.dictionaries(st.integers(0, 39), st.integers(1, 5), max_size=6),
    refused=st.frozensets(st.integers(0, 39), max_size=2),
    losses=st.sampled_from([0.0, 0.1, 0.5]),
    partial=st.sampled_from([0.0, 0.3]),
    overdue=st.sampled_from([0.0, 0.1]),
    divides=st.booleans(),
)


@settings(max_examples=400, deadline=None)
@given(worlds)
def test_every_task_is_delivered_exactly_once_or_the_call_fails_with_one_error(world):
    world.run()
    (finish,) = world.finished
    indices = [index_of(result) for result in world.delivered]
    assert len(set(indices)) == len(indices)
    if world.ordered:
        assert indices == list(range(len(indices)))
    if finish.error is None:
        assert sorted(indices) == list(range(world.total))
        assert world.dispatcher.state is State.FINISHED
        assert not world.aborted
    else:
        assert not world.limits.keep_going
        assert world.dispatcher.state is State.FAILED
        assert world.aborted == 1


@settings(max_examples=200, deadline=None)
@given(worlds)
def test_faults_are_those_of_tasks_that_had_all_their_attempts(world):
    world.run()
    error = world.finished[0].error
    faults = [result for result in world.delivered if isinstance(result, Fault)]
    for fault in faults if error is None else [*faults, error]:
        if fault.failure is None:
            assert isinstance(fault.cause, (WorkerLost, TaskTimeout))
        elif isinstance(fault.failure.exception, TypeError):
            assert fault.index in world.refused
        else:
            assert fault.failure.exception.args == (fault.index,)
            assert fault.attempts == world.limits.retries + 1
            assert world.failing[fault.index] >= fault.attempts


@settings(max_examples=200, deadline=None)
@given(worlds)
def test_no_more_batches_are_out_than_allowed(world):
    world.run()
    if world.limits.in_flight is not None:
        assert world.most_out <= world.limits.in_flight


@settings(max_examples=200, deadline=None)
@given(worlds)
def test_counts_are_those_of_the_deliveries(world):
    world.run()
    if world.finished[0].error is None:
        counts = world.dispatcher.counts
        assert counts.done == world.total
        assert counts.failed == sum(isinstance(result, Fault) for result in world.delivered)


@settings(max_examples=100, deadline=None)
@given(worlds, st.integers(0, 60))
def test_after_the_consumer_has_left_nothing_happens(world, steps):
    world.perform(world.dispatcher.start())
    for _ in range(steps):
        if world.finished:
            return
        world.step()
    if world.finished:
        return
    out = list(world.out)
    world.perform(world.dispatcher.closed())
    assert world.dispatcher.state is State.CLOSED
    assert [finish.error for finish in world.finished] == [None]
    assert world.dispatcher.closed() == world.dispatcher.failed(ValueError()) == []
    assert world.dispatcher.pulled(None, exhausted=True) == []
    assert world.dispatcher.tick(1e9) == []
    for batch_id in out:
        assert world.dispatcher.done(batch_id, Reply([], 0)) == []


def dispatcher(ordered: bool = True, batch_size: int = 1, **limits: Any) -> Dispatcher:
    bounds = Limits(**{"in_flight": 2, **limits})
    return Dispatcher(Batcher(batch_size, workers=2), bounds, ordered=ordered)


def batch(first: int, count: int) -> Batch:
    return columns(first, [(abs, (first + i,), {}) for i in range(count)])


class TestPulling:
    def test_a_slow_consumer_stops_the_pulling_until_it_has_read(self):
        machine = dispatcher(unread=1)
        assert machine.start() == [Pull(1)]
        (submit, pull) = machine.pulled(batch(0, 1), exhausted=False)
        machine.pulled(batch(1, 1), exhausted=False)
        assert pull == Pull(1)
        actions = machine.done(submit.batch_id, Reply([0], 1))
        assert [type(action) for action in actions] == [Deliver]
        assert machine.taken(1) == [Pull(1)]

    def test_results_that_wait_for_a_slow_batch_count_as_unread(self):
        machine = dispatcher(batch_size=5, unread=20)
        machine.start()
        actions = machine.pulled(batch(0, 5), exhausted=False)  # which is never done
        pulled = 5
        while any(isinstance(action, Pull) for action in actions):
            actions = machine.pulled(batch(pulled, 5), exhausted=False)
            pulled += 5
            (submit,) = (action for action in actions if isinstance(action, Submit))
            actions = machine.done(submit.batch_id, Reply([0] * 5, 5))
        assert pulled == 5 + 20

    def test_a_source_that_raises_ends_the_call(self):
        machine = dispatcher()
        machine.start()
        error = SystemExit(2)
        assert machine.pull_failed(error) == [Abort(), Finish(error)]

    def test_no_second_pull_is_asked_for_while_one_is_under_way(self):
        machine = dispatcher(in_flight=None)
        machine.start()
        assert machine.resized(workers=8, in_flight=8) == []

    def test_more_workers_ask_for_more_tasks(self):
        machine = dispatcher(in_flight=1)
        machine.start()
        (submit,) = machine.pulled(batch(0, 1), exhausted=False)
        assert submit == Submit(0, batch(0, 1))
        assert machine.resized(workers=4, in_flight=4) == [Pull(1)]


class TestLosses:
    def lost(self, size: int, lost: Lost, **limits: Any) -> list[Any]:
        machine = dispatcher(batch_size=size, **limits)
        machine.start()
        submit = machine.pulled(batch(0, size), exhausted=True)[0]
        return machine.done(submit.batch_id, lost)

    def test_a_known_suspect_is_blamed_and_the_others_are_sent_again(self):
        cause = WorkerLost("died")
        (again,) = self.lost(3, Lost(cause, suspect=1), keep_going=True)
        assert list(again.batch.indices) == [0, 2]

    def test_without_a_suspect_tasks_are_sent_again_one_by_one(self):
        actions = self.lost(3, Lost(WorkerLost("died")), keep_going=True, in_flight=5)
        assert [list(action.batch.indices) for action in actions] == [[0], [1], [2]]

    def test_the_suspect_of_an_error_that_ends_the_call_is_named(self):
        cause = WorkerLost("died")
        _abort, finish = self.lost(3, Lost(cause, suspect=2))
        assert (finish.error.index, finish.error.cause) == (2, cause)

    def test_an_innocent_batch_goes_whole_and_at_no_cost(self):
        (again,) = self.lost(3, Lost(WorkerLost("died"), innocent=True))
        assert (list(again.batch.indices), again.batch.attempt) == ([0, 1, 2], 1)

    def test_innocence_comes_to_an_end(self):
        machine = dispatcher()
        machine.start()
        (submit,) = machine.pulled(batch(0, 1), exhausted=True)
        for _ in range(100):
            actions = machine.done(submit.batch_id, Lost(WorkerLost("died"), innocent=True))
            if actions[-1:] != [] and isinstance(actions[-1], Finish):
                return
            (submit,) = actions
        pytest.fail("a batch that is always lost was sent for ever")

    def test_a_retry_of_a_lost_task_is_its_next_attempt(self):
        (again,) = self.lost(1, Lost(WorkerLost("died"), suspect=0), retries=1)
        assert again.batch.attempt == 2


class TestDividing:
    """Of two batches of ten tasks the one is over; the source has no more, and one of two workers is idle."""

    def draining(self, batch_size: int | str = "auto", seconds: float = 0.1, *, divides: bool = True) -> Any:
        batcher = Batcher(batch_size, workers=2, divides=divides)
        batcher.observe(10, 10 * seconds, 1e-5, 1e-4)
        machine = Dispatcher(batcher, Limits(in_flight=3), ordered=True, divides=divides)
        machine.start()
        (first, *_) = machine.pulled(batch(0, 10), exhausted=False)
        (second, *_) = machine.pulled(batch(10, 10), exhausted=True)
        return machine, second, machine.done(first.batch_id, Reply([0] * 10, 10))

    def test_an_idle_worker_gets_a_part_of_what_another_one_has_not_begun(self):
        machine, second, actions = self.draining()
        assert actions[-1] == Divide({second.batch_id: 10}, least=1)
        (submit,) = machine.divided(second.batch_id, 6)
        assert list(submit.batch.indices) == [16, 17, 18, 19]
        assert machine.done(second.batch_id, Reply([1] * 6, 6)) == [Divide({submit.batch_id: 4}, least=1)]
        assert machine.divided(None, 0) == []
        deliver, finish = machine.done(submit.batch_id, Reply([2] * 4, 4))
        assert unpack(deliver) == [1] * 6 + [2] * 4
        assert finish == Finish()

    def test_where_nothing_can_be_divided_what_comes_back_is_sent_in_smaller_batches(self):
        machine, second, _ = self.draining(divides=False)
        actions = machine.done(second.batch_id, Reply([1] * 2, 2))
        assert [list(action.batch.indices) for action in actions] == [[12], [13], [14]]  # the room there is

    def test_a_worker_that_ends_before_its_batch_is_known_to_be_smaller_leaves_the_rest(self):
        machine, second, _ = self.draining()
        (submit,) = machine.done(second.batch_id, Reply([1] * 6, 6))
        assert list(submit.batch.indices) == [16, 17, 18, 19]
        assert machine.divided(second.batch_id, 6) == []

    def test_tasks_that_are_over_at_once_are_not_worth_it_unless_nothing_happens(self):
        machine, second, actions = self.draining(seconds=1e-4)
        assert [type(action) for action in actions] == [Deliver]
        assert machine.stalled() == [Divide({second.batch_id: 10}, least=1)]
        assert machine.stalled() == []  # it was asked for already

    def test_with_a_task_for_everybody_nothing_is_divided(self):
        machine = Dispatcher(Batcher("auto", workers=2, divides=True), Limits(3), ordered=True, divides=True)
        machine.start()
        machine.pulled(batch(0, 10), exhausted=False)
        assert machine.stalled() == []
        machine.pulled(batch(10, 10), exhausted=True)
        assert machine.stalled() == []

    @pytest.mark.parametrize("how", [{"batch_size": 10}, {"divides": False}])
    def test_neither_batches_of_a_given_size_nor_those_nobody_can_divide(self, how):
        machine, _, actions = self.draining(**how)
        assert [type(action) for action in actions] == [Deliver]
        assert machine.stalled() == []


class TestTime:
    def test_an_overdue_task_is_killed_where_that_is_possible_and_blamed_for_the_loss(self):
        machine = dispatcher()
        machine.start()
        (submit,) = machine.pulled(batch(0, 1), exhausted=True)
        error = TaskTimeout("slow")
        assert machine.overdue(submit.batch_id, 0, error, killable=True) == [Kill(submit.batch_id)]
        assert machine.overdue(submit.batch_id, 0, error, killable=True) == []
        _abort, finish = machine.done(submit.batch_id, Lost(WorkerLost("killed"), innocent=True))
        assert finish.error.cause is error

    def test_a_result_that_was_faster_than_the_kill_counts(self):
        machine = dispatcher()
        machine.start()
        (submit,) = machine.pulled(batch(0, 1), exhausted=True)
        machine.overdue(submit.batch_id, 0, TaskTimeout("slow"), killable=True)
        deliver, finish = machine.done(submit.batch_id, Reply([0], 1))
        assert deliver == Deliver(1, (Part(range(1), [0]),))
        assert finish == Finish()

    def test_an_overdue_task_that_can_not_be_killed_is_given_up(self):
        machine = dispatcher()
        machine.start()
        (submit,) = machine.pulled(batch(0, 1), exhausted=True)
        error = TaskTimeout("slow")
        _abort, finish = machine.overdue(submit.batch_id, 0, error, killable=False)
        assert finish.error.cause is error
        assert machine.done(submit.batch_id, Reply([0], 1)) == []

    def test_the_deadline_ends_the_call_when_it_has_come(self):
        machine = dispatcher(deadline=5.0)
        machine.start()
        assert machine.tick(4.9) == []
        _abort, finish = machine.tick(5.0)
        assert isinstance(finish.error, DeadlineExceeded)


def test_an_interrupt_in_the_callers_thread_ends_the_call_whatever_on_error_says():
    machine = dispatcher(keep_going=True, retries=3)
    machine.start()
    (submit,) = machine.pulled(batch(0, 1), exhausted=True)
    failure = Failure(0, KeyboardInterrupt(), "", fatal=True)
    _abort, finish = machine.done(submit.batch_id, Reply([None], 1, (failure,)))
    assert finish.error.failure is failure
