"""How documents are played."""

import pytest


@pytest.fixture
def played(render, tmp_path):
    def play(text):
        document = tmp_path / "page.md"
        document.write_text(text, encoding="utf-8")
        return render.rendered(document)

    return play


def test_a_titled_block_is_a_file_for_the_commands_below_it(played):
    page = '```python title="hello.py"\nprint(2 + 2)\n```\n\n<!-- run: python hello.py -->\n```console\n```\n'
    assert played(page).endswith("```console\n$ python hello.py\n4\n```\n")


def test_a_later_block_of_the_same_title_replaces_the_file(played):
    page = '```text title="a"\nold\n```\n```text title="a"\nnew\n```\n<!-- run: cat a -->\n```console\n```\n'
    assert played(page).endswith("$ cat a\nnew\n```\n")


def test_folders_are_shown_as_the_reader_has_them(played):
    page = '```toml title="~/notes"\n```\n<!-- run: pwd; ls ~ -->\n```console\n```\n'
    assert played(page).endswith("$ pwd; ls ~\n~/job\njob\nnotes\n```\n")


def test_the_system_file_is_the_documents_own(played):
    page = (
        '```toml title="/etc/parallelcfg/parallel.toml"\nmax_jobs = 3\n```\n'
        "<!-- run: parallelcfg get max_jobs -->\n```console\n```\n"
    )
    assert played(page).endswith("$ parallelcfg get max_jobs\n3\n```\n")


def test_nobodys_variables_reach_a_document(played, monkeypatch):
    monkeypatch.setenv("PARALLEL_N_JOBS", "7")
    assert played("<!-- run: parallelcfg get n_jobs -->\n```console\n```\n").endswith("none\n```\n")


def test_what_differs_from_run_to_run_does_not_count(played):
    command = "echo took 1.25 ms, 12 kB"
    page = f"<!-- about: {command} -->\n```console\n$ {command}\ntook 37 s, 3.4 MB\n```\n"
    assert played(page) == page


def test_other_words_do_count(played):
    page = "<!-- about: echo took 1.25 ms -->\n```console\n$ echo took 1.25 ms\nlost 1.25 ms\n```\n"
    assert "\ntook 1.25 ms\n" in played(page)


def test_python_without_a_title_is_one_program(render, tmp_path):
    document = tmp_path / "page.md"
    document.write_text(
        '```python\na = 1\n```\ntext\n```python title="b.py"\n```\n```python\nassert a\n```\n'
    )
    assert render.program(document) == "a = 1\n\nassert a\n"
    assert render.files(document) == {"b.py": ""}
