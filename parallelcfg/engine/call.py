"""One Parallel call: threads, clocks and a session around the dispatcher.

::

      caller (or the call's own thread)          the session's threads          consumer
      ─────────────────────────────────          ─────────────────────          ────────
      Pull ──▶ next(source) ──▶ pulled ─┐
                                        ├─▶  Dispatcher  ◀── done ── worker
      Submit ─▶ pack ──▶ submit  ◀──────┘    (one lock)
                                                 │
                                                 └──▶ Deliver, Finish ──▶ unpack ──▶ results

Pulling and packing, which run the user's code, belong to the driving thread and reach it through a queue;
deliveries reach the consumer through another. For a list, and where tasks run in the caller, driver and
consumer are the same thread and the two queues one: see `Routes`.
"""

from __future__ import annotations

import itertools
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, cast

from parallelcfg.core.actions import Deliver, Divide, Finish, Pull, Submit
from parallelcfg.core.batching import Batcher
from parallelcfg.core.dispatch import Dispatcher
from parallelcfg.core.gathering import take
from parallelcfg.core.messages import iterator_of
from parallelcfg.core.outcome import Lost, Reply
from parallelcfg.core.states import State
from parallelcfg.engine.amounts import batch_size, in_flight, limits, total_of
from parallelcfg.engine.codec import Refused
from parallelcfg.engine.observe import Sent
from parallelcfg.engine.routing import Routes
from parallelcfg.engine.stream import assemble, exception_of
from parallelcfg.engine.watch import GLANCE, Watch
from parallelcfg.transport.failures import unpack_exception

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from queue import SimpleQueue

    from parallelcfg.backends.base import AbandoningSession, ClusterSession, DividingSession, Session
    from parallelcfg.core.actions import Action
    from parallelcfg.engine.codec import Codec
    from parallelcfg.engine.observe import Recorder
    from parallelcfg.engine.plan import Plan

__all__ = ["Call"]

_Left = type("_Left", (), {})
_Progress = type("_Progress", (), {})
_batch_ids = itertools.count()

#: Seconds after which a source is slow: what it gave by then goes its way, where nobody has fixed a number.
_SLOW = 0.02

#: With more batches out for each worker than this, nothing is lost if the driving thread pauses.
_AHEAD = 4


