from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
import spanned_toml
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from parallelcfg.config.positions import Place, excerpt, locate, scan

GNARLY = """\
# comment with [brackets] and = signs
"quoted key" = 1
'literal "key"' = 'single \\ quoted' # trailing = comment
"esc\\u00e9\\t\\"x" = 2
a . "b.c" . d = [ 1, 2,   # inside
  { x = 1, "y z" = [ [ "]" , '}' ], {} ] },
]
multi = \"\"\"
[not.a.table]
n_jobs = 3 \\"\"\" still
two quotes before the end\"\"\"\"\"
literal = '''
'' it''s [x]
'''''
date = 1979-05-27 07:32:00
when = 1979-05-27T00:32:00.999999-07:00
π = 3
inline = { a.b = 1, a.c = { d = "é→𝄞" }, e = [{f=1},{f=2}] }

[ table . "x.y" ]   # header
k=1

[[fruit]]
name = "apple"
[fruit.physical]
color = "red"
[[fruit.variety]]
name = "red delicious"
[[fruit.variety]]
name = "granny"
[[fruit]]
name = "banana"
[[fruit.variety]]
name = "plantain"
""".replace("π", '"π"')


def spans_of(node, path=()):
    """The spans that spanned-toml knows: (path, span of the key or None, span of the value or None)."""
    inner = node.inner()
    if isinstance(inner, dict):
        pairs = [(key.inner(), key.span(), value) for key, value in inner.items()]
    elif isinstance(inner, list):
        pairs = [(index, None, value) for index, value in enumerate(inner)]
    else:
        return
    for name, key, value in pairs:
        span = value.span()
        yield (*path, name), key, None if span == slice(0, 0) else span
        yield from spans_of(value, (*path, name))


def assert_agrees(text):
    """Compare with the oracle, which counts CRLF as one character."""
    plain = text.replace("\r\n", "\n")
    ours = scan(plain)
    count = 0
    for path, key, value in spans_of(spanned_toml.loads(plain)):
        for (start, end), theirs in ((ours[path].key, key), (ours[path].value, value)):
            if theirs is not None:
                assert end == theirs.stop, path
                # the oracle lets a text with escapes begin after the first of them
                assert start == theirs.start or plain[start] == '"', path
        count += 1
    assert len(ours) == count
    return count


def test_every_kind_of_toml_is_found_where_the_oracle_finds_it():
    assert assert_agrees(GNARLY) == 48


def test_thousands_of_keys_of_real_files_are_found_where_the_oracle_finds_them():
    folders = [Path(sysconfig.get_path(name)) for name in ("purelib", "stdlib")]
    files = [Path(__file__).parents[2] / "pyproject.toml"]
    files += [file for folder in folders for file in folder.rglob("*.toml")]
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        try:
            spanned_toml.loads(text)
        except spanned_toml.TOMLDecodeError:
            continue
        assert_agrees(text)


scalars = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text(max_size=12)
    | st.datetimes()
    | st.dates()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(st.text(max_size=8), values, max_size=8)


@settings(max_examples=150)
@given(documents, st.booleans())
def test_generated_documents_are_found_where_the_oracle_finds_them(document, crlf):
    text = tomlkit.dumps(document)
    if crlf:
        text = text.replace("\n", "\r\n")
    try:
        spanned_toml.loads(text)
    except spanned_toml.TOMLDecodeError:  # tomlkit writes a few things that are no TOML
        return
    assert_agrees(text)


def test_a_corpus_of_thousands_of_keys_has_exact_lines_and_columns():
    lines = []
    for table in range(300):
        lines += [
            f"[[jobs]] # {table}",
            f'  "k é {table}" = {table}',
            f'sub."d.{table}".x = [ "]", {{ q = 1 }} ]',
        ]
        lines += [f'm{table} = """', "n_jobs = 1", '"""', f"last={table}"]
    text = "\r\n".join(lines)
    assert assert_agrees(text) > 3000
    for table in range(300):
        start = table * 7
        assert locate(text, ("jobs", table, f"k é {table}")).line == start + 2
        assert locate(text, ("jobs", table, f"k é {table}")).column == 3
        assert locate(text, ("jobs", table, "last")) == Place(start + 7, 1, 4)
        assert locate(text, ("jobs", table, "last"), value=True).column == 6


@pytest.mark.parametrize(
    ("text", "path", "place"),
    [
        ("n_jobs = 4", ("n_jobs",), Place(1, 1, 6)),
        ("# é\r\n\r\n  n_jobs = 4\r\n", ("n_jobs",), Place(3, 3, 6)),
        ("[tool.parallelcfg]\nn_jobs = 4", ("tool", "parallelcfg", "n_jobs"), Place(2, 1, 6)),
        ("backends.dask.address = 'x'", ("backends", "dask", "address"), Place(1, 15, 7)),
        ("backends = { dask = {address=1} }", ("backends", "dask", "address"), Place(1, 22, 7)),
        ("a = '''\nn_jobs = 1\n'''\nn_jobs = 2", ("n_jobs",), Place(4, 1, 6)),
    ],
)
def test_a_key_has_its_line_and_column(text, path, place):
    assert locate(text, path) == place


def test_a_key_that_is_not_there_has_no_place():
    assert locate("n_jobs = 4", ("verbose",)) is None


def test_an_excerpt_underlines_what_is_meant():
    assert excerpt("a = 1\n\tn_jbos = 4 # x", Place(2, 2, 6)) == "  2 |  n_jbos = 4 # x\n    |  ^^^^^^"


def test_an_excerpt_stops_at_the_end_of_the_line():
    assert excerpt('a = """x\ny"""', Place(1, 5, 9)).endswith("|     ^^^^")


def test_a_line_too_long_to_help_is_not_shown():
    assert excerpt("x" * 1000, Place(1, 1, 1)) == ""
