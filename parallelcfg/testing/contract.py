"""The contract of backends: what every one of them does alike, as tests to subclass.

::

    from parallelcfg.testing import BackendContract

    class TestMine(BackendContract):
        backend = "mine"

What a backend can't do it declares in its `Traits`, and the tests of the contract follow those.
"""

from __future__ import annotations

from parallelcfg.testing.failures import FailureContract
from parallelcfg.testing.results import ResultContract
from parallelcfg.testing.settings import SettingContract

__all__ = ["BackendContract"]


class BackendContract(ResultContract, FailureContract, SettingContract):
    """Tests that hold for every backend; to be subclassed and collected by pytest.

    Attributes
    ----------
    backend : object
        What to pass as ``Parallel(backend=...)``.
    params : dict
        Constructor parameters to pass with it.
    n_jobs : int
        How many jobs to ask for, 2 or more.
    concurrent : bool
        Whether two tasks really run at the same time.
    prompt : bool
        Whether the end of a batch is reported whatever other batches do.
    """