class Call:
    """Drives one call from its first task to its last result.

    Parameters
    ----------
    tasks : iterable
        What `delayed` made.
    plan : Plan
        The settings and the backend.
    session : Session
        The workers.
    codec : Codec
        How batches travel.
    recorder : Recorder
        Told about every batch: progress and report.
    threaded : bool
        `drive` runs in a thread of the call's own; else `results` drives.
    """

    def __init__(
        self,
        tasks: Iterable[Any],
        plan: Plan,
        session: Session,
        codec: Codec,
        recorder: Recorder,
        *,
        threaded: bool,
    ) -> None:
        config = plan.config
        self._traits = plan.backend.traits
        self._session = session
        self._codec = codec
        self._recorder = recorder
        self._keep_going = config.on_error == "return"
        self._counts_unread = config.max_pending_results is not None
        self._source = iterator_of(tasks)
        self._sent: dict[int, Sent] = {}
        self._pulled_in = 0.0
        self._total = total_of(tasks)
        self._watch = Watch(config, session, times_tasks=self._traits.times_tasks)
        self._routes = Routes(session, threaded=threaded, timed=self._watch.needed)
        self._batcher = Batcher(
            batch_size(plan),
            session.workers,
            config.max_pending_results,
            end_in_sight=self._total is not None,
            divides=self._traits.divides,
        )
        self._patient = self._batcher.patience is None or self._traits.in_caller
        self._dispatcher = self._make_dispatcher(plan)
        if self._traits.cluster:
            cast("ClusterSession", session).watch(partial(self._resized, plan))

    def _make_dispatcher(self, plan: Plan) -> Dispatcher:
        config = plan.config
        return Dispatcher(
            self._batcher,
            limits(plan, self._session.workers, self._watch.deadline),
            ordered=config.return_as != "generator_unordered",
            total=self._total,
            divides=self._traits.divides,
            ids=_batch_ids,
        )

    # The two ends: `results` for the consumer, `drive` for a thread of the call's own.

    def results(self) -> Iterator[list[Any]]:
        """Lists of results as they are released; raises what ended the call.

        Where `drive` runs in no other thread, this drives the call too.
        """
        __tracebackhide__ = True
        try:
            if self._routes.shared:
                self._start()
            while True:
                item = self._next(self._routes.for_consumer)
                if isinstance(item, Deliver):
                    values = assemble(item, self._codec, self._dispatcher.counts, keep_going=self._keep_going)
                    if self._counts_unread:
                        self._routes.tell(self._dispatcher.taken, item.count)
                    yield values
                    del values  # an exception may keep this frame
                elif isinstance(item, Finish):
                    if item.error is not None:
                        raise exception_of(item.error)
                    return
                else:
                    self._perform(item)
        except GeneratorExit:
            self.leave()
            if self._routes.shared:  # nobody else reads what `leave` says
                self._routes.tell(self._dispatcher.closed)
            raise
        except BaseException as error:
            self.fail(error)
            raise
        finally:
            self._codec.close()

    def drive(self) -> None:
        """Pull and submit until the call ends; for a thread of the call's own."""
        try:
            self._start()
            while not isinstance(item := self._next(self._routes.for_driver), (Finish, _Left)):
                self._perform(item)
            if isinstance(item, _Left):
                self._routes.tell(self._dispatcher.closed)
                if self._dispatcher.state is not State.FINISHED:
                    self._session.abort()  # again, should an interrupt have come between that and the end
        except BaseException as error:  # a session that raises: the consumer waits and must be told
            if not self.fail(error).live:
                raise

    def fail(self, error: BaseException) -> State:
        """End the call with an error, unless it is over; the state that it was in."""
        state = self._dispatcher.state
        self._routes.tell(self._dispatcher.failed, error)
        return state

    def leave(self) -> None:
        """The consumer wants no more. Safe in finalisers: it waits for no lock and returns at once."""
        self._recorder.left()
        self._routes.for_driver.put(_Left())
        self._codec.close()

    # Events and actions.

    def _start(self) -> None:
        self._recorder.started(self._total, self._dispatcher.counts, self._codec.traffic)
        self._show_progress()
        self._routes.decide(self._dispatcher.start)

    def _perform(self, action: Action) -> None:
        __tracebackhide__ = True
        if isinstance(action, Pull):
            self._pull(action.size)
        elif isinstance(action, Submit):
            self._submit(action)
        elif isinstance(action, Divide):
            divided = cast("DividingSession", self._session).divide(action.sizes, action.least)
            self._routes.decide(self._dispatcher.divided, *divided)
        elif isinstance(action, _Progress):
            self._recorder.progress()

    def _pull(self, size: int) -> None:
        began = monotonic()
        enough = None if self._patient else lambda: monotonic() - began > _SLOW
        try:
            batch, exhausted = take(self._source, size, self._dispatcher.pulled_count, enough)
        except Exception as error:  # an interrupt goes its own way, also where the call has failed meanwhile
            self._routes.decide(self._dispatcher.pull_failed, error)
            return
        self._pulled_in = monotonic() - began
        if exhausted:
            self._recorder.exhausted(self._dispatcher.pulled_count + (0 if batch is None else len(batch)))
        self._routes.decide(self._dispatcher.pulled, batch, exhausted=exhausted)

    def _submit(self, action: Submit) -> None:
        if not self._dispatcher.state.live:
            return
        began = monotonic()
        patience = None if self._patient else self._batcher.patience
        try:
            work = self._codec.pack(action.batch_id, action.batch, patience)
        except Refused as refused:
            self._routes.decide(self._dispatcher.refused, action.batch_id, refused.failures)
            return
        now = monotonic()
        self._sent[action.batch_id] = Sent(now, now - began + self._pulled_in, action.batch.indices[0])
        self._pulled_in = 0.0
        self._session.submit(action.batch_id, work, self._done)
        if not self._traits.in_caller:
            self._batcher.handed_over(monotonic() - now)
            if len(self._sent) > _AHEAD * self._session.workers:
                sleep(0)  # else the threads that wait for the interpreter lock get it every 5 ms

    def _done(self, batch_id: int, outcome: object) -> None:
        try:
            sent = self._sent.pop(batch_id)
            self._codec.release(batch_id, lost=isinstance(outcome, Lost))
            self._routes.tell(self._ended, batch_id, sent, outcome)
        except Exception as error:  # a fault of this package, in whatever thread: somebody waits
            self.fail(error)

    def _ended(self, batch_id: int, sent: Sent, outcome: object) -> list[Action]:
        """Learn from a batch, one at a time, before the dispatcher does."""
        if isinstance(outcome, Reply):
            spent = monotonic() - sent.at
            self._batcher.observe(outcome.ran, outcome.seconds, sent.feed, spent - outcome.seconds)
            if self._traits.in_caller and (late := self._watch.exceeded(outcome.seconds)) is not None:
                outcome = Lost(late, suspect=0)  # too late to stop it, but not to say so
        elif not isinstance(outcome, Lost):
            outcome = Lost(TypeError(f"expected a session to report a Reply or a Lost, got {outcome!r}"))
        stopped = isinstance(outcome, Lost) and not self._dispatcher.state.live
        self._recorder.ended(sent, outcome, stopped=stopped)
        self._show_progress()
        if isinstance(outcome, Lost) and self._session.over:  # as all later ones would be
            return self._dispatcher.failed(unpack_exception(outcome.cause))
        return self._dispatcher.done(batch_id, outcome)

    def _show_progress(self) -> None:
        """Have the driving thread show it, before it performs what is posted later."""
        if self._recorder.due():
            self._routes.for_driver.put(_Progress())

    def _resized(self, plan: Plan) -> None:
        workers = self._session.workers
        self._routes.tell(self._dispatcher.resized, workers, in_flight(plan, workers))

    def _next(self, queue: SimpleQueue[Any]) -> Any:
        """The next item; looks at the clock meanwhile, where a limit is set."""
        watch = self._watch
        while True:
            patience = watch.wait(self._dispatcher.out) if watch.needed else GLANCE
            item = self._routes.await_item(queue, patience)
            if watch.needed and watch.due():
                self._look()
            if item is not None:
                return item
            if queue is self._routes.for_driver:
                self._pass_time()

    def _pass_time(self) -> None:
        """Nothing has happened for a while."""
        if self._recorder.paced:
            self._perform(_Progress())
        self._routes.decide(self._dispatcher.stalled)

    def _look(self) -> None:
        now = monotonic()
        self._routes.tell(self._dispatcher.tick, now, self._watch.over(now))
        for late in self._watch.overdue(self._dispatcher.out):
            if self._traits.abandons:
                cast("AbandoningSession", self._session).abandon(*late)
            else:
                self._routes.tell(self._dispatcher.overdue, *late, killable=self._traits.can_kill_running)
