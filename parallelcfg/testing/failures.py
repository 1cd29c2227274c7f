"""The part of the contract about failures: whose they are, what they cost, and what goes on afterwards."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from parallelcfg.errors import (
    ConfigError,
    DeadlineExceeded,
    TaskError,
    TaskFailure,
    TaskNotPicklable,
    TaskTimeout,
    WorkerLost,
)
from parallelcfg.task import delayed
from parallelcfg.testing import tasks
from parallelcfg.testing.basis import Basis, needs, raises

__all__ = ["FailureContract"]

#: Not ``sys.version_info``: type checkers take 3.10 for granted and call the rest unreachable.
_HAS_NOTES = sys.hexversion >= 0x030B0000


class FailureContract(Basis):
    """Errors of tasks, retries, timeouts, aborts, and workers that die."""

    @property
    def _as_bytes(self) -> bool:
        """Whether the engine turns batches into bytes for this backend."""
        return not (self.traits.shares_memory or self.traits.pickles_itself)

    def test_an_error_keeps_its_type_and_names_its_task(self) -> None:
        with raises(ValueError) as caught:
            self.parallel()(delayed(tasks.fail_at)(i, 5) for i in range(20))
        assert str(caught.value) == "5 is bad"
        if _HAS_NOTES:
            assert caught.value.__notes__ == ["raised by task 5: fail_at(5, 5)"]  # type: ignore[attr-defined]  # 3.11
        if self._as_bytes:
            cause = caught.value.__cause__
            assert isinstance(cause, TaskFailure)
            assert (cause.index, cause.call) == (5, "fail_at(5, 5)")
            assert 'raise ValueError(f"{x} is bad")' in cause.traceback

    def test_a_generator_raises_after_results_without_a_gap(self) -> None:
        stream = self.parallel(return_as="generator")(delayed(tasks.fail_at)(i, 9) for i in range(30))
        seen = []
        with raises(ValueError):
            seen.extend(stream)
        assert seen == list(range(len(seen)))
        assert len(seen) <= 9

    def test_exceptions_that_are_no_errors_keep_their_type(self) -> None:
        for error in (SystemExit(4), KeyboardInterrupt("task")):
            with raises(type(error)):
                self.parallel()([delayed(abs)(-1), delayed(tasks.raise_this)(error)])

    def test_stop_iteration_does_not_end_a_generator_early(self) -> None:
        calls = [delayed(abs)(-1), delayed(tasks.raise_this)(StopIteration(7))]
        with raises(TaskError) as caught:
            self.parallel()(calls)
        assert isinstance(caught.value.exception, StopIteration)
        with raises(TaskError):
            list(self.parallel(return_as="generator")(calls))

    def test_an_exception_that_does_not_unpickle_arrives_all_the_same(self) -> None:
        with raises(tasks.Awkward) as caught:
            self.parallel()([delayed(tasks.raise_awkward)()])
        assert (str(caught.value), caught.value.code) == ("something awkward", 3)

    def test_errors_can_be_returned_in_place_of_results(self) -> None:
        results = self.parallel(on_error="return")(delayed(tasks.fail_at)(i, 3) for i in range(40))
        failed = results.pop(3)
        assert results == [i for i in range(40) if i != 3]
        assert isinstance(failed, TaskError)
        assert (failed.index, type(failed.exception), failed.attempts) == (3, ValueError, 1)

    def test_a_failed_task_is_tried_again(self, tmp_path: Path) -> None:
        calls = [delayed(tasks.fail_first)(str(tmp_path), str(i), times=i % 3) for i in range(9)]
        assert self.parallel(retries=2)(calls) == [1, 2, 3] * 3

    def test_retries_come_to_an_end(self, tmp_path: Path) -> None:
        (failed,) = self.parallel(retries=2, on_error="return")(
            [delayed(tasks.fail_first)(str(tmp_path), "never", times=9)]
        )
        assert (failed.attempts, str(failed.exception)) == (3, "attempt 3")

    def test_an_error_ends_the_call_early(self) -> None:
        pulled = []

        def source() -> Any:
            for i in range(10_000):
                pulled.append(i)
                yield delayed(tasks.fail_at)(i, 3)

        with raises(ValueError):
            self.parallel(batch_size=1)(source())
        assert len(pulled) < 1000

    def test_a_with_block_goes_on_after_an_error(self) -> None:
        with self.parallel() as parallel:
            for _ in range(2):
                with raises(ValueError):
                    parallel(delayed(tasks.fail_at)(i, 1) for i in range(10))
                assert parallel(delayed(abs)(-i) for i in range(10)) == list(range(10))

    def test_an_argument_that_can_not_travel_is_its_tasks_error(self) -> None:
        needs(self._as_bytes, "nothing has to be pickled")
        calls = [delayed(abs)(-1), delayed(type)(threading.Lock()), delayed(abs)(-3)]
        with raises(TaskNotPicklable) as caught:
            self.parallel()(calls)
        assert "task 1, type(<lock>)" in str(caught.value)
        first, failed, third = self.parallel(on_error="return")(calls)
        assert (first, third) == (1, 3)
        assert isinstance(failed.exception, TaskNotPicklable)

    def test_a_result_that_can_not_travel_is_its_tasks_error(self) -> None:
        needs(self._as_bytes, "nothing has to be pickled")
        first, failed, third = self.parallel(on_error="return", batch_size=3)(
            [delayed(abs)(-1), delayed(tasks.make_lock)(), delayed(abs)(-3)]
        )
        assert (first, third) == (1, 3)
        assert (failed.index, type(failed.exception)) == (1, TaskNotPicklable)

    def test_a_timeout_names_a_task_or_is_refused(self, tmp_path: Path) -> None:
        needs(not self.traits.in_caller, "nobody is there to look at the clock")
        if not self.traits.times_tasks:
            with raises(ConfigError):
                self.parallel(timeout=1, strict=True)
            return
        slow = str(tmp_path / "go on")
        try:
            with raises(TaskTimeout) as caught:
                self.parallel(timeout=0.3, batch_size=1)([delayed(abs)(-1), delayed(tasks.wait_for)(slow)])
        finally:
            Path(slow).touch()
        if _HAS_NOTES:
            assert "task 1: wait_for" in caught.value.__notes__[0]  # type: ignore[attr-defined]  # from 3.11 on

    def test_a_timeout_stops_the_task_where_that_is_possible(self) -> None:
        able = self.traits.can_kill_running and self.traits.times_tasks
        needs(able, "a running task can't be stopped in time")
        began = time.monotonic()
        first, slow, third = self.parallel(timeout=0.5, on_error="return", batch_size=1)(
            [delayed(abs)(-1), delayed(time.sleep)(60), delayed(abs)(-3)]
        )
        assert time.monotonic() - began < 30
        assert (first, third, type(slow.exception)) == (1, 3, TaskTimeout)

    def test_tasks_that_are_late_hold_up_no_others(self, tmp_path: Path) -> None:
        able = self.traits.can_kill_running or self.traits.abandons
        needs(able and self.traits.times_tasks, "a late task keeps its worker")
        slow = str(tmp_path / "go on")
        calls = [delayed(tasks.wait_for)(slow)] * self.n_jobs + [delayed(abs)(-i) for i in range(3)]
        try:
            results = self.parallel(timeout=0.5, on_error="return", batch_size=1)(calls)
        finally:
            Path(slow).touch()
        late = results[: self.n_jobs]
        assert {type(error.exception) for error in late} == {TaskTimeout}
        assert results[self.n_jobs :] == [0, 1, 2]

    def test_a_deadline_ends_the_call(self, tmp_path: Path) -> None:
        needs(not self.traits.in_caller, "nobody is there to look at the clock")
        slow = str(tmp_path / "go on")
        try:
            with raises(DeadlineExceeded):
                self.parallel(deadline=0.3)([delayed(tasks.wait_for)(slow)])
        finally:
            Path(slow).touch()

    def test_a_worker_that_dies_is_told_from_a_task_that_fails(self, tmp_path: Path) -> None:
        needs(self.traits.uses_processes and self.traits.can_kill_running, "workers don't die alone")
        with raises(WorkerLost):
            self.parallel()([delayed(tasks.die_first)(str(tmp_path), "a", times=9)])
        calls = [delayed(tasks.once)(str(tmp_path), i) for i in range(4)]
        assert self.parallel()(calls) == [0, 1, 2, 3]

    def test_a_task_whose_worker_died_is_tried_again(self, tmp_path: Path) -> None:
        needs(self.traits.uses_processes and self.traits.can_kill_running, "workers don't die alone")
        calls = [delayed(abs)(-5), delayed(tasks.die_first)(str(tmp_path), "b", times=1), delayed(abs)(-6)]
        assert self.parallel(retries=1)(calls) == [5, 2, 6]
