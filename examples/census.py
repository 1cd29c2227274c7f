"""Census of the standard library: parse every module of Python itself, in parallel.

    parallelcfg run examples/census.py
    PARALLEL_N_JOBS=1 parallelcfg run examples/census.py
    PARALLEL_BACKEND=threading parallelcfg run examples/census.py

The loop names neither a backend nor a number of jobs: `parallel.toml` beside this file does, unless a
variable says otherwise. The last lines of the table tell who decided.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import sysconfig
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from parallelcfg import Parallel, delayed, explain, reload

HERE = Path(__file__).parent
SHOWN = 12  # packages with a line of their own


class Count(NamedTuple):
    """What was found in a module, or in several."""

    modules: int
    lines: int
    functions: int
    classes: int
    longest: tuple[int, str]  # lines and name of the longest function

    def __add__(self, other: Count) -> Count:
        sums = (mine + yours for mine, yours in zip(self[:4], other[:4], strict=True))
        return Count(*sums, max(self.longest, other.longest))


NOTHING = Count(0, 0, 0, 0, (0, ""))


def count(file: Path) -> Count:
    """Parse one module. This is the task: each file is one."""
    source = file.read_bytes()
    nodes = list(ast.walk(ast.parse(source)))
    functions = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    module = file.parent.name if file.stem == "__init__" else file.stem
    sizes = [(node.end_lineno - node.lineno + 1, f"{module}.{node.name}") for node in functions]
    classes = sum(isinstance(node, ast.ClassDef) for node in nodes)
    return Count(1, source.count(b"\n"), len(functions), classes, max(sizes, default=(0, "")))


def modules(folder: Path) -> list[Path]:
    """Every module below a folder, but for tests and for packages that others have installed there."""
    left_out = {"site-packages", "test", "tests", "idle_test"}
    files = (file.relative_to(folder) for file in folder.rglob("*.py"))
    return sorted(folder / file for file in files if left_out.isdisjoint(file.parts))


def by_package(folder: Path, files: list[Path], counts: list[Count]) -> dict[str, Count]:
    """The counts summed up by package, the largest first; modules outside of packages come under one name."""
    packages: dict[str, Count] = {}
    for file, found in zip(files, counts, strict=True):
        parts = file.relative_to(folder).parts
        name = parts[0] if len(parts) > 1 else "single modules"
        packages[name] = packages.get(name, NOTHING) + found
    return dict(sorted(packages.items(), key=lambda item: (-item[1].lines, item[0])))


def table(packages: dict[str, Count]) -> list[str]:
    """The counts as lines of text."""
    names = list(packages)
    rest = sum((packages[name] for name in names[SHOWN:]), NOTHING)
    rows = {name: packages[name] for name in names[:SHOWN]}
    if rest.modules:
        rows[f"{len(names) - SHOWN} more"] = rest
    total = sum(rows.values(), NOTHING)
    heads = ["package", "modules", "lines", "functions", "classes", "longest function"]
    lines = [_row(*heads), "-" * 86]
    lines += [_row(name, *_cells(row)) for name, row in rows.items()]
    return [*lines, "-" * 86, _row("all", *_cells(total))]


def _row(name: str, modules: str, lines: str, functions: str, classes: str, longest: str) -> str:
    return f"{name:<16}{modules:>8}{lines:>10}{functions:>11}{classes:>9}   {longest}".rstrip()


def _cells(row: Count) -> list[str]:
    length, name = row.longest
    return [*(f"{number:,}" for number in row[:4]), f"{name} ({length:,} lines)" if name else ""]


def main() -> None:
    """Count, and print the table."""
    parser = argparse.ArgumentParser(description="Census of a folder of Python modules.")
    default = Path(sysconfig.get_path("stdlib"))
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="default: %(default)s")
    folder = parser.parse_args().folder
    # These settings hold wherever the script is started from, unless a variable names another file.
    os.environ.setdefault("PARALLEL_CONFIG", str(HERE / "parallel.toml"))
    reload()

    files = modules(folder)
    loop = Parallel()
    start = perf_counter()
    counts = loop(delayed(count)(file) for file in files)
    seconds = perf_counter() - start

    python = f"the standard library of Python {platform.python_version()}"
    print(f"\nCensus of {python if folder == default else folder}\n")
    print("\n".join(table(by_package(folder, files, counts))))
    rate, workers = len(files) / seconds, loop.effective_n_jobs
    print(f"\n{seconds:.2f} seconds, {rate:,.0f} tasks per second, {workers} worker{'s' * (workers != 1)}\n")
    for key in ("n_jobs", "backend"):
        winner = explain(key).winner
        print(f"{key:<8}= {winner.value!s:<12}decided by: {winner.layer}  {winner.origin}".rstrip())


if __name__ == "__main__":
    main()
