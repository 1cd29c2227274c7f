"""The part of the contract about settings: tasks see them, and reports tell what came of them."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from parallelcfg.config.context import parallel_config
from parallelcfg.task import delayed
from parallelcfg.testing import tasks
from parallelcfg.testing.basis import Basis, needs

if TYPE_CHECKING:
    from pathlib import Path

    from parallelcfg.report import Report

__all__ = ["SettingContract"]


def most_at_a_time(report: Report) -> int:
    """How many batches ran at the same time, at the most."""
    starts = [(batch.started, 1) for batch in report.batches]
    ends = [(batch.ended, -1) for batch in report.batches]
    return max(accumulate(step for _, step in sorted([*starts, *ends])))


class SettingContract(Basis):
    """The configuration in tasks, limits on inner threads, reports and progress."""

    def test_a_task_sees_the_configuration_of_its_call(self, tmp_path: Path) -> None:
        with parallel_config(temp_folder=str(tmp_path), mmap_mode="c"):
            (seen,) = self.parallel(max_nbytes="3K", retries=1)(
                [delayed(tasks.config_values)("temp_folder", "mmap_mode", "max_nbytes", "retries")]
            )
        assert seen == (str(tmp_path), "c", 3072, 1)

    def test_a_task_does_not_inherit_backend_and_jobs(self) -> None:
        (seen,) = self.parallel()([delayed(tasks.config_values)("n_jobs", "backend")])
        assert seen == (None, None)

    def test_inner_threads_are_limited(self) -> None:
        for limit in (2, 1):
            (sizes,) = self.parallel(inner_max_num_threads=limit)([delayed(tasks.pool_sizes)()])
            needs(bool(sizes), "numpy has no native pools here")
            assert set(sizes) == {limit}

    def test_the_report_counts_tasks(self) -> None:
        parallel = self.parallel(on_error="return")
        parallel([delayed(tasks.fail_at)(i, 3) for i in range(25)])
        report = parallel.report
        assert (report.total, report.tasks, report.failed) == (25, 25, 1)
        assert report.backend == parallel.backend_name
        assert report.workers
        assert report.wall_seconds > 0
        if not self.traits.multi_host:  # another host has a clock of its own
            assert most_at_a_time(report) <= self.n_jobs

    def test_progress_counts_up_to_the_number_of_tasks(self) -> None:
        seen: list[Any] = []
        self.parallel(progress=seen.append)([delayed(abs)(-i) for i in range(30)])
        assert seen[-1].done == 30
        assert [event.done for event in seen] == sorted(event.done for event in seen)
