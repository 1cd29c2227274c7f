"""For authors of backends: a backend that follows a script, and the contract that every backend keeps.

Nothing here imports pytest; `BackendContract` is a class that pytest collects where it is subclassed.
"""

from parallelcfg.testing.contract import BackendContract
from parallelcfg.testing.fake import Delay, FakeBackend, Lose, Raise, Refuse, Run

__all__ = ["BackendContract", "Delay", "FakeBackend", "Lose", "Raise", "Refuse", "Run"]
