"""Who runs the tasks: one module for each backend, all behind the protocols of `base`.

What an author of a backend needs is here; docs/backends.md is the guide.
"""

from parallelcfg.backends.base import Backend, Done, Session, Traits, Work
from parallelcfg.core.outcome import Lost, Reply
from parallelcfg.transport.board import Running

__all__ = ["Backend", "Done", "Lost", "Reply", "Running", "Session", "Traits", "Work"]
