"""The documentation holds: outputs are today's, programs run, pictures are those that the code draws."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = {str(page.relative_to(ROOT / "docs")): page for page in sorted((ROOT / "docs").rglob("*.md"))}
TIMELESS = "outputs are those of a POSIX shell and of Python 3.11 or later, whose tracebacks say more"


def pages_with(pattern):
    """Run a test on every page in which a pattern is found."""
    found = {
        name: page
        for name, page in PAGES.items()
        if re.search(pattern, page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    return pytest.mark.parametrize("page", found.values(), ids=found)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform == "win32" or sys.version_info < (3, 11), reason=TIMELESS)
@pages_with(r"<!-- (run|about): ")
def test_every_output_shown_is_what_the_command_prints_today(page, render):
    assert render.rendered(page) == page.read_text(encoding="utf-8"), f"run python docs/render.py {page.name}"


@pages_with(r"^ *```python$")
def test_the_python_of_a_page_runs_from_top_to_bottom(page, render):
    with render.opened(page) as session:
        for title, text in render.files(page).items():
            session.write(title, text)
        session.write("page.py", render.program(page))
        ran = session.run("python -W error page.py")
    assert ran.returncode == 0, ran.stdout


@pages_with("^```pycon$")
def test_the_console_sessions_of_a_page_hold(page):
    text = page.read_text(encoding="utf-8")
    sessions = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(sessions, {}, page.name, str(page), 0)
    shown = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=shown.append)
    assert not runner.failures, "".join(shown)


@pages_with("^```(console|text)$")
def test_every_output_says_how_it_was_made(page):
    """A block that looks like a shell's output stands below a comment with its command."""
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"(?P<before>[^\n]*)\n```(?:console|text)\n(?P<first>[^\n]*)", text):
        if block["first"].startswith("$"):
            assert re.match(r"<!-- (run|about): ", block["before"]), block["first"]


def test_pictures_are_those_that_the_code_draws(pictures):
    for file, text in pictures.pictures().items():
        assert file.read_text(encoding="utf-8") == text, "run python docs/pictures.py"


def test_every_example_is_shown(render):
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    for example in sorted((ROOT / "examples").glob("*.py")):
        assert f'--8<-- "examples/{example.name}"' in text


def test_every_public_name_is_in_the_reference():
    import parallelcfg
    from parallelcfg import errors

    pages = [
        page.read_text(encoding="utf-8") for name, page in PAGES.items() if name.startswith("reference/")
    ]
    listed = {
        line.rpartition(".")[2] for page in pages for line in page.splitlines() if line.startswith(":::")
    }
    assert "errors" in listed
    assert set(parallelcfg.__all__) <= listed | set(errors.__all__)


def test_every_error_and_warning_is_explained():
    from parallelcfg import errors

    text = PAGES["troubleshooting.md"].read_text(encoding="utf-8")
    bases = {"ParallelError", "ParallelWarning", "Problem"}
    for name in set(errors.__all__) - bases:
        assert f"\n## {name}\n" in text


def test_every_command_is_listed():
    listed = subprocess.run(
        [sys.executable, "-m", "parallelcfg.cli", "--help"], check=True, capture_output=True, text=True
    ).stdout
    commands = re.findall(r"^  (\w+)  ", listed.partition("Commands:")[2], re.MULTILINE)
    assert len(commands) > 9
    text = PAGES["reference/command.md"].read_text(encoding="utf-8")
    for command in commands:
        assert f"<!-- run: parallelcfg {command} --help -->" in text
