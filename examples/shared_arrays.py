"""Write results in place: workers draw one picture into one array that all of them share.

    python examples/shared_arrays.py

`shared_array` makes an array that travels as a name, not as bytes: every task writes into the caller's own
memory, and returns nothing. No lock is needed, because no two tasks write to the same rows.
"""

from __future__ import annotations

import numpy as np

from parallelcfg import Parallel, delayed, share, shared_array

COLUMNS, LINES = 78, 28  # of the terminal
POINTS = 8  # of the picture, to each character, both ways
WIDTH, HEIGHT, BAND = COLUMNS * POINTS, LINES * POINTS, 2 * POINTS  # the picture; rows of one task
STEPS = 60
SHADES = np.array(list(" .,:;+*%#@"))


def draw(picture: np.ndarray, plane: np.ndarray, rows: slice) -> None:
    """Count, for each point of a band of rows, how long z -> z² + c stays small."""
    c = plane[rows]
    z = np.zeros_like(c)
    for _ in range(STEPS):
        inside = np.abs(z) <= 2
        z[inside] = z[inside] ** 2 + c[inside]
        picture[rows] += inside  # `picture` is the caller's array, whichever process this is


def main() -> None:
    """Draw the Mandelbrot set."""
    x, y = np.linspace(-2.1, 0.7, WIDTH), np.linspace(-1.2, 1.2, HEIGHT)
    plane = share(x + 1j * y[:, np.newaxis])  # an input that all tasks read: copied once, sent never
    picture = shared_array((HEIGHT, WIDTH), dtype=int)  # zeros

    bands = [slice(first, first + BAND) for first in range(0, HEIGHT, BAND)]
    loop = Parallel(n_jobs=2, backend="loky")
    loop(delayed(draw)(picture, plane, band) for band in bands)

    for row in SHADES[picture[::POINTS, ::POINTS] * (len(SHADES) - 1) // STEPS]:
        print("".join(row).rstrip())
    pickled = loop.report.bytes_pickled
    print(f"{len(bands)} tasks wrote {picture.nbytes:,} bytes in place; {pickled:,} bytes were pickled")


if __name__ == "__main__":
    main()
