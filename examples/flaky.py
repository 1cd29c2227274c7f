"""Work that fails now and then: retries, time limits, and errors as values.

    python examples/flaky.py

Four pages are fetched from a service that refuses one at first, kills a worker over another, and never
answers for the last. The call comes to an end nevertheless, with a result or a reason for each page.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from parallelcfg import Parallel, TaskError, delayed

PAGES = ["index", "refuses", "crashes", "hangs"]


def attempt(notes: Path, page: str) -> int:
    """Count the attempts in a file: a worker that died remembers nothing."""
    with (notes / page).open("a+") as file:
        file.write(".")
        return file.tell()


def fetch(page: str, notes: Path) -> str:
    """Stands in for a request to a service that has a bad day."""
    tried = attempt(notes, page)
    if page == "refuses" and tried == 1:
        raise ConnectionError("try again later")
    if page == "crashes" and tried == 1:
        os._exit(139)  # as a fault in a C library would
    if page == "hangs":
        time.sleep(3600)
    return f"<h1>{page}</h1> at attempt {tried}"


def main() -> None:
    """Fetch all pages."""
    with tempfile.TemporaryDirectory() as notes:
        loop = Parallel(
            n_jobs=2,
            backend="loky",
            batch_size=1,  # each request by itself
            retries=1,  # one more attempt for a task that raised or lost its worker, or ran out of time
            timeout=1.0,  # seconds for one task, from its start on the worker, which is stopped then
            on_error="return",  # a TaskError takes the place of a result; nothing else is thrown away
        )
        pages = loop(delayed(fetch)(page, Path(notes)) for page in PAGES)

    for name, page in zip(PAGES, pages, strict=True):
        if isinstance(page, TaskError):
            print(f"{name:<8} gave up after {page.attempts} attempts: {type(page.exception).__name__}")
        else:
            print(f"{name:<8} {page}")
    print(f"\n{loop.report.failed} failed for good, {loop.report.retries} sent again")


if __name__ == "__main__":
    main()
