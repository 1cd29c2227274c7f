"""What the package exports: every name resolves, is documented, and is declared once."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import parallelcfg

NAMES = parallelcfg.__all__

#: joblib's positional parameters, in joblib's order: changing the import must change nothing else.
JOBLIB_POSITIONS = {
    "Parallel": (
        "n_jobs backend return_as verbose timeout pre_dispatch batch_size "
        "temp_folder max_nbytes mmap_mode prefer require"
    ),
    "delayed": "function",
    "parallel_config": "backend",
    "parallel_backend": "backend n_jobs inner_max_num_threads",
    "register_parallel_backend": "name factory make_default",
    "effective_n_jobs": "n_jobs",
    "cpu_count": "only_physical_cores",
    "wrap_non_picklable_objects": "obj keep_wrapper",
}

#: Nobody calls these by hand: their fields are the configuration keys, documented there.
MADE_BY_THE_PACKAGE = {"Config", "Report"}

SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^([\w*][\w*, ]*?)(?: *:.*)?$", re.MULTILINE)


def typing_block() -> dict[str, str]:
    """The names that type checkers see, with the modules that they come from."""
    tree = ast.parse(Path(parallelcfg.__file__).read_text(encoding="utf-8"))
    (block,) = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    for alias in (alias for node in imports for alias in node.names):
        assert alias.name == alias.asname, "a re-export is spelled `import x as x`"
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def parameters(value: object) -> list[inspect.Parameter]:
    if isinstance(value, type) and not {"__init__", "__new__"} & vars(value).keys():
        return []  # takes what its base takes, Exception or tuple
    return [p for p in inspect.signature(value).parameters.values() if p.name not in {"self", "cls"}]


def documented_parameters(value: object) -> set[str]:
    """The names in the numpydoc section "Parameters"."""
    section = SECTION.search(inspect.getdoc(value) or "")
    entries = ENTRY.findall(section[1]) if section else []
    return {name.strip("* ") for entry in entries for name in entry.split(",")}


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    homes = {name: home for home, names in parallelcfg._HOMES.items() for name in names}
    assert typing_block() == homes
    assert sorted(homes) == NAMES


def test_no_name_is_declared_twice() -> None:
    counts = Counter(name for names in parallelcfg._HOMES.values() for name in names)
    assert {name for name, count in counts.items() if count > 1} == set()


def test_dir_lists_every_name_before_it_is_used() -> None:
    assert set(NAMES) <= set(dir(parallelcfg))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'parallelcfg' has no attribute 'Paralel'"):
        parallelcfg.Paralel  # noqa: B018 - the access is the test


@pytest.mark.parametrize("name", NAMES)
def test_a_name_resolves_to_something_of_this_package(name: str) -> None:
    value = getattr(parallelcfg, name)
    assert not isinstance(value, ModuleType)
    assert value.__module__.partition(".")[0] == "parallelcfg"
    assert (value.name if isinstance(value, Enum) else value.__name__) == name
    assert value is getattr(import_module(value.__module__), name)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_documented_with_its_parameters(name: str) -> None:
    value = getattr(parallelcfg, name)
    first_line = (inspect.getdoc(value) or "").partition("\n")[0]
    assert first_line.endswith("."), f"{name} has no summary"
    if callable(value) and name not in MADE_BY_THE_PACKAGE:
        assert {p.name for p in parameters(value)} - documented_parameters(value) == set()


@pytest.mark.parametrize("name", JOBLIB_POSITIONS)
def test_positional_parameters_are_joblibs(name: str) -> None:
    positional = [
        p.name
        for p in parameters(getattr(parallelcfg, name))
        if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}
    ]
    assert positional == JOBLIB_POSITIONS[name].split()


def test_every_module_says_what_it_is_for() -> None:
    files = Path(parallelcfg.__file__).parent.rglob("*.py")
    assert [
        file for file in files if not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    ] == []
