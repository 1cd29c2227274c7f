"""What a report says about a call, as numbers, text and JSON."""

import json
import os
import re
import threading
import time

import pytest

from parallelcfg import Parallel, SubstitutionWarning, delayed, parallel_config
from parallelcfg.report import Report


def fail_at(bad, x):
    if x == bad:
        raise ValueError(x)
    return x


def array_of(megabytes):
    import numpy as np

    return np.zeros(megabytes * 2**17)


def flaky(path):
    """Fails at its first attempt."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "second attempt"
    raise OSError("first attempt")


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky", "multiprocessing"])
def test_every_task_is_counted_once(backend):
    parallel = Parallel(n_jobs=2, backend=backend, on_error="return")
    parallel(delayed(fail_at)(5, x) for x in range(40))
    report = parallel.report
    assert (report.backend, report.tasks, report.failed, report.retries, report.total) == (
        backend,
        40,
        1,
        0,
        40,
    )
    assert sum(worker.tasks for worker in report.workers.values()) == 40
    assert sum(batch.tasks for batch in report.batches) == 40
    assert report.place.startswith(__file__)
    assert 0 < report.busy_seconds <= report.wall_seconds * report.n_jobs
    assert 0 < report.utilisation <= 1
    assert report.smallest <= report.mean_batch_size <= report.largest


def test_batches_lie_within_their_call():
    parallel = Parallel(n_jobs=2)
    parallel(delayed(abs)(x) for x in range(100))
    report = parallel.report
    assert report.batch_count == len(report.batches) > 1
    assert all(report.began <= batch.started <= batch.ended <= report.ended for batch in report.batches)
    assert report.overhead_seconds > 0


def test_bytes_are_counted_apart_by_their_way():
    parallel = Parallel(n_jobs=2)
    parallel(delayed(len)(array_of(2)) for _ in range(1))
    assert parallel.report.bytes_shared >= 2 * 2**20
    assert 0 < parallel.report.bytes_pickled < 2**16
    parallel = Parallel(n_jobs=2, max_nbytes=None)
    parallel(delayed(len)(array_of(2)) for _ in range(1))
    assert parallel.report.bytes_shared == 0
    assert parallel.report.bytes_pickled > 2 * 2**20


def test_workers_tell_their_peak_memory():
    parallel = Parallel(n_jobs=2)
    parallel(delayed(abs)(x) for x in range(4))
    assert parallel.report.peak_rss > 10**6


def test_retries_are_counted_apart_from_failures(tmp_path):
    parallel = Parallel(n_jobs=2, backend="threading", retries=1)
    assert parallel(delayed(flaky)(tmp_path / str(x)) for x in range(3)) == ["second attempt"] * 3
    assert (parallel.report.tasks, parallel.report.failed, parallel.report.retries) == (3, 0, 3)


def test_a_lost_worker_is_counted():
    parallel = Parallel(n_jobs=2, on_error="return", batch_size=1)
    parallel([delayed(os._exit)(3), delayed(abs)(-1)])
    assert parallel.report.lost >= 1
    assert parallel.report.failed == 1


def test_a_worker_that_is_stopped_with_its_call_is_not_lost():
    parallel = Parallel(n_jobs=2, batch_size=1)
    with parallel:
        with pytest.raises(ValueError, match="x"):
            parallel([delayed(time.sleep)(60), delayed(int)("x")])
        report = parallel.report
    assert (report.failed, report.lost) == (1, 0)


def test_a_report_can_be_read_while_the_call_runs():
    release = threading.Event()
    parallel = Parallel(n_jobs=2, backend="threading", return_as="generator", batch_size=1)
    results = parallel([delayed(abs)(-1), delayed(release.wait)()])
    assert next(results) == 1
    report = parallel.report
    assert (report.tasks, report.total, report.ended) == (1, 2, 0)
    assert "1 of 2 tasks" in repr(report)
    assert "running" in repr(report)
    assert json.loads(report.to_json())["running"] is True
    release.set()
    assert next(results) is True


def test_substitutions_are_told():
    with parallel_config(max_jobs=1), pytest.warns(SubstitutionWarning):
        parallel = Parallel(n_jobs=2)
    parallel([delayed(abs)(-1)])
    assert "max_jobs is the ceiling" in repr(parallel.report)
    assert parallel.report.to_dict()["substitutions"][0]["key"] == "n_jobs"


def test_text_says_what_matters(make_report):
    text = repr(make_report(failed={(0, 1)}))
    assert text.splitlines()[0] == "24 tasks on 2 workers (loky) in 10 s"
    assert "10 s, 50 % of the workers' time" in text
    assert re.search(r"batches +8 of 3 tasks\n", text)
    assert "3.4 kB pickled, 12 MB shared" in text
    assert "2 MB in the largest worker" in text
    assert "1 task\n" in f"{text}\n"


def test_an_empty_report_has_words_too():
    report = Report("loky", 2)
    assert repr(report).startswith("0 tasks on 2 workers (loky)")
    assert json.loads(report.to_json())["batches"] == []


def test_json_holds_everything(make_report):
    data = json.loads(make_report(failed={(0, 1)}).to_json(indent=1))
    assert data["tasks"] == 24
    assert data["batch_sizes"] == {"batches": 8, "smallest": 3, "mean": 3.0, "largest": 3}
    assert [worker["name"] for worker in data["workers"]] == ["worker-0", "worker-1"]
    assert data["workers"][0]["wall_seconds"] == 8.75
    assert data["batches"][0]["started"] == 0
    assert sum(batch["failed"] for batch in data["batches"]) == 1
