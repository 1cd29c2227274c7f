"""All that a worker imports: it unpacks a batch, runs its tasks, and packs what came of them.

The same `loop` runs batches in the caller's process (`run_local`) and in worker processes (`run_bytes`); they
differ in how batches and results travel. Importing this module pulls in neither pydantic nor numpy.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from contextlib import nullcontext
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from parallelcfg.config.context import entered
from parallelcfg.core.outcome import Failure, Lost, Reply
from parallelcfg.core.tasks import Batch
from parallelcfg.heap import keep_freed
from parallelcfg.loop import Results, run
from parallelcfg.threadpools.limits import apply_limit, limited, limited_thread
from parallelcfg.transport import load
from parallelcfg.transport.board import LocalBoard
from parallelcfg.transport.failures import add_note, pack_exception, traceback_text
from parallelcfg.transport.habits import adopt, catch_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from parallelcfg.config.snapshot import Scope
    from parallelcfg.orders import Orders
    from parallelcfg.transport.board import Board, Seat
    from parallelcfg.transport.load import Ticket
    from parallelcfg.transport.parcels import Parcel

__all__ = ["SETUP", "given_up", "run_apart", "run_bytes", "run_local", "start"]

#: What worker processes of calls to come call first: picklable functions without arguments, for integrations.
SETUP: list[Callable[[], object]] = []

#: What runs in threads of this process.
board = LocalBoard()

#: What has come of it so far, by batch.
_under_way: dict[int, Results] = {}

#: In a worker process: where the parent sees what it runs, and how to tell it more.
seat: Seat | None = None
tell_parent: Callable[[object], None] | None = None


def run_local(payload: tuple[int, Batch, Orders, float | None]) -> Reply:
    """Run a batch in the caller's process, where objects travel as they are.

    Parameters
    ----------
    payload : tuple
        (batch number, batch, orders, seconds after which to return unfinished or None).
    """
    batch_id, batch, orders, patience = payload
    scope = _scope_of(board, orders)
    with entered(scope), _inner_threads(orders, scope.cpus):
        results = _under_way[batch_id] = Results([], [], monotonic())
        try:
            results = run(board, batch_id, batch, orders, patience, results)
        finally:
            _under_way.pop(batch_id, None)
    return _reply(results, threading.current_thread().name, in_caller=orders.in_caller)


def given_up(batch_id: int, position: int, error: BaseException, name: str) -> Reply | None:
    """What came of a batch that nobody waits for any longer: another thread may take for ever to end it.

    Parameters
    ----------
    batch_id : int
        The batch's number.
    position : int
        Position of the task that runs; no other one of the batch will.
    error : BaseException
        What it fails of.
    name : str
        The thread's name.

    Returns
    -------
    Reply or None
        None where the batch has ended meanwhile.
    """
    results = _under_way.get(batch_id)
    if results is None:
        return None
    values = [*results.values[:position], None]
    failures = [(at, failure) for at, failure in results.failures if at < position]
    seconds = monotonic() - results.started
    return _reply(Results(values, [*failures, (position, error)], results.started, seconds), name)


def _reply(results: Results, name: str, *, in_caller: bool = False) -> Reply:
    """What came of a batch, for who shares this process's memory."""
    failures = tuple(
        Failure(position, error, traceback_text(error), in_caller and not isinstance(error, Exception))
        for position, error in results.failures
    )
    return Reply(results.values, len(results.values), failures, results.seconds, name, results.started)


def _scope_of(own: Board, orders: Orders) -> Scope:
    """What the calling worker's tasks inherit: its share of the CPUs, without a number the smallest."""
    at, shares = own.ordinal, orders.budgets
    return orders.scope if at is None else orders.scope._replace(cpus=shares[at % len(shares)])


def _inner_threads(orders: Orders, cpus: int) -> AbstractContextManager[None]:
    """Limits of pools that count by thread; those that all threads share are limited around the call."""
    if orders.in_caller and orders.threads is None:
        return nullcontext()
    return limited_thread(orders.threads or cpus, explicit=orders.threads is not None)


def run_bytes(payload: tuple[int, bytes, Ticket | None, bytes, int, float | None]) -> Reply | Lost:
    """Run a batch in a worker process, where everything travels as bytes.

    Parameters
    ----------
    payload : tuple
        (batch number, pickled orders, what the transport needs to send large results back, packed batch,
        number of tasks, seconds of patience or None).
    """
    batch_id, packed_orders, ticket, packed, count, patience = payload
    orders, scope, arriving = _read_orders(packed_orders)
    load.expect(ticket)
    apply_limit(orders.threads or scope.cpus, explicit=orders.threads is not None)
    with entered(arriving):
        try:  # inside the scope: unpacking imports the user's modules, which may hold loops of their own
            batch = Batch.of(*load.loads(packed))
        except BaseException as error:
            return _unreadable(error, count)
        catch_up()
    with entered(scope):
        keep_freed()
        dumps = partial(load.dumps, ticket=ticket)
        return _pack(run(seat or board, batch_id, batch, orders, patience), dumps)


