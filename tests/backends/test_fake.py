"""The backend that follows a script, and what the engine makes of the accidents in it."""

from __future__ import annotations

import pytest

from parallelcfg import Parallel, TaskError, WorkerLost, delayed
from parallelcfg.testing import Delay, FakeBackend, Lose, Raise, Refuse, Run


def reports(backend: FakeBackend) -> list[object]:
    return [number for event, *numbers in backend.log if event == "report" for number in numbers]


def run(backend: FakeBackend, count: int = 4, **keys: object):
    parallel = Parallel(**{"n_jobs": 2, "batch_size": 1, "backend": backend, **keys})
    return parallel(delayed(abs)(-i) for i in range(count))


class TestScripts:
    def test_without_a_script_everything_is_run(self):
        backend = FakeBackend()
        assert run(backend, 2) == [0, 1]
        submitted = [event for event in backend.log if event[0] == "submit"]
        assert submitted == [("submit", 0), ("submit", 1)]
        assert (backend.log[0], backend.log[-1]) == (("open", 2), ("close",))

    def test_a_delayed_batch_is_reported_after_later_ones(self):
        backend = FakeBackend([Delay(2)])
        assert run(backend, 4) == [0, 1, 2, 3]
        assert reports(backend).index(0) == 2

    def test_delays_end_where_no_other_batch_is_out(self):
        backend = FakeBackend([Run(), Delay(100)], settle=0.001)
        assert run(backend, 2) == [0, 1]
        assert reports(backend) == [0, 1]

    def test_a_callable_script_is_asked_by_number(self):
        asked = []

        def script(number):
            asked.append(number)
            return Run()

        run(FakeBackend(script), 3)
        assert asked == [0, 1, 2]

    def test_unordered_results_come_as_they_are_reported(self):
        results = list(run(FakeBackend([Delay(1)]), 3, return_as="generator_unordered"))
        assert sorted(results) == [0, 1, 2]
        assert results[0] == 1


class TestAccidents:
    def test_a_loss_is_an_error(self):
        with pytest.raises(WorkerLost, match=r"batch 0 died with task 0, .*; the script says so"):
            run(FakeBackend([Lose()]))

    def test_a_lost_batch_that_was_run_is_run_again(self):
        seen = []
        parallel = Parallel(n_jobs=2, backend=FakeBackend([Lose(after=True)]), retries=1)
        parallel([delayed(seen.append)(1)])
        assert seen == [1, 1]

    def test_an_innocent_batch_costs_no_retry(self):
        assert run(FakeBackend([Lose(innocent=True)] * 3)) == [0, 1, 2, 3]

    def test_only_the_suspect_of_a_batch_is_blamed(self):
        script = [Run(), Lose(suspect=1)]
        results = run(FakeBackend(script), 4, batch_size=2, on_error="return")
        assert results[:3] == [0, 1, 2]
        assert isinstance(results[3], TaskError)
        assert isinstance(results[3].exception, WorkerLost)

    def test_without_a_suspect_the_culprit_is_found_by_trying_singly(self):
        script = [Lose(), Run(), Lose(), Run()]
        results = run(FakeBackend(script), 3, batch_size=3, on_error="return")
        assert [results[0], results[2]] == [0, 2]
        assert isinstance(results[1], TaskError)

    def test_a_worker_that_can_not_be_had_is_said(self):
        with pytest.raises(WorkerLost, match="no worker could be had"):
            run(FakeBackend([Refuse()]))

    def test_what_a_session_raises_ends_the_call(self):
        backend = FakeBackend([Run(), Raise(ConnectionError("gone"))])
        with pytest.raises(ConnectionError, match="gone"):
            run(backend)
        assert ("abort",) in backend.log
        assert backend.log[-1] == ("close",)

    @pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
    def test_what_a_session_raises_reaches_the_reader_of_a_generator(self, return_as):
        stream = run(FakeBackend([Raise(ConnectionError("gone"))]), return_as=return_as)
        with pytest.raises(ConnectionError, match="gone"):
            list(stream)

    def test_an_error_aborts_what_is_out(self):
        backend = FakeBackend([Lose(), Delay(100)], settle=30)
        with pytest.raises(WorkerLost):
            run(backend)
        assert ("abort",) in backend.log

    def test_a_with_block_opens_anew_after_an_abort(self):
        backend = FakeBackend([Lose()])
        with Parallel(n_jobs=2, backend=backend) as parallel:
            with pytest.raises(WorkerLost):
                parallel([delayed(abs)(-1)])
            assert parallel([delayed(abs)(-2)]) == [2]
        opened = [event[0] for event in backend.log if event[0] in {"open", "close"}]
        assert opened == ["open", "close", "open", "close"]


@pytest.mark.parametrize("reports", ["a", -1])
def test_a_delay_is_a_number(reports):
    with pytest.raises(ValueError, match="expected a number of reports"):
        Delay(reports)


@pytest.mark.parametrize("script", [[Lose], ["lose"], Lose(), 3])
def test_what_is_no_script_is_refused(script):
    with pytest.raises(TypeError, match=r"is no step|expected a list of steps"):
        FakeBackend(script)


def test_a_callable_that_gives_no_step_fails_the_call():
    with pytest.raises(TypeError, match="None is no step"):
        Parallel(n_jobs=2, backend=FakeBackend(lambda _number: None))(delayed(abs)(x) for x in range(3))
