"""No test sees the settings of whoever runs the tests: shell variables, a user's file, ignored signals."""

import os
import signal
import tempfile
from pathlib import Path

import hypothesis
import pytest

# How long an example takes says nothing where other tests run beside it, and the machine may be slow.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

for name in [name for name in os.environ if name.startswith("PARALLEL_") or name == "JOBLIB_TEMP_FOLDER"]:
    del os.environ[name]


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs are born deaf to Ctrl-C, and so would be the programs that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # so are programs under nohup to a terminal that closes


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_user():
    with tempfile.TemporaryDirectory() as empty:
        before = os.environ.get("XDG_CONFIG_HOME")
        os.environ["XDG_CONFIG_HOME"] = str(Path(empty))
        yield
        if before is None:
            del os.environ["XDG_CONFIG_HOME"]
        else:
            os.environ["XDG_CONFIG_HOME"] = before
