"""How events reach the dispatcher, and its actions whoever performs them.

One lock guards the dispatcher. Whoever reports an event takes it, asks the dispatcher, queues the actions and
lets go; nothing is performed under it, and nobody polls: a queue wakes its reader.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from parallelcfg.core.actions import Abort, Deliver, Divide, Finish, Kill, Pull, Submit

if TYPE_CHECKING:
    from collections.abc import Callable

    from parallelcfg.backends.base import Session
    from parallelcfg.core.actions import Action

__all__ = ["Routes"]


class Routes:
    """The ways between a call's threads.

    Parameters
    ----------
    session : Session
        Whose workers are stopped when the dispatcher says so.
    threaded : bool
        The driving thread is another one than the consumer; else they share a queue.
    timed : bool
        The clock is looked at before each action, so that all of them have to pass through the queue.

    Attributes
    ----------
    for_driver, for_consumer : queue.SimpleQueue
        What they have to do next, in order.
    """

    __slots__ = ("_keep", "_lock", "_own", "_session", "for_consumer", "for_driver")

    def __init__(self, session: Session, *, threaded: bool, timed: bool) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._own: deque[Action] = deque()
        self.for_driver: SimpleQueue[Any] = SimpleQueue()
        self.for_consumer: SimpleQueue[Any] = SimpleQueue() if threaded else self.for_driver
        # What the driving thread decides for itself needs no queue
        self._keep = self.for_driver.put if timed else self._own.append

    @property
    def shared(self) -> bool:
        """Whether one thread drives and consumes."""
        return self.for_consumer is self.for_driver

    def await_item(self, queue: SimpleQueue[Any], patience: float) -> Any:
        """The next item of a queue, or None after so many seconds.

        What the driving thread goes on with by itself comes after what was posted meanwhile.
        """
        if self._own and queue is self.for_driver and queue.empty():
            return self._own.popleft()
        try:
            try:
                return queue.get(timeout=patience)
            except Empty:
                return None
        except BaseException as interrupt:  # Ctrl-C has nothing to do with the wait that it found at its end
            interrupt.__suppress_context__ = True
            raise

    def tell(self, event: Callable[..., list[Action]], *args: Any, **kwargs: Any) -> None:
        """Report an event, from any thread, and see to what follows from it."""
        with self._lock:
            left = self._route(event(*args, **kwargs), self.for_driver.put)
        if left:
            self._stop(left)

    def decide(self, event: Callable[..., list[Action]], *args: Any, **kwargs: Any) -> None:
        """The same for the driving thread, which goes on with what is its own."""
        with self._lock:
            left = self._route(event(*args, **kwargs), self._keep)
        if left:
            self._stop(left)

    def _route(
        self, actions: list[Action], to_driver: Callable[[Action], None]
    ) -> list[Abort | Kill | Finish]:
        """Hand actions to whoever performs them, under the lock that they were decided under: order counts.

        What stops workers is returned, to be done without the lock, and the end, which comes after that: a
        session whose call has ended may serve the next one.
        """
        left: list[Abort | Kill | Finish] = []
        for action in actions:
            if isinstance(action, (Pull, Submit, Divide)):
                to_driver(action)
            elif isinstance(action, Deliver):
                self.for_consumer.put(action)
            else:
                left.append(action)
        return left

    def _stop(self, actions: list[Abort | Kill | Finish]) -> None:
        action, *others = actions
        try:
            if isinstance(action, Abort):
                self._session.abort()
            elif isinstance(action, Kill):
                self._session.kill(action.batch_id)
            else:
                self.for_consumer.put(action)
                if not self.shared:
                    self.for_driver.put(action)
        finally:  # a session that raises keeps nobody waiting
            if others:
                self._stop(others)
