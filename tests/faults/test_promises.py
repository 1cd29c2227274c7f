"""Each promise in the documentation names a test that exists, and each of these tests is a promise."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "faults.md"

#: Tests of the machinery, or of the absence of what must be asked for.
NO_PROMISE = {
    "test_filters_of_categories_that_a_worker_imports_later",
    "test_log_records_stay_where_they_are_unless_asked_for",
    "test_maxtasksperchild",
    "test_processes_are_hidden_from_others",
    "test_workers_that_grew_stay_unless_asked_for",
}


def test_promises_and_tests_agree():
    promised = {
        (file, test)
        for test, file in re.findall(r"\[(test_\w+)\]\(\.\./tests/faults/(\w+\.py)\)", PAGE.read_text())
    }
    written = {
        (path.name, node.name)
        for path in HERE.glob("test_*.py")
        if path != Path(__file__)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and node.name not in NO_PROMISE
    }
    assert promised == written
