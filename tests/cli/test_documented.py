"""The code and the files that docs/configuration.md shows are right; docs/render.py plays its commands."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
FILES = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def test_the_documented_code_runs(command):
    results = doctest.testfile(str(DOCUMENT), module_relative=False)
    assert (results.failed, results.attempted) == (0, 7)


@pytest.mark.parametrize("text", FILES)
def test_the_documented_files_are_valid(command, text):
    command.write("parallel.toml", text)
    assert command("validate").code == 0
