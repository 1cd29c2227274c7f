"""What is told of a task's exception."""

import pickle
import sys
import threading
import types
from dataclasses import dataclass

import pytest

from parallelcfg import Parallel, TaskError, TaskNotPicklable, delayed
from parallelcfg.transport.failures import pack_exception, unpack_exception


def fail(x):
    return 1 / x


@pytest.mark.parametrize("timeout", [None, 60])
@pytest.mark.parametrize("backend", ["loky", "threading", "sequential"])
def test_a_tasks_traceback_begins_in_the_task(backend, timeout):
    parallel = Parallel(n_jobs=2, backend=backend, timeout=timeout, on_error="return")
    _, error = parallel(delayed(fail)(x) for x in (1, 0))
    head, first, *_ = error.traceback.splitlines()
    assert head == "Traceback (most recent call last):"
    assert first.endswith(", in fail")


class TwoParts(Exception):
    """Pickles, but does not unpickle: ``args`` are not what ``__init__`` takes."""

    def __init__(self, name, *, code):
        super().__init__(f"{name}: {code}")
        self.code = code


class Wrapped(OSError):
    def __init__(self, path):
        super().__init__(2, "gone", path)


def fail_with(kind, *args, **kwargs):
    raise kind(*args, **kwargs)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_an_exception_keeps_its_type_whatever_its_init_takes(backend):
    with pytest.raises(TwoParts, match="disk: 7") as told:
        Parallel(n_jobs=2, backend=backend)(delayed(fail_with)(TwoParts, "disk", code=7) for _ in range(2))
    assert told.value.code == 7


class NotesAreNone(ValueError):
    __notes__ = None


class NotesRaise(ValueError):
    @property
    def __notes__(self):
        raise RuntimeError("no notes")


class AnsweringAll(ValueError):
    def __getattr__(self, name):
        raise KeyError(name)


@pytest.mark.parametrize("kind", [NotesAreNone, NotesRaise, AnsweringAll])
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_an_exception_is_raised_whatever_becomes_of_its_notes(backend, kind):
    with pytest.raises(kind) as told:  # no match=, which would look at the notes
        Parallel(n_jobs=2, backend=backend)(delayed(fail_with)(kind, "odd") for _ in range(2))
    assert str(told.value) == "odd"


def test_the_systems_errors_keep_their_numbers():
    error = unpack_exception(pack_exception(Wrapped("/x"))[0])
    assert (type(error), error.errno, error.filename, str(error)) == (
        Wrapped,
        2,
        "/x",
        "[Errno 2] gone: '/x'",
    )


@pytest.fixture
def elsewhere(monkeypatch):
    """Exceptions of a module that can be imported until `unpack_exception` is called."""
    module = types.ModuleType("elsewhere")
    source = "class Base(LookupError): pass\nclass Odd(Base): pass\nclass Thing: pass"
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    exec(source, module.__dict__)
    return module


def arrived(packed):
    del sys.modules["elsewhere"]
    return unpack_exception(packed)


def test_a_stand_in_has_the_nearest_type_that_its_receiver_can_import(elsewhere, monkeypatch):
    class Own(elsewhere.Base):
        pass

    monkeypatch.setitem(globals(), "Own", Own)
    Own.__qualname__ = "Own"
    packed = pack_exception(Own("gone"))[0]
    monkeypatch.delitem(globals(), "Own")
    error = unpack_exception(packed)
    assert (type(error), str(error)) == (elsewhere.Base, f"{__name__}.Own: gone")
    error = arrived(packed)
    assert (type(error), str(error)) == (LookupError, f"{__name__}.Own: gone")


def test_what_an_exception_holds_does_not_change_its_type(elsewhere):
    error = arrived(pack_exception(ValueError("odd", elsewhere.Thing()))[0])
    assert type(error) is ValueError
    assert str(error).startswith("('odd', <elsewhere.Thing object")


@pytest.mark.parametrize("text", ["", "odd"])
def test_a_stand_in_is_made_without_the_init_of_its_type(text):
    class Counted(ValueError):
        made = 0

        def __init__(self, text):
            Counted.made += 1
            super().__init__(text)
            self.lock = threading.Lock()

    error = unpack_exception(pack_exception(Counted(text))[0])
    assert (type(error).__name__, str(error), Counted.made) == ("Counted", text, 1)


def test_an_exception_in_a_result_has_a_stand_in_too(elsewhere):
    packed = pickle.dumps(TaskError(3, elsewhere.Odd("gone"), "", 1))
    del sys.modules["elsewhere"]
    error = pickle.loads(packed)
    assert (error.index, type(error.exception), str(error.exception)) == (
        3,
        LookupError,
        "elsewhere.Odd: gone",
    )


def test_what_cannot_be_pickled_has_one_cause_and_no_context():
    lock = threading.Lock()
    with pytest.raises(TaskNotPicklable) as told:
        Parallel(n_jobs=2)(delayed(lambda x: (x, lock))(x) for x in range(2))
    seen = []
    error = told.value
    while error is not None:
        seen.append(error)
        error = error.__cause__ or error.__context__
    assert len(seen) <= 2


def test_a_result_that_cannot_be_pickled_has_one_cause_and_no_context():
    with pytest.raises(TaskNotPicklable) as told:
        Parallel(n_jobs=2)(delayed(lambda x: (_ for _ in range(x)))(x) for x in range(2))
    text = str(told.value.__cause__)
    assert text.count("TaskNotPicklable: ") == 1
    assert "During handling" not in text


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


@pytest.mark.parametrize("shape", ["list", "generator"])
@pytest.mark.parametrize("backend", ["loky", "threading", "sequential"])
def test_an_exception_that_is_a_frozen_dataclass_is_raised_as_it_is(backend, shape):
    parallel = Parallel(n_jobs=2, backend=backend, return_as=shape)
    with pytest.raises(Frozen) as told:
        list(parallel(delayed(fail_with)(Frozen, 7) for _ in range(2)))
    assert told.value.code == 7
    assert "raised by task" in told.value.__notes__[0]


def nested():
    return Parallel(on_error="return")([delayed(fail_with)(TwoParts, "disk", code=7)])


def test_an_error_in_a_result_survives_pickling_with_the_exception_that_it_has():
    ((error,),) = Parallel(n_jobs=2, backend="loky")([delayed(nested)()])
    again = pickle.loads(pickle.dumps(error))
    for one in (error, again):
        assert (type(one), type(one.exception), one.exception.code, one.index) == (TaskError, TwoParts, 7, 0)
        assert one.traceback
