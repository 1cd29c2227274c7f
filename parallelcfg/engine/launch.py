"""Starting a call, in the shape that ``return_as`` asks for."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from parallelcfg.config.cpus import split_budget
from parallelcfg.config.state import said_at
from parallelcfg.core.states import State
from parallelcfg.engine.call import Call
from parallelcfg.engine.codec import ApartCodec, LocalCodec, SharingCodec
from parallelcfg.errors import BackendUnavailable
from parallelcfg.threadpools.limits import limited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from parallelcfg.backends.base import ClusterSession, HearingSession, Session
    from parallelcfg.engine.codec import Codec
    from parallelcfg.engine.held import Held
    from parallelcfg.engine.observe import Recorder
    from parallelcfg.engine.plan import Plan

__all__ = ["ResultStream", "launch", "open_session"]


def launch(
    tasks: Iterable[Any], plan: Plan, recorder: Recorder, held: Held | None
) -> list[Any] | ResultStream:
    """Run a call.

    Parameters
    ----------
    tasks : iterable
        What `delayed` made.
    plan : Plan
        Settings and backend.
    recorder : Recorder
        Report and progress.
    held : Held or None
        Workers that outlive the call. Without them, or where another call has them, it opens and closes its
        own.

    Returns
    -------
    list or ResultStream
        The results.
    """
    __tracebackhide__ = True
    streams = plan.config.return_as != "list"
    threaded = streams and not plan.backend.traits.in_caller
    lent = None if held is None else held.lend(partial(open_session, plan))
    session = open_session(plan) if lent is None else lent
    leave = session.close if held is None or lent is None else held.take_back
    scope = _Surroundings(plan, session, recorder, leave)
    call: Call | None = None
    try:
        call = Call(tasks, plan, session, _codec(plan, session), recorder, threaded=threaded)
        if threaded:
            driver = _Driver(call, scope)
            driver.start()
            return ResultStream(call, driver)
    except BaseException:
        if call is not None:
            call.leave()
        leave()
        raise
    if streams:
        return ResultStream(call, scope)
    results: list[Any] = []
    with scope:
        for part in call.results():
            results += part
    return results


def _codec(plan: Plan, session: Session) -> Codec:
    traits = plan.backend.traits
    if traits.shares_memory or traits.pickles_itself:
        return LocalCodec(plan.orders)
    if traits.cluster:
        from parallelcfg.transport.apart import Apart

        cluster = cast("ClusterSession", session)
        return ApartCodec(plan.packed_orders, Apart(plan.config, cluster.put, cluster.chosen))
    from parallelcfg.transport.reduce import Sharing

    # No file reaches another host, so there everything travels in the pickle
    sharing = Sharing(plan.config._replace(max_nbytes=None) if traits.multi_host else plan.config)
    return SharingCodec(plan.packed_orders, sharing, answers=traits.answers)


def open_session(plan: Plan) -> Session:
    """The workers that a plan asks for.

    Raises
    ------
    BackendUnavailable
        If there are none to be had.
    """
    try:
        return plan.backend.open(plan.config, plan.n_jobs, _threads(plan))
    except BackendUnavailable as error:
        error.add_place(said_at(plan.config, "backend"))
        raise


def _threads(plan: Plan) -> int:
    """Inner threads of each task: what is configured, else its share of the CPUs."""
    return plan.config.inner_max_num_threads or split_budget(plan.cpus, plan.n_jobs)[-1]


class _Surroundings:
    """What lasts as long as the call: its workers, limits on this process's pools, its report.

    None of it hears of an error on the way out. `contextlib` would write into the error's attributes, which
    an exception that is a frozen dataclass refuses.
    """

    def __init__(self, plan: Plan, session: Session, recorder: Recorder, leave: Callable[[], None]) -> None:
        self._plan, self._session, self._recorder, self._leave = plan, session, recorder, leave

    def __enter__(self) -> None:
        plan, traits = self._plan, self._plan.backend.traits
        explicit = plan.config.inner_max_num_threads is not None
        with ExitStack() as leaving:
            leaving.callback(self._recorder.finished)
            leaving.callback(self._leave)
            if not traits.uses_processes and (explicit or not traits.in_caller):
                leaving.enter_context(limited(_threads(plan), explicit=explicit))
            if traits.hears_calls:
                leaving.enter_context(cast("HearingSession", self._session).calling(plan.config))
            self._leaving = leaving.pop_all()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            self._leaving.close()
        except BaseException as late:
            _follows(late, error)
            self._leaving.close()  # it may be an interrupt: what is left to do
            self._leave()
            raise


def _follows(late: BaseException, error: BaseException | None) -> None:
    """Say that an error came while another one was on its way: `ExitStack.close` knows of none."""
    while late is not error and late.__context__ is not None:
        late = late.__context__
    if late is not error:
        late.__context__ = error


class _Driver(threading.Thread):
    """Drives a call whose consumer is another thread, under the settings that it was made under.

    Attributes
    ----------
    late : BaseException or None
        What went wrong after the last result, when nobody waited for one any more.
    """

    def __init__(self, call: Call, surroundings: _Surroundings) -> None:
        super().__init__(name="parallelcfg-driver", daemon=True)
        self._call, self._surroundings = call, surroundings
        self._context = copy_context()
        self.late: BaseException | None = None

    def run(self) -> None:
        """Drive the call."""
        self._context.run(self._drive)

    def _drive(self) -> None:
        try:
            with self._surroundings:
                self._call.drive()
        except BaseException as error:
            state = self._call.fail(error)
            if state is State.FINISHED:
                self.late = error
            elif not state.live:
                raise  # the consumer has another error already, or has left


class ResultStream(Generator[Any, None, None]):
    """The results of a call, one by one, while its tasks run.

    Parameters
    ----------
    call : Call
        The call.
    surroundings : _Surroundings or _Driver
        What to enter at the first result and leave after the last one, where the consumer drives the call;
        else the thread that drives it.
    """

    def __init__(self, call: Call, surroundings: _Surroundings | _Driver) -> None:
        self._call = call
        self._flow = _flow(call, surroundings)  # knows nothing of the stream, so that dropping this ends it

    def __next__(self) -> Any:
        __tracebackhide__ = True
        return next(self._flow)

    def send(self, value: None) -> Any:
        """The next result; there is nothing to send."""
        return self._flow.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error where the stream waits, which ends it."""
        try:
            return self._flow.throw(*error)
        finally:
            self._call.leave()

    def close(self) -> None:
        """Want no more: dispatched tasks are dropped. Returns at once; also what dropping the stream does."""
        self._flow.close()
        self._call.leave()

    def __del__(self) -> None:
        self._call.leave()


def _flow(call: Call, surroundings: _Surroundings | _Driver) -> Generator[Any, None, None]:
    __tracebackhide__ = True
    if isinstance(surroundings, _Driver):
        for part in call.results():
            yield from part
        surroundings.join()  # all is delivered: it only says so, before the caller goes on
        if surroundings.late is not None:
            raise surroundings.late
        return
    with surroundings:
        for part in call.results():
            yield from part
