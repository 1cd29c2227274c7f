"""Warnings and logs of workers, and workers that grow old."""

from __future__ import annotations

import enum
import logging
import os
import subprocess
import sys
import threading
import warnings

import pytest

from parallelcfg import Parallel, delayed

PROCESSES = ["loky", "multiprocessing"]


def warn(category, text):
    warnings.warn(text, category, stacklevel=1)
    return True


@pytest.mark.parametrize("backend", PROCESSES)
def test_filters_of_the_caller_apply_in_workers(backend):
    run = Parallel(n_jobs=2, backend=backend)
    for action, message in (("error", "old"), ("ignore", "old")):
        with warnings.catch_warnings():
            warnings.resetwarnings()
            warnings.filterwarnings(action, message, DeprecationWarning)
            tasks = [delayed(warn)(DeprecationWarning, "old news"), delayed(warn)(UserWarning, "else")]
            if action == "error":
                with pytest.raises(DeprecationWarning, match="old news"):
                    run(tasks)
            else:
                assert run(tasks) == [True, True]


def import_only(name, folder):
    sys.path.insert(0, folder)
    __import__(name)


def warn_odd(name):
    return warn(sys.modules[name].Odd, "odd")


@pytest.mark.parametrize("backend", PROCESSES)
def test_filters_of_categories_that_a_worker_imports_later(backend, tmp_path, monkeypatch):
    name = f"oddities_{backend}"
    (tmp_path / f"{name}.py").write_text("class Odd(UserWarning): pass")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = __import__(name)
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("error", module.Odd)
        run = Parallel(n_jobs=2, backend=backend, batch_size=1, pre_dispatch=1, on_error="return")
        first, second = run([delayed(import_only)(name, str(tmp_path)), delayed(warn_odd)(name)])
    assert first is None
    assert isinstance(
        second.exception, module.Odd | KeyError
    )  # KeyError: the other worker has not imported it


@pytest.mark.parametrize("backend", PROCESSES)
def test_filters_of_categories_that_travel_by_value(backend):
    class Own(UserWarning):
        pass

    class Stuck(UserWarning):
        lock = threading.Lock()

    run, tasks = Parallel(n_jobs=2, backend=backend), [delayed(warn)(Own, "own")] * 2
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("error")
        warnings.simplefilter("error", Stuck)  # no task can have it
        warnings.simplefilter("ignore", Own)
        assert run(tasks) == [True, True]
        warnings.simplefilter("error", Own)
        with pytest.raises(Own, match="own"):
            run(tasks)


def log(number):
    logger = logging.getLogger("my.package")
    logger.debug("not wanted")
    logger.info("task %d in %s", number, os)  # the argument can't be pickled
    try:
        raise ValueError(number)
    except ValueError:
        logger.exception("failed")
    return os.getpid()


@pytest.mark.parametrize("backend", PROCESSES)
def test_log_records_reach_the_parents_handlers(backend, caplog):
    caplog.set_level(logging.INFO, "my.package")
    workers = Parallel(n_jobs=2, backend=backend, forward_logs=True)(delayed(log)(i) for i in range(4))
    records = [record for record in caplog.records if record.name == "my.package"]
    assert sorted(r.getMessage().split(" in ")[0] for r in records if r.levelname == "INFO") == [
        f"task {i}" for i in range(4)
    ]
    assert {record.process for record in records} == set(workers)
    assert "ValueError: 2" in caplog.text
    assert "not wanted" not in caplog.text


class Name(str):
    __slots__ = ()


class Colour(enum.IntEnum):
    RED = 1


class NoText:
    def __str__(self):
        raise ValueError("no text")


def log_extra(_):
    more = {
        "name_of": Name("x"),
        "colour": Colour.RED,
        "share": 0.5,
        "on": True,
        "ids": [1, 2],
        "odd": NoText(),
    }
    logging.getLogger("my.package").warning("more", extra=more)


@pytest.mark.parametrize("backend", PROCESSES)
def test_what_log_records_hold_arrives_as_numbers_and_text(backend, caplog):
    Parallel(n_jobs=2, backend=backend, forward_logs=True)([delayed(log_extra)(0)])
    (record,) = (record for record in caplog.records if record.getMessage() == "more")
    arrived = record.name_of, record.colour, record.share, record.on, record.ids
    assert arrived == ("x", 1, 0.5, True, "[1, 2]")
    assert list(map(type, arrived)) == [str, int, float, bool, str]
    assert "NoText object" in record.odd


