"""Modules and functions stay small, as CONTRIBUTING.md says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import parallelcfg

ROOT = Path(parallelcfg.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

LINES_OF_MODULE = 300
LINES_OF_FUNCTION = 40

#: Their signatures have a line for each of two dozen keys.
SPELT_OUT = {"parallel.py", str(Path("config", "context.py"))}

FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]


def signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the name to the body."""
    return function.body[0].lineno - function.lineno


def body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body, without its docstring."""
    first, last = function.body[0], function.body[-1]
    assert first.end_lineno is not None
    assert last.end_lineno is not None
    began = first.end_lineno if ast.get_docstring(function) else first.lineno - 1
    return last.end_lineno - began


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_modules_and_functions_are_small(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    found = functions(ast.parse(text))
    spelt_out = sum(map(signature, found)) if str(file.relative_to(ROOT)) in SPELT_OUT else 0
    assert len(text.splitlines()) - spelt_out <= LINES_OF_MODULE
    assert [each.name for each in found if body(each) > LINES_OF_FUNCTION] == []
