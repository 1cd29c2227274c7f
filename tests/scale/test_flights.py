"""The bookkeeping of cluster sessions, on a cluster that does what the test says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg import Parallel, WorkerLost, delayed, get_config
from parallelcfg.backends.base import Traits, Work
from parallelcfg.backends.flights import Flights, lost
from parallelcfg.core.outcome import Lost, Reply


class Scripted(Flights):
    """Batches end when the test says so."""

    def __init__(self, n_jobs, slots):
        super().__init__(get_config(n_jobs=n_jobs), slots, ())
        self.out = {}
        self.cancelled = []
        self.left = 0
        self.refuse = None
        self.on_start = lambda: None

    def put(self, value):
        return value

    def _pack(self, work):
        return (work,)

    def _start(self, batch_id, args):
        if self.refuse is not None:
            raise self.refuse
        self.on_start()
        self.out[batch_id] = args
        return batch_id

    def _follow(self, batch_id, future):
        pass

    def _cancel(self, futures):
        self.cancelled += futures

    def _explain(self, error):
        return lost(f"explained: {error}", error)

    def _leave(self):
        self.left += 1

    def end(self, batch_id):
        self.out.pop(batch_id)
        self._settle(batch_id, REPLY)


REPLY = Reply(None, 1)
WORK = Work(abs, -1)


def submitted(session, count):
    told = []
    for batch_id in range(count):
        session.submit(batch_id, WORK, lambda *end: told.append(end))
    return told


def test_a_cluster_with_more_slots_gets_no_more_batches_than_jobs_are_allowed():
    session = Scripted(n_jobs=2, slots=8)
    told = submitted(session, 5)
    assert list(session.out) == [0, 1]
    session.end(1)
    assert list(session.out) == [0, 2]
    assert told == [(1, REPLY)]


def test_a_cluster_with_fewer_slots_gets_all_at_once():
    session = Scripted(n_jobs=4, slots=2)
    submitted(session, 9)
    assert len(session.out) == 9


def test_a_shrinking_cluster_is_told_and_a_growing_one_gets_no_more_than_allowed():
    session = Scripted(n_jobs=-1, slots=2)
    seen = []
    session.watch(lambda: seen.append(session.workers))
    session._resize(2)
    session._resize(5)
    session._resize(1)
    assert seen == [5, 1]


def test_what_waits_goes_out_when_the_cluster_shrinks_below_the_limit():
    session = Scripted(n_jobs=2, slots=8)
    submitted(session, 5)
    session._resize(2)  # the cluster itself is the limit now
    assert len(session.out) == 5


def test_an_abort_reports_everything_once_and_later_ends_change_nothing():
    session = Scripted(n_jobs=2, slots=8)
    told = submitted(session, 4)
    session.abort()
    session.end(0)
    session.abort()
    assert sorted(batch_id for batch_id, _ in told) == [0, 1, 2, 3]
    assert all(isinstance(end, Lost) and end.innocent for _, end in told)
    assert session.cancelled == [0, 1]
    assert session.over


def test_a_batch_that_was_aborted_while_it_was_handed_over_is_cancelled():
    session = Scripted(n_jobs=2, slots=2)
    session.on_start = session.abort
    told = submitted(session, 1)
    assert session.cancelled == [0]
    assert len(told) == 1


def test_submissions_after_the_end_are_lost():
    session = Scripted(n_jobs=2, slots=2)
    session.close()
    session.close()
    ((_, end),) = submitted(session, 1)
    assert isinstance(end.cause, WorkerLost)
    assert session.left == 1


def test_a_cluster_that_is_gone_loses_what_was_out_and_what_waited():
    session = Scripted(n_jobs=2, slots=8)
    told = submitted(session, 3)
    gone = lost("the cluster was lost")
    session._lose(gone)
    session.end(0)
    assert told == [(batch_id, gone) for batch_id in range(3)]
    assert submitted(session, 1) == [(0, gone)]
    assert session.over
    assert session.cancelled == []


def test_a_cluster_that_goes_after_its_session_is_not_to_blame():
    session = Scripted(n_jobs=2, slots=2)
    session.close()
    session._lose(lost("the cluster was lost"))
    ((_, end),) = submitted(session, 1)
    assert "with block" in str(end.cause)


def test_what_the_cluster_refuses_is_lost_with_the_reason():
    session = Scripted(n_jobs=2, slots=2)
    session.refuse = OSError("full\nof details")
    ((_, end),) = submitted(session, 1)
    assert str(end.cause) == "explained: full"
    assert isinstance(end.cause.__cause__, OSError)


@given(st.integers(1, 5), st.integers(1, 5), st.lists(st.integers(0, 7), max_size=40))
def test_every_submission_is_reported_exactly_once(n_jobs, slots, steps):
    session = Scripted(n_jobs, slots)
    told, sent = [], 0
    for step in steps:
        if step < 4 and session.out:
            session.end(list(session.out)[step % len(session.out)])
        elif step == 7:
            session._resize(len(session.out) + 1)
        else:
            session.submit(sent, WORK, lambda *end: told.append(end[0]))
            sent += 1
    session.close()
    assert sorted(told) == list(range(sent))


class Here:
    """A cluster of one process, this one: work runs as it is submitted."""

    name = "here"
    traits = Traits(cluster=True, single_in_caller=False, times_tasks=False)

    def __init__(self):
        self.stored = []

    def effective_n_jobs(self, config, cpus):
        return 1

    def open(self, config, n_jobs, threads):
        backend = self

        class Session(Scripted):
            def put(self, value):
                backend.stored.append(value)
                return value

            def _pack(self, work):
                return work.run, work.payload, work.handles

            def _follow(self, batch_id, future):
                run, payload, contents = self.out.pop(batch_id)
                self._settle(batch_id, run(payload, *contents))

        return Session(1, 1)


def test_a_backend_outside_of_this_package_may_be_a_cluster_too():
    np = pytest.importorskip("numpy")
    here, array = Here(), np.arange(200_000.0)
    parallel = Parallel(n_jobs=1, backend=here, batch_size=1)
    assert parallel(delayed(np.max)(array) for _ in range(3)) == [199_999.0] * 3
    assert [stored is array for stored in here.stored] == [True]
