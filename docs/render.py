"""Play the documents and put the real output of commands into them: ``python docs/render.py [--check]``.

Each document is a session that a reader could type, from top to bottom, in a folder of its own:

* a fenced block with ``title="NAME"`` is a file of that name (``~/...`` in the home folder, ``/etc/...`` in
  place of the system's);
* a comment ``<!-- run: COMMAND -->`` before a fenced block says that the block shows what the command prints,
  in the folder as it is by then. With ``<!-- about: COMMAND -->`` digits and spaces may differ: times, sizes
  and the number of CPUs do;
* a fenced block of Python without a title is a part of the document's program, see `program`.

The README starts with the files of ``docs/scenario`` and ``PARALLEL_N_JOBS=16`` in the environment, the
others with nothing. ``--check`` writes nothing, and ends with 1 where a document has drifted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SCENARIO = ROOT / "docs" / "scenario"
README = ROOT / "README.md"
DOCUMENTS = (README, *sorted((ROOT / "docs").rglob("*.md")))

_STEP = re.compile(
    r"<!-- (?P<how>run|about): (?P<command>.+?) -->\n(?P<shown> *```(?P<kind>text|console|json|toml)\n.*?```)"
    r'|(?P<fence>^ *```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?[^\n]*\n(?P<body>.*?)^ *```)',
    re.DOTALL | re.MULTILINE,
)

#: Where a traceback says that this package is.
_INSTALLED = re.compile(r'File "[^"]*/(?=parallelcfg/)')

#: Runs the command on a machine whose system file is the document's, for nobody may write to the real one.
_COMMAND = """#!{python}
from pathlib import Path
from parallelcfg.cli import main
from parallelcfg.config.context import using_machine
from parallelcfg.config.machine import Machine
with using_machine(Machine(system_dir=Path({system!r}))):
    main()
"""


@dataclass(frozen=True)
class Session:
    """A place to play a document in: a home with the folder ``job`` in it, and nobody's settings.

    Parameters
    ----------
    root : Path
        An empty folder.
    env : dict of str to str
        What the environment has beside the usual.
    """

    root: Path
    env: dict[str, str]

    @property
    def folder(self) -> Path:
        """Where commands run."""
        return self.root / "home" / "job"

    def write(self, title: str, text: str) -> None:
        """Make a file."""
        if title.startswith("/etc/"):
            self._give_system(self.root / "etc" / "parallelcfg")
        places = {"~": self.root / "home", "": self.root}
        first, slash, rest = title.partition("/")
        file = places[first] / rest if slash and first in places else self.folder / title
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the shell, both streams together."""
        ours = ("PARALLEL_", "XDG_", "PYTEST_")
        clean = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        path = [str(self.root / "bin"), str(Path(sys.executable).parent), clean.get("PATH", "")]
        usual = {
            "PATH": os.pathsep.join(path),
            "HOME": str(self.root / "home"),
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        return subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env={**clean, **usual, **self.env},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def output(self, command: str) -> str:
        """What a command prints, as the reader would see it."""
        text = self.run(command).stdout
        for real, shown in ((self.folder, "~/job"), (self.root / "home", "~"), (self.root / "etc", "/etc")):
            text = text.replace(str(real), shown)
        text = _INSTALLED.sub('File "site-packages/', text)
        return "".join(f"{line.rstrip()}\n" for line in text.splitlines())

    def _give_system(self, system: Path) -> None:
        command = self.root / "bin" / "parallelcfg"
        command.parent.mkdir(exist_ok=True)
        command.write_text(_COMMAND.format(python=sys.executable, system=str(system)), encoding="utf-8")
        command.chmod(0o755)


@contextmanager
def opened(document: Path) -> Iterator[Session]:
    """A session for a document."""
    with tempfile.TemporaryDirectory(prefix="docs-") as name:
        root = Path(name).resolve()
        session = Session(root, {})
        if document == README:
            env = {"PARALLEL_N_JOBS": "16", "XDG_CONFIG_HOME": str(session.folder / "user")}
            session = Session(root, env)
            shutil.copytree(SCENARIO, session.folder)
        session.folder.mkdir(parents=True, exist_ok=True)
        yield session


def rendered(document: Path) -> str:
    """The text of a document with the outputs of today."""
    text = document.read_text(encoding="utf-8")
    if not any(step["how"] for step in _STEP.finditer(text)):
        return text
    with opened(document) as session:
        return _STEP.sub(lambda step: _played(step, session), text)


def _played(step: re.Match[str], session: Session) -> str:
    """One step of a document, done: the text that stands for it now."""
    if step["fence"] is not None:
        if step["title"]:
            session.write(step["title"], textwrap.dedent(step["body"]))
        return step[0]
    command = step["command"]
    indent = re.match(r" *", step["shown"])[0]  # type: ignore[index]  # it always matches
    prompt = f"$ {command}\n" if step["kind"] in {"text", "console"} else ""
    block = textwrap.indent(f"```{step['kind']}\n{prompt}{session.output(command)}```", indent)
    if step["how"] == "about" and _outline(block) == _outline(step["shown"]):
        return step[0]
    return f"<!-- {step['how']}: {command} -->\n{block}"


def _outline(text: str) -> str:
    """A text without what differs from run to run."""
    return re.sub(r"[\s\d.,µm]+|e[+-]|[kMG]B", "", text)


def files(document: Path) -> dict[str, str]:
    """The files that a document shows, by title; a later one replaces an earlier one."""
    steps = _STEP.finditer(document.read_text(encoding="utf-8"))
    return {step["title"]: textwrap.dedent(step["body"]) for step in steps if step["title"]}


def program(document: Path) -> str:
    """All Python of a document that is no file, in the order in which it stands there."""
    steps = _STEP.finditer(document.read_text(encoding="utf-8"))
    blocks = [
        textwrap.dedent(step["body"])
        for step in steps
        if step["fence"] is not None and step["language"] == "python" and not step["title"]
    ]
    return "\n".join(blocks)


def main() -> int:
    """Write the documents, or check them; those that are named, or all."""
    check = "--check" in sys.argv
    named = [Path(name).resolve() for name in sys.argv[1:] if name != "--check"]
    drifted = 0
    for document in named or DOCUMENTS:
        text = rendered(document)
        if text != document.read_text(encoding="utf-8"):
            drifted += 1
            if not check:
                document.write_text(text, encoding="utf-8")
            print(document.relative_to(ROOT), "has drifted" if check else "written")
    return 1 if drifted and check else 0


if __name__ == "__main__":
    sys.exit(main())
