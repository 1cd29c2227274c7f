"""A pipeline of generators: read in threads, parse in processes, sum up as results come in.

    python examples/pipeline.py

Each stage is a `Parallel` that returns a generator, and the next one takes it as input. All stages work at
the same time, and `max_pending_results` keeps a quick stage from piling up what a slow one has not yet taken:
memory stays bounded however many files there are.
"""

from __future__ import annotations

import io
import keyword
import sysconfig
import tokenize
from collections import Counter
from pathlib import Path

from parallelcfg import Parallel, delayed

FILES = 150


def read(file: Path) -> bytes:
    """Stage 1 waits for a disk or a network: threads are enough."""
    return file.read_bytes()


def names(source: bytes) -> Counter[str]:
    """Stage 2 computes in Python: it needs processes."""
    tokens = tokenize.tokenize(io.BytesIO(source).readline)
    return Counter(token.string for token in tokens if token.type == tokenize.NAME)


def main() -> None:
    """Find the words that programs are made of."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:FILES]

    reader = Parallel(n_jobs=4, backend="threading", return_as="generator", max_pending_results=16)
    sources = reader(delayed(read)(file) for file in files)

    # The order of the files does not matter to a sum: whichever comes first is taken first.
    parser = Parallel(n_jobs=2, backend="loky", return_as="generator_unordered", max_pending_results=16)
    counts = parser(delayed(names)(source) for source in sources)

    total: Counter[str] = Counter()
    for done, count in enumerate(counts, start=1):  # stage 3 is this loop
        total += count
        if done % 50 == 0:
            print(f"{done:>4} files, {total.total():>7,} names")

    print()
    for name, count in total.most_common(8):
        print(f"{count:>7,}  {name}{'  (keyword)' if keyword.iskeyword(name) else ''}")


if __name__ == "__main__":
    main()
