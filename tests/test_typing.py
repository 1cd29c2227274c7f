"""Type checkers know what a loop returns."""

import re

import pytest

PROGRAM = """
from collections.abc import Iterator
from typing import Any
from parallelcfg import Parallel, delayed
from parallelcfg.backends.custom import ThreadingBackend

def text(x: int) -> str:
    return str(x)

as_list: list[str] = Parallel(n_jobs=2)(delayed(text)(x) for x in range(3))
as_stream: Iterator[str] = Parallel(return_as="generator")(delayed(text)(x) for x in range(3))
Parallel(return_as="generator")(delayed(text)(x) for x in range(3)).close()
mixed: list[int | str] = Parallel()([delayed(text)(1), delayed(abs)(2)])
with Parallel(n_jobs=2, backend="threading", verbose=0) as parallel:
    reused: list[str] = parallel([delayed(text)(1)])

class Own(ThreadingBackend):
    def configure(self, n_jobs: int = 1, parallel: Any = None, **backend_kwargs: Any) -> int:
        return super().configure(n_jobs, parallel, **backend_kwargs)

wrong_result: list[int] = Parallel()(delayed(text)(x) for x in range(3))
wrong_argument = delayed(text)("x")
"""


@pytest.mark.slow
def test_results_are_typed_by_the_function_and_the_shape(tmp_path):
    api = pytest.importorskip("mypy.api")
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    out, _, _ = api.run(["--strict", "--cache-dir", str(tmp_path / "cache"), str(file)])
    wrong = [int(line) for line in re.findall(r"program\.py:(\d+): error", out)]
    assert wrong == [PROGRAM[: PROGRAM.index(name)].count("\n") + 1 for name in ("wrong_result", "wrong_arg")]
