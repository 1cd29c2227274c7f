"""The programs of docs/backends.md do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parallelcfg.backends import registry
from parallelcfg.backends.custom import AutoBatchingMixin, ParallelBackendBase
from parallelcfg.testing import BackendContract

GUIDE = Path(__file__).parents[2] / "docs" / "backends.md"


def _run_programs() -> dict[str, object]:
    programs = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    namespace: dict[str, object] = {"__name__": "guide"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_registered", {})
        for program in programs:
            exec(program, namespace)
    return namespace


PROGRAMS = _run_programs()


def test_the_programs_run():
    assert PROGRAMS["unlucky"].log[-1] == ("close",)


class TestHooks(BackendContract):
    backend = PROGRAMS["FuturesBackend"]
    params = PROGRAMS["TestFutures"].params


class TestProtocol(BackendContract):
    backend = PROGRAMS["ThreadPerBatch"]


def test_every_hook_is_in_the_guide():
    text = GUIDE.read_text()
    for name in {*vars(ParallelBackendBase), *vars(AutoBatchingMixin)}:
        if name.startswith("__") or name in NOT_FOR_AUTHORS:
            continue
        assert f"`{name}" in text, name


#: Kept so that subclasses can call or override them; nothing is to be said about them.
NOT_FOR_AUTHORS = {
    "MAX_IDEAL_BATCH_DURATION",
    "MAX_NUM_THREADS_VARS",
    "MIN_IDEAL_BATCH_DURATION",
    "_batch_duration",
    "_batch_size",
    "_is_ideal",
    "get_exceptions",
    "in_main_thread",
    "reset_batch_stats",
}
