"""Imports run one way, start-up stays light, and workers import neither pydantic nor numpy by themselves.

What others import at the same time is not there yet.
"""

from __future__ import annotations

import ast
import pickle
import posixpath
import subprocess
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

import parallelcfg
from parallelcfg.backends.possible import is_daemon, no_processes
from parallelcfg.config.callers import notebook
from parallelcfg.transport import parcels, pickling, store
from parallelcfg.transport.culprit import culprit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(parallelcfg.__file__).parent

#: The floors of the house, lowest first: a module imports from its own floor and from those below.
FLOORS = (
    ("errors", "config.snapshot", "core"),
    ("config", "threadpools"),
    ("randomness",),
    ("transport",),
    ("orders", "heap", "loop", "worker", "workerprocess", "workerentry"),
    ("backends",),
    ("report", "progress"),
    ("engine",),
    ("typing", "task"),
    ("parallel",),
    ("cli", "integrations", "testing", "__main__"),
)

#: Imports against the direction, inside a function, each for a reason.
EXCEPTIONS = {
    ("errors", "transport.failures"): "an error that has another one packs it as tasks' errors are packed",
    ("config.snapshot", "config.html"): "a notebook asks a Config for its table",
    ("config.settings", "backends.registry"): "which backends exist is known when a name is checked",
    ("config.declaration", "backends.registry"): "and which are built in, when facts are written down",
    ("config.keys", "backends.registry"): "or completed",
    ("config.surroundings", "backends.registry"): "and that of a table, when files are judged as a whole",
    ("config.context", "backends.registry"): "and which parameters they take, when some are given",
    ("config.context", "backends.params"): "and with which values",
    ("config.validation", "backends.registry"): "and those of a file, when it is judged",
    ("config.validation", "backends.params"): "and their values",
}

#: The modules that may import pydantic.
DECLARATION = {"config.settings", "config.fields", "config.resolve"}


@dataclass(frozen=True)
class Import:
    """One import statement of the package, or one name of it."""

    importer: str
    imported: str
    line: int
    at_start: bool  # outside of functions: it runs when the importer is imported


def modules() -> dict[str, Path]:
    """The modules of the package by dotted name, without the package's own."""
    found = {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = file
    del found[""]  # the front door only re-exports, lazily
    return found


MODULES = modules()


def imports_of(name: str) -> Iterator[Import]:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    yield from walk(name, tree, at_start=True)


def walk(importer: str, node: ast.AST, *, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(importer, alias.name, child.lineno, at_start)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, f"{importer}:{child.lineno}: relative import"
            for alias in child.names:
                submodule = f"{child.module}.{alias.name}".removeprefix("parallelcfg.")
                imported = f"parallelcfg.{submodule}" if submodule in MODULES else str(child.module)
                yield Import(importer, imported, child.lineno, at_start)
        inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from walk(importer, child, at_start=at_start and not inside)


ALL = [statement for name in MODULES for statement in imports_of(name)]
OWN = [statement for statement in ALL if statement.imported.startswith("parallelcfg.")]


def own_name(statement: Import) -> str:
    return statement.imported.removeprefix("parallelcfg.")


def floor(name: str) -> int:
    """The floor of a module: of its own name, or else of the nearest package around it."""
    while name:
        for number, names in enumerate(FLOORS):
            if name in names:
                return number
        name = name.rpartition(".")[0]
    raise LookupError


def test_every_module_has_its_floor() -> None:
    for name in MODULES:
        floor(name)


def test_imports_run_downwards() -> None:
    upwards = [
        f"{statement.importer}:{statement.line} imports {own_name(statement)}"
        for statement in OWN
        if floor(own_name(statement)) > floor(statement.importer)
        and (statement.importer, own_name(statement)) not in EXCEPTIONS
    ]
    assert upwards == []


def test_exceptions_are_in_use_and_inside_functions() -> None:
    against = {(s.importer, own_name(s)): s for s in OWN if (s.importer, own_name(s)) in EXCEPTIONS}
    assert set(against) == set(EXCEPTIONS)
    assert not any(statement.at_start for statement in against.values())


def test_no_modules_import_each_other_at_start() -> None:
    graph = {name: {own_name(s) for s in OWN if s.importer == name and s.at_start} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(reversed(error.args[1]))}")


def test_only_the_declaration_of_settings_imports_pydantic() -> None:
    importers = {s.importer for s in ALL if s.imported.partition(".")[0] in {"pydantic", "pydantic_settings"}}
    assert importers <= DECLARATION


@pytest.mark.parametrize("package", ["core", "config.snapshot", "config.context", "threadpools", "worker"])
def test_what_workers_import_at_start_is_standard_library(package: str) -> None:
    foreign = {
        f"{s.importer}: {s.imported}"
        for s in ALL
        if s.at_start and (s.importer == package or s.importer.startswith(f"{package}."))
        if s.imported.partition(".")[0] not in {*sys.stdlib_module_names, "parallelcfg"}
    }
    assert foreign == set()


def imported_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement, beyond those that it starts with."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_package_imports_next_to_nothing() -> None:
    modules = imported_by("import parallelcfg")
    assert modules <= {"parallelcfg", "typing", *imported_by("import typing, __future__")}


HEAVY = {"numpy", "pydantic", "pydantic_settings", "rich", "click", "tomlkit", "distributed", "ray", "pandas"}


@pytest.mark.parametrize("statement", ["import parallelcfg", "from parallelcfg import Parallel, delayed"])
def test_the_front_door_imports_nothing_heavy(statement: str) -> None:
    assert HEAVY & imported_by(statement) == set()


def test_the_workers_module_imports_nothing_heavy() -> None:
    assert (HEAVY | {"asyncio", "email", "http"}) & imported_by("import parallelcfg.worker") == set()


def beside() -> object:
    return parcels.dumps(pickle.PickleBuffer(bytes(1 << 16))).buffers  # type: ignore[union-attr]  # it is large


@pytest.mark.parametrize(
    ("module", "ask", "answer"),
    [
        ("cloudpickle", lambda: pickling.needs_value(posixpath.basename), False),
        ("numpy", lambda: culprit([1, lambda: 2]), None),
        ("numpy", lambda: store.address(memoryview(b"1")), None),
        ("numpy", beside, (bytes(1 << 16),)),
        ("IPython.core.getipython", notebook, None),
        ("multiprocessing.process", is_daemon, False),
        ("multiprocessing.spawn", lambda: no_processes("loky"), ""),
    ],
)
def test_what_another_thread_is_still_importing_is_not_there_yet(
    module: str, ask: Callable[[], object], answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickling.dumps(lambda: None)  # has whatever it needs itself
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    assert ask() == answer
