"""Reports of made-up calls."""

import pytest

from parallelcfg.core.actions import Counts
from parallelcfg.report import BatchRecord, Report, Traffic


@pytest.fixture
def make_report():
    """A report of a call of 10 s, with batches of 3 tasks that last as long as the gaps between them."""

    def make(workers=2, batches=4, failed=(), name="worker-{}"):
        report = Report("loky", workers, place="program.py:12")
        report.began, report.traffic = 100.0, Traffic(3400, 12_000_000)
        step = 10 / max(1, batches)
        for worker in range(workers):
            for number in range(batches):
                started = 100 + number * step
                bad = int((worker, number) in failed)
                record = BatchRecord(
                    name.format(worker), started, started + step / 2, step / 2, 3, bad, number
                )
                report.history.add(record._replace(peak_rss=10**6 * (worker + 1)))
        tasks = 3 * workers * batches
        report.counts = Counts(tasks, len(failed), 0)
        report.total, report.ended = tasks, 110.0
        return report

    return make
