"""The command, run in this process on a made-up machine."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - the dataclass below is inspected at run time

import pytest

from parallelcfg.cli import main
from parallelcfg.config import context
from parallelcfg.config.machine import Machine


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@dataclass
class Command:
    root: Path
    environ: dict[str, str]
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *args: str) -> Outcome:
        self.monkeypatch.setattr("sys.argv", ["parallelcfg", *args])
        context.reload()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self.capsys.readouterr()
        return Outcome(ended.value.code or 0, captured.out, captured.err)

    def write(self, name: str, text: str) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
        return file


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    (project / ".git").mkdir()
    monkeypatch.chdir(project)
    environ: dict[str, str] = {}
    machine = Machine(
        environ=environ,
        cwd=project,
        home=tmp_path,
        system_dir=tmp_path / "system",
        user_dir=tmp_path / "user",
        uid=os.geteuid() if hasattr(os, "geteuid") else None,
    )
    with context.using_machine(machine):
        yield Command(project, environ, capsys, monkeypatch)
