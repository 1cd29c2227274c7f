"""Reports as Chrome trace events, which Perfetto opens: calls, and what each worker ran.

The key ``trace`` names a file that gets all calls of this process when it ends.
"""

from __future__ import annotations

import atexit
import json
import os
import platform
import sys
import threading
from datetime import datetime, timezone
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from parallelcfg.config.callers import notebook
from parallelcfg.progress.output import say
from parallelcfg.report.text import headline

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from parallelcfg.report.records import BatchRecord
    from parallelcfg.report.summary import Report

__all__ = ["events", "keep", "write_kept", "write_trace"]

_CALLS, _WORKERS = 1, 2


def write_trace(path: str | os.PathLike[str], reports: Iterable[Report]) -> None:
    """Write a trace file, whole or not at all; a device or a pipe gets it directly.

    Parameters
    ----------
    path : path
        The file; one that is there is replaced, one that a link names too.
    reports : iterable of Report
        The calls to put into it.
    """
    target, calls = Path(path), list(reports)
    first = min((report.began_at for report in calls), default=time())
    source = {"began": _utc(first), "host": platform.node(), "process": os.getpid()}
    whole = {"displayTimeUnit": "ms", "otherData": source, "traceEvents": list(events(calls))}
    try:
        if target.exists() and not target.is_file():
            target.write_text(json.dumps(whole), encoding="utf-8")
        else:
            _replace(Path(os.path.realpath(target)), json.dumps(whole))
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(target)) from None


def _replace(target: Path, text: str) -> None:
    draft = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def events(reports: list[Report]) -> Iterator[dict[str, Any]]:
    """The trace events of some calls; time counts in microseconds from the first one's start."""
    began = min((report.began for report in reports), default=0.0)
    yield _metadata("process_name", _CALLS, 0, "calls of Parallel")
    yield _metadata("process_name", _WORKERS, 0, "workers")
    for number, report in enumerate(reports):
        yield from _call(number, report, began)
    lanes = _Lanes()
    runs = [(batch, report) for report in reports for batch in report.batches]
    for batch, report in sorted(runs, key=lambda run: run[0].started):
        lane, is_new = lanes.take(batch, report)
        if is_new:
            yield _metadata("thread_name", _WORKERS, lane, batch.worker)
        name = f"{batch.tasks:,} task{'' if batch.tasks == 1 else 's'}"
        event = {
            "name": f"{name}, {batch.failed:,} failed" if batch.failed else name,
            "cat": "batch",
            "ph": "X",
            "pid": _WORKERS,
            "tid": lane,
            "ts": _micro(batch.started - began),
            "dur": _micro(batch.ended - batch.started),
            "args": {
                "call": report.place,
                "tasks": batch.tasks,
                "first task": batch.first,
                "failed": batch.failed,
                "batches": batch.batches,
                "seconds inside tasks": batch.seconds,
            },
        }
        yield {**event, "cname": "terrible"} if batch.failed else event


class _Lanes:
    """Who stands where: a lane for each worker; workers of one name that overlap get one each.

    Thread pools of simultaneous calls count their workers from one, each for itself.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, dict[int, tuple[float, Report]]] = {}  # lane: until when, by which call
        self._count = 0

    def take(self, batch: BatchRecord, report: Report) -> tuple[int, bool]:
        """The lane of a batch, and whether it is a new one; batches come in the order of their starts."""
        lanes = self._by_name.setdefault(batch.worker, {})
        free = {lane: call for lane, (until, call) in lanes.items() if until <= batch.started}
        is_new = not free
        if is_new:
            self._count += 1
        own = [lane for lane, call in free.items() if call is report]
        lane = own[0] if own else min(free, default=self._count)
        lanes[lane] = batch.ended, report
        return lane, is_new


def _call(number: int, report: Report, began: float) -> Iterator[dict[str, Any]]:
    """A call as an asynchronous span: calls of one thread may overlap, where they give generators."""
    args = {
        "began": _utc(report.began_at),
        "place": report.place,
        "thread": report.thread,
        "utilisation": report.utilisation,
        "bytes pickled": report.bytes_pickled,
        "bytes shared": report.bytes_shared,
        "substitutions": [str(one) for one in report.substitutions],
    }
    span = {"name": headline(report), "cat": "call", "id": number, "pid": _CALLS, "tid": 0}
    yield {**span, "ph": "b", "ts": _micro(report.began - began), "args": args}
    yield {**span, "ph": "e", "ts": _micro(report.began - began + report.wall_seconds)}


def _metadata(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}


def _utc(seconds: float) -> str:
    """A point in time as people of all time zones read it."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


def _micro(seconds: float) -> float:
    return round(seconds * 1e6, 3)


class _Traces:
    """What the files of the key ``trace`` will hold."""

    def __init__(self) -> None:
        self._reset()
        if sys.platform not in {"win32", "emscripten"}:
            os.register_at_fork(after_in_child=self._reset)  # what the parent did is the parent's to write

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._reports: dict[str, list[Report]] = {}
        self._news: set[str] = set()  # files that are not up to date

    def keep(self, path: str, report: Report) -> None:
        with self._lock:
            if not self._reports:
                atexit.unregister(self.write)
                atexit.register(self.write)
                if (shell := notebook()) is not None:  # whose kernel may be killed at its end
                    shell.events.register("post_run_cell", self.write)
            self._reports.setdefault(path, []).append(report)
            self._news.add(path)

    def write(self, *_: object) -> None:
        with self._lock:
            kept = {path: list(reports) for path, reports in self._reports.items() if path in self._news}
        for path, reports in kept.items():
            try:
                write_trace(path, reports)
            except OSError as error:  # the program is over: nobody is left to catch it
                say(sys.stderr, f"parallelcfg: the trace {path} can't be written: {error.strerror}\n")
            with self._lock:
                if len(self._reports[path]) == len(reports) and all(report.ended for report in reports):
                    self._news.discard(path)  # no sooner: a signal may interrupt this, or be outlived


_traces = _Traces()


def keep(path: str, report: Report) -> None:
    """Put a call into the file that is written when this process ends.

    Parameters
    ----------
    path : str
        The file.
    report : Report
        The call; it may still run.
    """
    _traces.keep(path, report)


def write_kept() -> None:
    """Write the files of `keep` as they are by now."""
    _traces.write()
