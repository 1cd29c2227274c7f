"""A made-up machine for tests of the configuration: folders, environment, owner."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - the dataclass below is inspected at run time

import pytest

from parallelcfg.config import context
from parallelcfg.config.machine import Machine


@dataclass
class World:
    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("system", "user", "home/repo/sub"):
            (self.root / name).mkdir(parents=True)
        (self.root / "home/repo/.git").mkdir()
        self.machine = Machine(
            environ=self.environ,
            cwd=self.root / "home/repo",
            home=self.root / "home",
            system_dir=self.root / "system",
            user_dir=self.root / "user",
            uid=os.geteuid(),
        )

    def write(self, place: str, text: str | bytes) -> Path:
        """Write a file: of a layer by its name, else at a path below the root. Re-reads files."""
        known = {
            "system": "system/parallel.toml",
            "user": "user/parallel.toml",
            "project": "home/repo/parallel.toml",
        }
        file = self.root / known.get(place, place)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        context.reload()
        return file

    def problems(self) -> str:
        """The text of the error that resolving raises."""
        with pytest.raises(context.ConfigError) as raised:
            context.get_config()
        return str(raised.value)


@pytest.fixture
def world(tmp_path):
    with ExitStack() as stack:
        made = World(tmp_path)
        stack.enter_context(context.using_machine(made.machine))
        yield made
