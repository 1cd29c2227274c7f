"""Whatever a task raises arrives as something that can be read; nothing hangs, and the workers live on."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import types

import cloudpickle
import pytest

from parallelcfg import Parallel, TaskError, TaskFailure, delayed
from parallelcfg.backends.shelf import PoolSession

BACKENDS = ["loky", "multiprocessing", "threading", "sequential"]
PROCESSES = ["loky", "multiprocessing"]

pytestmark = pytest.mark.timeout(30)


class TwoArguments(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class HoldsALock(ValueError):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


class ReduceRaises(Exception):
    def __reduce__(self):
        raise ZeroDivisionError("while it is pickled")


class UnpicklesToAnError(Exception):
    def __reduce__(self):
        return _raise, ()


class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Own(BaseException):
    pass


def _raise():
    raise MemoryError("while it is unpickled")


def fail(number, make):
    if number == 2:
        raise make()
    return number


def recurse(number):
    return recurse(number + 1) if number >= 2 else number


def leave(number):
    return sys.exit("done") if number == 2 else number


#: What a task raises, what the caller sees, and some of its text.
RAISED = {
    "plain": (lambda: ValueError("odd"), ValueError, "odd"),
    "two arguments": (lambda: TwoArguments("a", "b"), Exception, "a and b"),
    "holds a lock": (lambda: HoldsALock("locked"), ValueError, "locked"),
    "reduce raises": (lambda: ReduceRaises("r"), Exception, "r"),
    "unpickling raises": (lambda: UnpicklesToAnError("u"), Exception, "u"),
    "no text": (NoText, Exception, ""),
    "KeyboardInterrupt": (lambda: KeyboardInterrupt("k"), KeyboardInterrupt, "k"),
    "SystemExit": (lambda: SystemExit("s"), SystemExit, "s"),
    "GeneratorExit": (lambda: GeneratorExit("g"), GeneratorExit, "g"),
    "own BaseException": (lambda: Own("own"), BaseException, "own"),
    "StopIteration": (lambda: StopIteration("stop"), TaskError, "stop"),
    "StopAsyncIteration": (lambda: StopAsyncIteration("stop"), StopAsyncIteration, "stop"),
    "CancelledError": (lambda: asyncio.CancelledError("c"), asyncio.CancelledError, "c"),
    "TimeoutError": (lambda: TimeoutError("t"), TimeoutError, "t"),
    "OSError": (lambda: FileNotFoundError(2, "No such file", "x"), FileNotFoundError, "No such file"),
    "UnicodeDecodeError": (
        lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        UnicodeDecodeError,
        "bad",
    ),
}


@pytest.mark.parametrize("what", RAISED)
@pytest.mark.parametrize("shape", ["list", "generator", "generator_unordered"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_task_raises_is_raised(backend, shape, what, covers):
    make, expected, text = RAISED[what]
    with pytest.raises(expected) as caught:
        list(Parallel(n_jobs=2, backend=backend, return_as=shape)(delayed(fail)(i, make) for i in range(6)))
    if what != "no text":
        assert text in str(caught.value)
    covers("task raises", backend, what)


@pytest.mark.parametrize("what", RAISED)
@pytest.mark.parametrize("backend", PROCESSES)
def test_what_a_task_raises_is_returned(backend, what, covers):
    make, _, _ = RAISED[what]
    results = Parallel(n_jobs=2, backend=backend, on_error="return", retries=1)(
        delayed(fail)(i, make) for i in range(6)
    )
    failed = results.pop(2)
    assert results == [0, 1, 3, 4, 5]
    assert isinstance(failed, TaskError)
    assert (failed.index, failed.attempts) == (2, 2)
    assert "in fail" in failed.traceback
    covers("task raises, on_error=return", backend, what)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", [recurse, leave], ids=["RecursionError", "sys.exit"])
def test_errors_of_the_interpreter(backend, task):
    expected = RecursionError if task is recurse else SystemExit
    with pytest.raises(expected):
        Parallel(n_jobs=2, backend=backend)(delayed(task)(i) for i in range(6))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
@pytest.mark.parametrize("backend", BACKENDS)
def test_exception_groups(backend):
    make = lambda: ExceptionGroup("several", [ValueError(1), TypeError(2)])  # noqa: F821 - see above
    with pytest.raises(ExceptionGroup) as caught:  # noqa: F821 - see above
        Parallel(n_jobs=2, backend=backend)(delayed(fail)(i, make) for i in range(6))
    assert [type(error) for error in caught.value.exceptions] == [ValueError, TypeError]


class ReadableAtHome(ValueError):
    """Can be unpickled by the process that raised it, and by no other."""

    def __init__(self, text):
        super().__init__(text)
        self.home = os.getpid()

    def __setstate__(self, state):
        if state["home"] != os.getpid():
            raise ZeroDivisionError("while it is unpickled")


def in_a_group(error):
    return ExceptionGroup("several", [error, KeyError("k")])  # noqa: F821 - see above


def of_plugin(number, folder, name, wrap=None):
    """Raise an error of a module that only workers find."""
    if number != 2:
        return number
    sys.path.insert(0, folder)
    try:
        error = __import__(name).Odd("boom 42")
    finally:
        sys.path.remove(folder)
    raise error if wrap is None else wrap(error)


@pytest.fixture
def plugin(tmp_path):
    name = f"plugin_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text("class Odd(LookupError): pass")
    return str(tmp_path), name


@pytest.mark.parametrize("backend", PROCESSES)
def test_what_only_the_worker_can_import_is_raised_as_the_nearest_type(backend, plugin, covers):
    with pytest.raises(LookupError) as caught:
        Parallel(n_jobs=2, backend=backend)(delayed(of_plugin)(i, *plugin) for i in range(6))
    assert type(caught.value) is LookupError
    assert str(caught.value) == f"{plugin[1]}.Odd: boom 42"
    assert "task 2" in caught.value.__notes__[0]
    assert "in of_plugin" in caught.value.__cause__.traceback
    covers("can't be unpickled", backend, "exception")


@pytest.mark.parametrize("backend", PROCESSES)
def test_what_only_the_worker_can_import_leaves_its_neighbours_alone(backend, plugin, covers):
    results = Parallel(n_jobs=2, backend=backend, on_error="return", retries=1)(
        delayed(of_plugin)(i, *plugin) for i in range(6)
    )
    failed = results.pop(2)
    assert results == [0, 1, 3, 4, 5]
    assert (failed.index, failed.attempts, type(failed.exception)) == (2, 2, LookupError)
    assert "in of_plugin" in failed.traceback
    covers("can't be unpickled", backend, "exception, on_error=return")


@pytest.mark.parametrize("backend", PROCESSES)
def test_what_can_be_unpickled_in_its_worker_only_keeps_its_type(backend):
    with pytest.raises(ReadableAtHome) as caught:
        Parallel(n_jobs=2, backend=backend)(delayed(fail)(i, lambda: ReadableAtHome("odd")) for i in range(6))
    assert str(caught.value) == "odd"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
@pytest.mark.parametrize("backend", PROCESSES)
def test_members_of_groups_travel_one_by_one(backend, plugin):
    with pytest.raises(ExceptionGroup) as caught:  # noqa: F821 - see above
        Parallel(n_jobs=2, backend=backend)(delayed(of_plugin)(i, *plugin, in_a_group) for i in range(6))
    odd, other = caught.value.exceptions
    assert (type(odd), str(odd)) == (LookupError, f"{plugin[1]}.Odd: boom 42")
    assert (type(other), other.args) == (KeyError, ("k",))


@pytest.mark.parametrize("backend", PROCESSES)
def test_a_huge_message_is_cut(backend, within):
    make = lambda: ValueError("x" * (50 << 20))
    with within(5), pytest.raises(ValueError, match="characters cut") as caught:
        Parallel(n_jobs=2, backend=backend)(delayed(fail)(i, make) for i in range(6))
    assert len(str(caught.value)) <= 64 << 10
    assert len(str(caught.value.__cause__)) <= 66 << 10


@pytest.mark.parametrize("backend", PROCESSES)
def test_the_cause_names_the_task_and_has_the_workers_traceback(backend):
    with pytest.raises(ValueError, match="odd") as caught:
        Parallel(n_jobs=2, backend=backend)(delayed(fail)(i, lambda: ValueError("odd")) for i in range(6))
    cause = caught.value.__cause__
    assert isinstance(cause, TaskFailure)
    assert cause.index == 2
    assert cause.call.startswith("fail(2, ")
    assert "in fail" in cause.traceback


def source(error):
    yield delayed(abs)(-1)
    yield delayed(abs)(-2)
    raise error


@pytest.mark.parametrize(
    "error", [ValueError("v"), SystemExit("s"), KeyboardInterrupt("k"), Own("own")], ids=repr
)
@pytest.mark.parametrize("shape", ["list", "generator", "generator_unordered"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_source_raises_is_raised(backend, shape, error, covers):
    with pytest.raises(type(error), match=str(error)):
        list(Parallel(n_jobs=2, backend=backend, return_as=shape)(source(error)))
    covers("source raises", backend, type(error).__name__)


def nested_source(backend):
    for i in range(3):
        yield delayed(sum)(Parallel(n_jobs=2, backend=backend)(delayed(abs)(-j) for j in range(i + 1)))


@pytest.mark.parametrize("shape", ["list", "generator"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_source_that_calls_parallel(backend, shape, covers):
    assert list(Parallel(n_jobs=2, backend=backend, return_as=shape)(nested_source(backend))) == [0, 1, 3]
    covers("source calls Parallel", backend, shape)


class NotPicklable:
    def __reduce__(self):
        raise TypeError("not this one")


class NotUnpicklable:
    def __reduce__(self):
        return _raise, ()


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("backend", PROCESSES)
def test_a_module_that_only_the_caller_has_names_the_remedy(backend, count, monkeypatch, covers):
    made = types.ModuleType("made_in_memory")
    exec("def double(x): return 2 * x", made.__dict__)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    tasks = [delayed(made.double)(x) for x in range(count)]
    with pytest.raises(ModuleNotFoundError, match="made_in_memory") as caught:
        Parallel(n_jobs=2, backend=backend, batch_size=count)(tasks)
    remedies = next(note for note in caught.value.__notes__ if "register_pickle_by_value" in note)
    assert "parallelcfg.shutdown()" in remedies
    cloudpickle.register_pickle_by_value(made)
    try:
        assert Parallel(n_jobs=2, backend=backend)(tasks) == [2 * x for x in range(count)]
    finally:
        cloudpickle.unregister_pickle_by_value(made)
    covers("module of the caller alone", backend, "function")


def give(kind):
    return kind()


def take(value):
    return value


@pytest.mark.parametrize("backend", PROCESSES)
def test_what_cannot_travel_is_that_tasks_error(backend, within, covers):
    tasks = [
        delayed(take)(1),
        delayed(take)({"lock": threading.Lock()}),
        delayed(take)(NotUnpicklable()),
        delayed(give)(threading.Lock),
        delayed(give)(NotPicklable),
        delayed(take)(6),
    ]
    with within(2):
        results = Parallel(n_jobs=2, backend=backend, on_error="return")(tasks)
    assert [isinstance(result, TaskError) for result in results] == [False, True, True, True, True, False]
    assert "['lock']" in str(results[1])
    assert "unpickled" in str(results[2])
    covers("can't be pickled", backend, "argument, result")


class Damaged(Exception):
    pass


class Record:
    def __init__(self, number):
        self.number = number

    def __setstate__(self, state):
        if state["number"] == 2:
            raise Damaged("record 2 is damaged")
        self.__dict__ = state


@pytest.mark.parametrize("backend", PROCESSES)
def test_an_argument_that_cannot_be_unpickled_is_told_from_its_batch(backend, covers):
    with pytest.raises(Damaged, match="record 2 is damaged") as caught:
        Parallel(n_jobs=2, backend=backend, batch_size=6)(delayed(take)(Record(i)) for i in range(6))
    assert "task 2" in caught.value.__notes__[0]
    results = Parallel(n_jobs=2, backend=backend, batch_size=6, on_error="return")(
        delayed(take)(Record(i)) for i in range(6)
    )
    failed = results.pop(2)
    assert (failed.index, type(failed.exception)) == (2, Damaged)
    assert [record.number for record in results] == [0, 1, 3, 4, 5]
    covers("can't be unpickled", backend, "argument")


@pytest.mark.parametrize("backend", PROCESSES)
def test_a_result_that_cannot_be_unpickled(backend, within, covers):
    run = Parallel(n_jobs=2, backend=backend)
    with within(2), pytest.raises(MemoryError, match="while it is unpickled") as caught:
        run([delayed(give)(NotUnpicklable)])
    assert run.report.failed == 1
    assert any("task 0" in note for note in caught.value.__notes__)
    assert Parallel(n_jobs=2, backend=backend)([delayed(take)(1)]) == [1]
    covers("can't be unpickled", backend, "result")


class Holds:
    def __init__(self, value):
        self.value = value


def give_once_in_a_while(number, array):
    shared = [number]
    return {
        3: NotUnpicklable,
        4: lambda: {"deep": [1, (2, Holds(NotUnpicklable()))]},
        5: lambda: [number, NotUnpicklable()],
        6: lambda: (shared, Holds(shared), number),
        7: lambda: array + number,
    }.get(number, lambda: number)()


@pytest.mark.parametrize("shape", ["list", "generator", "generator_unordered"])
@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("backend", PROCESSES)
def test_a_result_that_cannot_be_unpickled_leaves_its_neighbours_alone(backend, size, shape, covers):
    numpy = pytest.importorskip("numpy")
    run = Parallel(n_jobs=2, backend=backend, batch_size=6, on_error="return", return_as=shape)
    array = numpy.zeros(size)
    results = list(run(delayed(give_once_in_a_while)(i, array) for i in range(-4, 8)))
    if results[0] == 2:  # unordered, and the second batch was first
        results = results[6:] + results[:6]
    assert results[:7] == [-4, -3, -2, -1, 0, 1, 2]
    for index in (7, 8, 9):
        failed = results[index]
        assert isinstance(failed, TaskError)
        assert (failed.index, failed.attempts, type(failed.exception)) == (index, 1, MemoryError)
        assert "while it is unpickled" in failed.traceback
        assert any("could not be unpickled here" in note for note in failed.exception.__notes__)
    assert results[10][0] is results[10][1].value
    assert (results[11] == 7).all()
    assert (run.report.tasks, run.report.failed) == (12, 3)
    covers("can't be unpickled", backend, f"result, {shape}, on_error=return")


_shared = []


def share(number):
    if not _shared:
        _shared.append([1, NotUnpicklable()])
    return _shared[0] if number % 2 else number


@pytest.mark.parametrize("backend", PROCESSES)
def test_a_part_that_several_results_share_is_missed_by_all_of_them(backend):
    results = Parallel(n_jobs=2, backend=backend, batch_size=6, on_error="return")(
        delayed(share)(i) for i in range(6)
    )
    assert [isinstance(result, TaskError) for result in results] == [False, True] * 3
    assert results[::2] == [0, 2, 4]


def test_an_interrupt_of_the_source_is_not_lost_where_the_call_has_failed_already(monkeypatch):
    failed, abort = threading.Event(), PoolSession.abort

    def noted(session):
        abort(session)
        failed.set()

    def source():
        yield delayed(int)("x")
        assert failed.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(PoolSession, "abort", noted)
    with pytest.raises(KeyboardInterrupt):
        Parallel(n_jobs=2, backend="threading", batch_size=1)(source())


@pytest.mark.parametrize("value", [0, -1, "0"])
def test_pre_dispatch_of_nothing_is_an_error(value):
    with pytest.raises(ValueError, match="pre_dispatch"):
        Parallel(n_jobs=2, pre_dispatch=value)([delayed(abs)(-1)])


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_pre_dispatch_of_all_takes_linear_time(backend, covers):
    run = Parallel(n_jobs=2, backend=backend, pre_dispatch="all")

    def spent(count):
        began = time.process_time()  # of this process: what others do here meanwhile is not in it
        assert sum(run(delayed(abs)(-1) for _ in range(count))) == count
        assert len(run.report.batches) < 1000  # single ones would be many more
        return time.process_time() - began

    spent(1000)
    few = min(spent(75_000) for _ in range(3))
    assert spent(300_000) < 4 * few * 2.5  # with quadratic time it would be 16 times as much
    covers("pre_dispatch=all", backend, "300,000 tasks")
