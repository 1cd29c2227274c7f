"""Type checkers know what a loop returns."""

import inspect
import re

import pytest

from parallelcfg import Parallel
from parallelcfg.backends.registry import BUILT_IN, _built_in
from parallelcfg.config.keys import KEYS
from parallelcfg.typing import Keys, Options

PROGRAM = """
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from typing_extensions import Unpack, assert_type
from parallelcfg import UNSET, Parallel, TaskError, delayed, parallel_config, set_config
from parallelcfg.backends.custom import ThreadingBackend
from parallelcfg.config.settings import ParallelSettings
from parallelcfg.typing import AsList, AsStreamWithErrors, Options, Unset

def text(x: int) -> str:
    return str(x)

as_list: list[str] = Parallel(n_jobs=2)(delayed(text)(x) for x in range(3))
as_stream: Iterator[str] = Parallel(return_as="generator")(delayed(text)(x) for x in range(3))
Parallel(return_as="generator")(delayed(text)(x) for x in range(3)).close()
mixed: list[int | str] = Parallel()([delayed(text)(1), delayed(abs)(2)])
with Parallel(n_jobs=2, backend="threading", verbose=0) as parallel:
    reused: list[str] = parallel([delayed(text)(1)])

for result in Parallel(2, on_error="return")(delayed(text)(x) for x in range(3)):
    assert_type(result, str | TaskError)
streaming = Parallel(2, "loky", "generator", on_error="return")
assert_type(streaming([delayed(text)(1)]), Generator[str | TaskError, None, None])

def passed_on(shape: str, **options: Any) -> Any:
    assert_type(Parallel(on_error=shape)([delayed(text)(1)]), Any)
    with Parallel(return_as=shape, **options) as unknown:
        assert_type(unknown([delayed(text)(1)]), Any)
    return Parallel(return_as=shape, **options)([delayed(text)(1)])

def keywords_passed_on(n_jobs: int | None, **options: Unpack[Options]) -> list[str]:
    return Parallel(n_jobs, **options)([delayed(text)(1)])

def left_open(n_jobs: int | None = None, seed: int | Unset | None = UNSET) -> list[str]:
    return Parallel(n_jobs, seed=seed)([delayed(text)(1)])

def objects_passed_on(loop: Parallel[AsList], stream: Parallel[AsStreamWithErrors]) -> list[str]:
    return loop([delayed(text)(1)])

objects_passed_on(Parallel(seed=UNSET, idle_worker_timeout=3), streaming)

def of_any_shape(loop: Parallel) -> Any:
    return loop([delayed(text)(1)])

of_any_shape(streaming)
with parallel_config(temp_folder=Path("scratch")):
    of_any_shape(Parallel(temp_folder=Path("scratch"), trace=Path("run.json")))

set_config(n_jobs=2, backend="threading", temp_folder=None, on_error="return").reset()
ParallelSettings(retries=2, backends={"loky": {"idle_worker_timeout": 3}})

class Own(ThreadingBackend):
    def configure(self, n_jobs: int = 1, parallel: Any = None, **backend_kwargs: Any) -> int:
        return super().configure(n_jobs, parallel, **backend_kwargs)

wrong_result: list[int] = Parallel()(delayed(text)(x) for x in range(3))
wrong_argument = delayed(text)("x")
misspelt = Parallel(n_job=2)
misspelt_key = set_config(n_job=2)
wrong_key = set_config(retries="three")
wrong_value = Parallel(batch_size=[2])
wrong_shape = objects_passed_on(Parallel(return_as="generator"), streaming)
"""

WRONG = (
    "wrong_result",
    "wrong_argument",
    "misspelt =",
    "misspelt_key",
    "wrong_key",
    "wrong_value",
    "wrong_shape",
)


@pytest.mark.slow
def test_results_are_typed_by_the_function_and_the_shape(tmp_path):
    api = pytest.importorskip("mypy.api")
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    out, _, _ = api.run(["--strict", "--cache-dir", str(tmp_path / "cache"), str(file)])
    wrong = [int(line) for line in re.findall(r"program\.py:(\d+): error", out)]
    assert wrong == [PROGRAM[: PROGRAM.index(name)].count("\n") + 1 for name in WRONG]


def test_options_are_the_keywords_of_parallel_and_of_the_built_in_backends():
    positional = {"self", "n_jobs", "backend", "return_as", "on_error", "backend_params"}
    keywords = {*inspect.signature(Parallel.__init__).parameters} - positional
    for name in BUILT_IN:
        keywords |= {*inspect.signature(_built_in(name)).parameters}
    assert set(Options.__annotations__) == keywords


def test_keys_are_the_keys_of_the_configuration():
    assert set(Keys.__annotations__) == set(KEYS)