def run_apart(
    payload: tuple[int, bytes, Parcel, int, float | None], *contents: Any, cpus: int = 1
) -> Reply | Lost:
    """Run a batch in a worker process of a cluster, which others may be using too.

    Parameters
    ----------
    payload : tuple
        (batch number, pickled orders, packed batch, number of tasks, seconds of patience or None).
    *contents
        Large data that came another way.
    cpus : int, default 1
        CPU budget of a task.
    """
    from parallelcfg.transport import parcels

    batch_id, packed_orders, parcel, count, patience = payload
    orders, *_ = _read_orders(packed_orders)
    threads, explicit = orders.threads or cpus, orders.threads is not None
    scope = orders.scope._replace(cpus=cpus)
    with limited(threads, explicit=explicit), limited_thread(threads, explicit=explicit):
        with entered(scope._replace(unpacking=True)):
            try:
                batch = Batch.of(*parcels.loads(parcel, contents))
            except BaseException as error:
                return _unreadable(error, count)
        with entered(scope):
            return _pack(run(LocalBoard(), batch_id, batch, orders, patience), parcels.dumps)


_NOT_HERE = (
    "a worker imports the modules that its tasks are of: after a change of sys.path, parallelcfg.shutdown() "
    "makes room for new workers; a module that only the caller has travels after "
    "cloudpickle.register_pickle_by_value(module)"
)


def _unreadable(error: BaseException, count: int) -> Reply | Lost:
    """What to say about a batch that can't be unpacked here."""
    if isinstance(error, ModuleNotFoundError):
        add_note(error, _NOT_HERE)
    exception, text = pack_exception(error)
    if count > 1:  # sent again one by one, the culprit shows itself
        return Lost(exception)
    return Reply(None, 1, (Failure(0, exception, text),), worker=_name())


def _pack(results: Results, dumps: Callable[[object], Any]) -> Reply:
    failures = [(position, *pack_exception(_explained(error))) for position, error in results.failures]
    values = results.values
    try:
        packed = dumps(values)
    except Exception:
        packed = None
    if packed is None:  # at least one result can't travel: find which, and send the others
        failed = {position for position, _, _ in failures}
        for position, value in enumerate(values):
            try:
                load.dumps(value, None)
            except Exception as error:
                if position not in failed:
                    failures.append((position, *pack_exception(error)))
                values[position] = None
        packed = dumps(values)
    return Reply(
        packed,
        len(values),
        tuple(Failure(*failure) for failure in sorted(failures, key=lambda failure: failure[0])),
        results.seconds,
        _name(),
        results.started,
        _peak_rss(),
    )


def _explained(error: BaseException) -> BaseException:
    """The exception, with a note on what to do where that is known."""
    note = load.explain_read_only(error)
    if note is not None:
        add_note(error, note)
    return error


def start(own: Seat, level: int, send: Callable[[object], None]) -> None:
    """Make this process a worker: from now on it notes what it runs where its parent sees it.

    Parameters
    ----------
    own : Seat
        Where.
    level : int
        How many processes are above it.
    send : callable
        Sends something to the parent, now.
    """
    global seat, depth, tell_parent
    own.claim()
    seat, depth, tell_parent = own, level, send


#: How deep parallel calls outside of any task are nested here: 0 in the user's program, more in a worker that
#: runs an initializer, or a thread that a task has left behind.
depth = 0


_orders: tuple[bytes, Orders, Scope, Scope] | None = None


def _read_orders(packed: bytes) -> tuple[Orders, Scope, Scope]:
    """Unpickle a call's orders once, not once per batch; and what tasks inherit here, and on their way."""
    global _orders  # noqa: PLW0603 - a cache of one entry: a worker seldom serves two calls at a time
    found = _orders
    if found is None or found[0] != packed:
        orders: Orders = pickle.loads(packed)
        scope = _scope_of(seat or board, orders)
        _orders = found = packed, orders, scope, scope._replace(unpacking=True)
        if tell_parent is not None and found[1].habits is not None:
            with entered(found[3]):  # categories of warnings may be, too
                adopt(found[1].habits, tell_parent)
        for prepare in found[1].setup:
            prepare()
    return found[1:]  # not from the global: another thread may have put another call's orders there


def _name() -> str:
    return str(os.getpid())


def _peak_rss() -> int:
    """Peak resident memory of this process in bytes; 0 where the system does not tell."""
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return 0
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
