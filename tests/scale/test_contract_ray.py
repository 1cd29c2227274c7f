"""The contract that every backend keeps, on a local ray."""

from __future__ import annotations

import pytest

from parallelcfg.testing import BackendContract

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
pytest.importorskip("ray")


@pytest.mark.usefixtures("ray_cluster")
class TestRay(BackendContract):
    backend = "ray"
