"""Tasks on threads that are late, and can not be stopped: they hold up no others, nobody waits for them."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from parallelcfg import DeadlineExceeded, Parallel, TaskError, TaskTimeout, delayed, shutdown


class Late:
    """Tasks that wait for a moment that does not come while their call lasts, and who runs them."""

    def __init__(self):
        self.over = threading.Event()
        self.begun = Counter()
        self.threads = set()

    def wait(self, x):
        self.threads.add(threading.current_thread())
        self.begun[x] += 1
        self.over.wait()
        return x

    def wait_at_first(self, x):
        return self.wait(x) if x < 2 and self.begun[x] == 0 else x

    def end(self):
        """Let them go on, and wait for the threads that they have kept."""
        self.over.set()
        for thread in self.threads:
            thread.join(20)
        return not any(thread.is_alive() for thread in self.threads)


@pytest.fixture
def late():
    one = Late()
    yield one
    assert one.end()


def threads(**keys):
    return Parallel(**{"n_jobs": 2, "backend": "threading", "timeout": 0.3, "batch_size": 1, **keys})


def timed_out(results):
    return [r.index for r in results if isinstance(r, TaskError) and isinstance(r.exception, TaskTimeout)]


@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
def test_late_tasks_on_threads_hold_up_no_others(late, return_as, within, covers):
    run = threads(on_error="return", return_as=return_as)
    with within(5):
        results = list(run(delayed(late.wait if x < 4 else abs)(x) for x in range(10)))
    assert sorted(timed_out(results)) == [0, 1, 2, 3]
    assert sorted(x for x in results if isinstance(x, int)) == [4, 5, 6, 7, 8, 9]
    covers("timeout", "threading", "task")


def test_a_late_task_is_tried_again_on_a_fresh_thread(late, within):
    with within(5):
        assert threads(retries=1)(delayed(late.wait_at_first)(x) for x in range(6)) == [0, 1, 2, 3, 4, 5]
    with within(5), pytest.raises(TaskTimeout):
        threads(retries=1)(delayed(late.wait)(x) for x in (6, 7))
    assert max(late.begun[6], late.begun[7]) == 2


@pytest.mark.parametrize("batch_size", [5, "auto"])
def test_neighbours_of_a_late_task_run_once(late, batch_size):
    begun = Counter()

    def task(x):
        begun[x] += 1
        if x == 601:
            raise LookupError(x)
        return late.wait(x) if x == 602 else x

    run = threads(timeout=1, on_error="return", batch_size=batch_size)
    results = run(delayed(task)(x) for x in range(1000))
    assert late.end()
    assert timed_out(results) == [602]
    assert isinstance(results[601].exception, LookupError)
    assert [x for x in results if isinstance(x, int)] == [x for x in range(1000) if x not in (601, 602)]
    assert set(begun.values()) == {1}


def test_calls_after_late_tasks_have_all_their_threads(late, within):
    together = threading.Barrier(2)

    def meet(x):
        together.wait(20)
        return threading.current_thread().name

    with within(10), threads(on_error="return") as run:
        assert timed_out(run(delayed(late.wait)(x) for x in range(2))) == [0, 1]
        names = run(delayed(meet)(x) for x in range(4))
        assert set(names) == {thread.name for thread in late.threads}  # and so the same shares of the CPUs
    with within(10):
        assert set(threads()(delayed(meet)(x) for x in range(4))) == set(names)


def test_shutdown_waits_for_no_late_task(late, within):
    threads(on_error="return")(delayed(late.wait)(x) for x in range(2))
    with within(2):
        shutdown(wait=True)
    assert any(thread.is_alive() for thread in late.threads)


def test_a_deadline_holds_however_often_late_tasks_are_tried_again(late, within):
    with within(5), pytest.raises(DeadlineExceeded):
        threads(timeout=0.05, retries=1_000_000, deadline=0.5)(delayed(late.wait)(x) for x in range(2))


def test_a_generator_can_be_dropped_while_late_tasks_go_on(late, within):
    with within(5):
        stream = threads(on_error="return", return_as="generator")(
            delayed(late.wait if x < 2 else abs)(x) for x in range(1000)
        )
        assert timed_out([next(stream)]) == [0]
        stream.close()
        assert threads()(delayed(abs)(x) for x in range(4)) == [0, 1, 2, 3]


PROGRAM = """
import threading
from parallelcfg import Parallel, delayed
never = threading.Event()
run = Parallel(n_jobs=2, backend="threading", timeout=0.3, on_error="return")
print(len(run(delayed(never.wait)() for _ in range(2))))
"""


def test_the_interpreter_ends_while_late_tasks_go_on(program, within):
    one = program(PROGRAM)
    assert one.line() == "2"
    with within(2):
        assert one.end() == (0, "", "")
