"""The programs of docs/backends.md do what they say."""

from __future__ import annotations

import re
from pathlib import Path

from parallelcfg.backends import registry
from parallelcfg.backends.custom import AutoBatchingMixin, ParallelBackendBase

GUIDE = Path(__file__).parents[2] / "docs" / "backends.md"


def test_the_programs_run(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    programs = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    namespace: dict[str, object] = {"__name__": "guide"}
    for program in programs:
        exec(program, namespace)
    assert namespace["unlucky"].log[-1] == ("close",)


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
