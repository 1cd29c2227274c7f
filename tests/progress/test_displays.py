"""Bars, log lines and joblib's lines."""

import errno
import gc
import io
import logging
import subprocess
import sys
import threading
import time

import pytest

from parallelcfg import ConfigError, Parallel, delayed, parallel_config
from parallelcfg.progress import ProgressEvent, bar, choose
from parallelcfg.progress.bar import Bar
from parallelcfg.progress.lines import LogLines, VerboseLines, progress_line


def event(done, total=100, elapsed=1.0, failed=0, retried=0):
    return ProgressEvent(done, failed, retried, total, elapsed, 2)


class Terminal(io.StringIO):
    """A standard error that somebody looks at."""

    def isatty(self):
        return True


@pytest.fixture
def watch(monkeypatch):
    """Makes standard error a terminal; to be called by the test, as pytest sets its own after fixtures."""

    def watch():
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return watch


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky"])
def test_a_terminal_gets_a_bar(backend, watch):
    terminal = watch()
    Parallel(n_jobs=2, backend=backend, progress=True)(delayed(abs)(x) for x in range(40))
    last = terminal.getvalue().split("\r")[-1]
    assert "40/40" in last
    assert "task/s" in last


def test_a_bar_tells_failures(watch):
    terminal = watch()
    parallel = Parallel(n_jobs=2, backend="threading", progress="tqdm", on_error="return")
    parallel(delayed(int)(x) for x in ("1", "2", "x"))
    assert "failed 1" in terminal.getvalue().split("\r")[-1]


def test_bars_of_nested_calls_stand_below_and_vanish(watch):
    terminal = watch()

    def outer(x):
        return sum(Parallel(n_jobs=2, backend="sequential")(delayed(abs)(y) for y in range(5)))

    with parallel_config(progress=True):
        Parallel(n_jobs=2, backend="sequential")(delayed(outer)(x) for x in range(2))
    text = terminal.getvalue()
    assert "\n\r  0%|" in text  # one line below the outer bar
    assert text.rstrip().splitlines()[-1].count("2/2") == 1


def test_bars_that_nobody_could_read_are_not_drawn(watch):
    terminal = watch()

    def outer(x):
        return sum(Parallel(n_jobs=2, prefer="threads")(delayed(abs)(y) for y in range(5)))

    with parallel_config(progress=True):
        Parallel(n_jobs=2, backend="threading")(delayed(outer)(x) for x in range(2))
    assert terminal.getvalue().count("task/s") == 1


def test_a_bar_moves_while_a_task_takes_long(watch):
    terminal = watch()

    def wait():
        deadline = time.monotonic() + 30
        while "0/1" not in terminal.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    Parallel(n_jobs=2, backend="threading", progress=True)([delayed(wait)()])
    assert "1/1" in terminal.getvalue()


@pytest.mark.parametrize(("number", "drawn"), [(3, True), (2_000, False)])
def test_the_first_of_few_tasks_has_a_bar_in_the_callers_process_too(number, drawn, watch):
    terminal = watch()
    texts = Parallel(backend="sequential", progress=True)(delayed(terminal.getvalue)() for _ in range(number))
    assert (f"0/{number}" in texts[0]) == drawn


def test_a_bar_that_ends_early_keeps_its_count(watch):
    terminal = watch()
    with pytest.raises(ValueError, match="invalid literal"):
        Parallel(progress=True, batch_size=1)(delayed(int)(x) for x in ("1", "x", "2"))
    assert "2/3" in terminal.getvalue().split("\r")[-1]


def test_text_for_a_line_further_down_leaves_in_one_piece(watch, monkeypatch):
    writes = []
    monkeypatch.setattr(watch(), "write", writes.append)
    display = Bar(position=2)
    display.begin(100)
    display.show(event(0))
    display.stop(event(100))
    assert writes
    for text in writes:
        assert text.count("\n") == text.count("\x1b[A")


