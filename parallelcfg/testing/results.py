"""The part of the contract about results: all of them, once each, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parallelcfg.task import delayed
from parallelcfg.testing import tasks
from parallelcfg.testing.basis import Basis, needs, raises

__all__ = ["ResultContract"]


class ResultContract(Basis):
    """Results, generators, large data, and the tasks' source."""

    def test_results_come_in_the_order_of_the_tasks(self) -> None:
        assert self.parallel()(delayed(abs)(-i) for i in range(300)) == list(range(300))

    def test_every_task_is_run_exactly_once(self, tmp_path: Path) -> None:
        names = self.parallel()(delayed(tasks.once)(str(tmp_path), i) for i in range(100))
        assert names == list(range(100))
        assert len(list(tmp_path.iterdir())) == 100

    def test_no_task_gives_no_result(self) -> None:
        assert self.parallel()([]) == []
        assert list(self.parallel(return_as="generator")(iter(()))) == []

    def test_functions_without_an_importable_name_travel(self) -> None:
        offset = 10
        assert self.parallel()(delayed(lambda x: x + offset)(i) for i in range(3)) == [10, 11, 12]

    def test_functions_arguments_and_keywords_may_differ(self) -> None:
        calls = [delayed(abs)(-1), delayed(int)("11", base=2), delayed(dict)(a=1), delayed(divmod)(7, 3)]
        assert self.parallel()(calls) == [1, 3, {"a": 1}, (2, 1)]

    def test_a_fixed_batch_size_changes_nothing_in_the_results(self) -> None:
        assert self.parallel(batch_size=7)(delayed(abs)(-i) for i in range(30)) == list(range(30))

    def test_a_generator_gives_results_in_order(self) -> None:
        stream = self.parallel(return_as="generator")(delayed(abs)(-i) for i in range(100))
        assert list(stream) == list(range(100))

    def test_a_generator_gives_results_before_the_last_task_has_ended(self, tmp_path: Path) -> None:
        needs(self.prompt, "reports are late")
        last = str(tmp_path / "go on")
        stream = self.parallel(return_as="generator", batch_size=1)(
            [delayed(abs)(-1), delayed(tasks.wait_for)(last)]
        )
        assert next(stream) == 1
        Path(last).touch()
        assert list(stream) == [last]

    def test_an_unordered_generator_gives_each_result_once(self) -> None:
        stream = self.parallel(return_as="generator_unordered")(delayed(abs)(-i) for i in range(100))
        assert sorted(stream) == list(range(100))

    def test_an_unordered_generator_does_not_wait_for_a_slow_task(self, tmp_path: Path) -> None:
        needs(self.concurrent, "tasks run one after another")
        slow = str(tmp_path / "go on")
        stream = self.parallel(return_as="generator_unordered", batch_size=1)(
            [delayed(tasks.wait_for)(slow), delayed(abs)(-1)]
        )
        assert next(stream) == 1
        Path(slow).touch()
        assert list(stream) == [slow]

    def test_the_last_tasks_run_side_by_side_whichever_batch_they_are_in(self, tmp_path: Path) -> None:
        needs(self.traits.divides, "batches are not divided")
        there = tmp_path / "there"

        def source() -> Any:
            for i in range(1000):
                yield delayed(abs)(-i)
            yield delayed(tasks.wait_for)(str(there))
            yield delayed(there.touch)()

        assert self.parallel()(source()) == [*range(1000), str(there), None]

    def test_a_generator_that_is_dropped_leaves_the_backend_usable(self) -> None:
        parallel = self.parallel(return_as="generator")
        stream = parallel(delayed(abs)(-i) for i in range(1000))
        assert next(stream) == 0
        stream.close()
        assert list(parallel(delayed(abs)(-i) for i in range(10))) == list(range(10))

    def test_one_object_serves_many_calls_in_a_with_block(self) -> None:
        with self.parallel() as parallel:
            for size in (3, 0, 50):
                assert parallel(delayed(abs)(-i) for i in range(size)) == list(range(size))

    def test_large_arguments_and_results_arrive_whole(self) -> None:
        large = tasks.array(500_000, 2.0)
        assert self.parallel()(delayed(tasks.total)(large) for _ in range(3)) == [1_000_000.0] * 3
        first, second = self.parallel()(delayed(tasks.array)(500_000, value) for value in (1.0, 2.0))
        assert (tasks.total(first), tasks.total(second)) == (500_000.0, 1_000_000.0)
        first[0] = 5.0  # a result is the caller's own
        assert tasks.total(first) == 500_004.0

    def test_the_source_runs_in_the_callers_process_and_may_call_parallel_itself(self) -> None:
        def source() -> Any:
            for i in range(3):
                (power,) = self.parallel()([delayed(pow)(2, i)])
                yield delayed(abs)(-power)

        assert self.parallel()(source()) == [1, 2, 4]
        assert list(self.parallel(return_as="generator")(source())) == [1, 2, 4]

    def test_what_the_source_raises_is_raised_in_the_caller(self) -> None:
        def source(error: BaseException) -> Any:
            yield delayed(abs)(-1)
            raise error

        for return_as in ("list", "generator", "generator_unordered"):
            for error in (ValueError("source"), SystemExit(3), KeyboardInterrupt()):
                with raises(type(error)) as caught:
                    list(self.parallel(return_as=return_as)(source(error)))
                assert caught.value is error

    def test_an_item_that_is_no_task_is_named(self) -> None:
        with raises(TypeError) as caught:
            self.parallel()([delayed(abs)(-1), abs])
        assert "task 1 is" in str(caught.value)

    def test_the_source_is_not_read_far_ahead_of_the_workers(self, tmp_path: Path) -> None:
        pulled = []

        def source() -> Any:
            for i in range(1000):
                pulled.append(i)
                yield delayed(tasks.wait_for)(str(tmp_path / "go on"))

        stream = self.parallel(return_as="generator", batch_size=1, pre_dispatch="2 * n_jobs")(source())
        try:
            assert len(pulled) <= 2 * self.n_jobs + 1
        finally:
            stream.close()
            (tmp_path / "go on").touch()

    def test_parallel_calls_inside_of_tasks(self) -> None:
        expected = [[factor**power for power in range(4)] for factor in range(4)]
        assert self.parallel()(delayed(tasks.nested_products)(factor) for factor in range(4)) == expected