def log_badly(number):
    logging.getLogger("my.package").warning("%d", "no number")
    return number


@pytest.mark.parametrize("backend", PROCESSES)
def test_a_log_record_that_cannot_be_formatted_ends_no_task(backend):
    assert Parallel(n_jobs=2, backend=backend, forward_logs=True)([delayed(log_badly)(3)]) == [3]


class Raises(logging.Handler):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def emit(self, record):
        if "task 3" in record.getMessage():
            raise self.error


def log_and_give(number):
    logging.getLogger("my.package").warning("task %d", number)
    return number


@pytest.mark.parametrize("error", [ValueError("v"), OSError("disk full"), SystemExit("s")], ids=repr)
@pytest.mark.parametrize("backend", PROCESSES)
def test_a_handler_that_raises_mixes_no_results_up(backend, error, capsys):
    run = Parallel(n_jobs=2, backend=backend, forward_logs=True, batch_size=1, on_error="return")
    logger, handler = logging.getLogger("my.package"), Raises(error)
    logger.addHandler(handler)
    try:
        first = run(delayed(log_and_give)(i) for i in range(8))
    finally:
        logger.removeHandler(handler)
    if isinstance(error, Exception):
        assert first.pop(3) == 3
        assert "Logging error" in capsys.readouterr().err
    else:
        assert first.pop(3).exception is error
    assert first == [0, 1, 2, 4, 5, 6, 7]
    assert run(delayed(log_and_give)(i) for i in range(10, 18)) == list(range(10, 18))


@pytest.mark.parametrize("backend", PROCESSES)
def test_log_records_stay_where_they_are_unless_asked_for(backend, caplog):
    caplog.set_level(logging.INFO, "my.package")
    Parallel(n_jobs=2, backend=backend, forward_logs=True)([delayed(log)(0)])
    caplog.clear()
    Parallel(n_jobs=2, backend=backend)([delayed(log)(1)])
    assert caplog.records == []


def grow(nbytes):
    import parallelcfg

    hoard = vars(parallelcfg).setdefault("_hoard_of_the_test", [])  # outlives the task, in this worker only
    hoard.append(os.urandom(nbytes))
    return os.getpid()


def test_workers_that_grew_are_replaced_between_tasks(caplog):
    caplog.set_level(logging.INFO, "parallelcfg")
    run = Parallel(n_jobs=2, backend="loky", batch_size=1, max_worker_growth=20 << 20)
    workers = run(delayed(grow)(8 << 20) for _ in range(12))
    assert 3 <= len(set(workers)) <= 6  # a worker is replaced after three or four tasks
    replaced = [r for r in caplog.records if "is replaced: it has grown by" in r.getMessage()]
    assert replaced
    assert len({r.getMessage() for r in replaced}) == len(replaced)


def test_workers_that_grew_stay_unless_asked_for():
    run = Parallel(n_jobs=2, backend="loky", batch_size=1)
    workers = run(delayed(grow)(8 << 20) for _ in range(12))
    assert len(set(workers)) <= 2


def test_maxtasksperchild():
    run = Parallel(n_jobs=2, backend="multiprocessing", batch_size=1, maxtasksperchild=2)
    workers = run(delayed(os.getpid)() for _ in range(8))
    assert max(workers.count(worker) for worker in workers) <= 2


def test_nothing_is_printed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "from parallelcfg import Parallel, delayed\n"
        "if __name__ == '__main__':\n"
        "    for backend in ('loky', 'multiprocessing', 'threading', 'sequential'):\n"
        "        Parallel(n_jobs=2, backend=backend)(delayed(abs)(-i) for i in range(100))\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("backend", PROCESSES)
def test_what_tasks_print_comes_at_once_and_in_whole_lines(tmp_path, backend, unbuffered):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, time\n"
        "from parallelcfg import Parallel, delayed\n"
        "def tell(x):\n"
        "    for part in 'abc':\n"
        "        sys.stdout.write(part * 3)\n"
        "    print(x)\n"
        "    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        f"    parallel = Parallel(n_jobs=2, backend={backend!r}, batch_size=1)\n"
        "    workers = set(parallel(delayed(tell)(x) for x in range(200)))\n"
        "    print('all', flush=True)\n"
        "    for worker in workers:\n"
        "        os.kill(worker, 9)  # what a worker has not written by now is lost\n"
    )
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert sorted(lines[:-1]) == sorted(f"aaabbbccc{x}" for x in range(200))
    assert lines[-1] == "all"