@pytest.mark.parametrize("own", [False, True])
def test_a_bar_in_a_worker_makes_no_semaphore_and_keeps_the_lock_that_was_set(own):
    program = f"""
import sys, threading
from parallelcfg.progress.bar import Bar
from tqdm.auto import tqdm
lock = threading.RLock()
if {own}:
    tqdm.set_lock(lock)
Bar(position=1).begin(3)
assert (tqdm.get_lock() is lock) is {own}
assert "multiprocessing.synchronize" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_no_terminal_gets_a_line(capsys):
    Parallel(progress=True)(delayed(abs)(x) for x in range(4))
    assert capsys.readouterr().err.startswith("parallelcfg: 4 of 4 tasks (100 %), ")


def test_lines_go_to_a_logger_that_listens(caplog, capsys):
    with caplog.at_level(logging.INFO, "parallelcfg.progress"):
        Parallel(progress="log")(delayed(abs)(x) for x in range(4))
    assert [record.message.partition(",")[0] for record in caplog.records] == ["4 of 4 tasks (100 %)"]
    assert capsys.readouterr().err == ""


def test_tqdm_by_name_must_be_there(monkeypatch):
    monkeypatch.setattr(choose, "have_tqdm", lambda: False)
    with pytest.raises(ConfigError, match=r"test_displays\.py:\d+\) needs .*'parallelcfg\[progress\]'"):
        Parallel(progress="tqdm")([delayed(abs)(1)])


def test_without_tqdm_a_terminal_gets_lines(monkeypatch, watch):
    terminal = watch()
    monkeypatch.setattr(choose, "have_tqdm", lambda: False)
    Parallel(progress=True)([delayed(abs)(1)])
    assert terminal.getvalue().startswith("parallelcfg: 1 of 1 tasks")


def test_tqdm_is_looked_for_without_importing_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "tqdm", raising=False)
    assert bar.have_tqdm()
    assert "tqdm" not in sys.modules


def test_log_lines_become_rarer(capsys):
    lines = LogLines()
    for second in range(3600):
        lines.show(event(second, total=3600, elapsed=float(second)))
    lines.stop(event(3600, total=3600, elapsed=3600.0))
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("parallelcfg: 5 of 3,600 tasks (0 %), 5 s")
    assert said[-1].startswith("parallelcfg: 3,600 of 3,600 tasks (100 %)")
    assert 20 < len(said) < 45


def test_short_nested_calls_are_not_logged(capsys):
    lines = LogLines(quiet=True)
    lines.show(event(1))
    lines.stop(event(2))
    assert capsys.readouterr().err == ""
    lines.show(event(3, elapsed=6.0))
    lines.stop(event(4, elapsed=7.0))
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_line_tells_what_is_known():
    assert progress_line(event(0, None, 0.0)) == "0 tasks, 0 s"
    assert ", 15,300/s" in progress_line(event(30_600, None, 2.0))
    text = progress_line(event(10, 40, 2.0, failed=1, retried=3))
    assert text == "10 of 40 tasks (25 %), 1 failed, 3 retried, 2 s, 5/s, 6 s left"


@pytest.mark.parametrize(
    ("verbose", "fewest", "most"), [(1, 3, 6), (5, 7, 11), (10, 35, 50), (11, 1000, 1000)]
)
def test_verbose_sets_how_many_lines_there_are(verbose, fewest, most, capsys):
    lines = VerboseLines(verbose, "loky", 2)
    lines.show(event(0, total=1000))
    for done in range(1, 1001):
        lines.show(event(done, total=1000))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "[Parallel(n_jobs=2)]: Using backend loky with 2 concurrent workers."
    assert fewest <= len(said) - 1 <= most


def test_verbose_lines_read_as_joblibs(capsys):
    lines = VerboseLines(11, "threading", 1)
    lines.show(event(0, None, 0.0))
    lines.show(event(3, None, 0.5))
    lines.show(event(5, 10, 5.0))
    lines.stop(event(10, 10, 90.0))
    assert capsys.readouterr().err.splitlines() == [
        "[Parallel(n_jobs=1)]: Using backend threading with 1 concurrent worker.",
        "[Parallel(n_jobs=1)]: Done   3 tasks      | elapsed:   0.5s",
        "[Parallel(n_jobs=1)]: Done   5 out of  10 | elapsed:   5.0s remaining:   5.0s",
        "[Parallel(n_jobs=1)]: Done  10 out of  10 | elapsed:   1.5min finished",
    ]


def test_very_verbose_lines_go_to_standard_output(capsys):
    Parallel(verbose=50)(delayed(abs)(x) for x in range(4))
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].endswith("finished")
    assert err == ""


def test_verbose_and_progress_go_together(capsys):
    events = []
    Parallel(verbose=1, progress=events.append)(delayed(abs)(x) for x in range(4))
    assert "Done   4 out of   4" in capsys.readouterr().err
    assert events[-1].done == 4


@pytest.mark.parametrize("backend", ["sequential", "threading"])
def test_a_call_that_can_not_begin_has_no_bar(backend, watch):
    terminal = watch()
    with pytest.raises(TypeError, match="iterable"):
        Parallel(backend=backend, progress=True)(3)
    assert terminal.getvalue() == ""


def test_a_generator_that_nobody_asks_has_no_bar(watch):
    terminal = watch()
    stream = Parallel(backend="sequential", return_as="generator", progress=True)([delayed(abs)(-1)])
    del stream
    gc.collect()
    assert terminal.getvalue() == ""


class Full(io.StringIO):
    """A standard error on a disk without room."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    "keys", [{"progress": "log"}, {"progress": "tqdm"}, {"progress": True}, {"verbose": 50}]
)
@pytest.mark.parametrize("stream", [lambda: None, closed, Full], ids=["none", "closed", "full"])
def test_what_can_not_be_written_costs_no_results(stream, keys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream())
    monkeypatch.setattr(sys, "stderr", stream())
    assert Parallel(n_jobs=2, backend="threading", **keys)(delayed(abs)(-x) for x in range(4)) == [0, 1, 2, 3]


def test_a_bar_that_can_not_be_drawn_holds_up_no_other(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Full())
    results = []

    def work():
        results.append(Parallel(n_jobs=2, backend="threading", progress="tqdm")([delayed(abs)(-1)]))

    for _ in range(2):
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(30)
    assert results == [[1], [1]]
