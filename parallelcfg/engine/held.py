"""The workers of a ``with`` block."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from parallelcfg.backends.base import Session

__all__ = ["Held"]


class Held:
    """Workers that outlive a call, for one call at a time.

    A call whose results are a generator may go on while its block makes the next one. What happens to either,
    an error or the end of its consumer's interest, is not the other's business.
    """

    def __init__(self) -> None:
        self._session: Session | None = None
        self._process = os.getpid()
        self._lent = False

    @property
    def is_open(self) -> bool:
        """Whether there are workers, and they are this process's own: those of a parent are the parent's."""
        return self._session is not None and self._process == os.getpid()

    def lend(self, open_session: Callable[[], Session]) -> Session | None:
        """The workers, made ready at the first call and after an abort; None where another call has them."""
        if self._process != os.getpid():
            self._session, self._process, self._lent = None, os.getpid(), False
        if self._lent:
            return None
        if self._session is not None and self._session.over:
            self._session.close()
            self._session = None
        if self._session is None:
            self._session = open_session()
        self._lent = True
        return self._session

    def take_back(self) -> None:
        """The call that had them is over."""
        self._lent = False

    def close(self) -> None:
        """Let them go."""
        if self.is_open:
            assert self._session is not None
            self._session.close()
        self._session = None
