"""Send what pickle refuses: lambdas, closures, local classes, functions of a script.

    python examples/closures.py

Worker processes get tasks as bytes. The standard library's pickle knows functions and classes by name only,
so a lambda, or anything defined inside a function, has no way to travel. parallelcfg tries the quick pickler
first and sends by value whatever that can't send by name: nothing has to be marked.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable

from parallelcfg import Parallel, TaskNotPicklable, delayed, wrap_non_picklable_objects

Curve = Callable[[float], float]


def polynomial(*coefficients: float) -> Curve:
    """A closure: the function that comes back remembers its coefficients."""

    def value(x: float) -> float:
        result = 0.0
        for coefficient in coefficients:
            result = result * x + coefficient
        return result

    return value


def functions_travel() -> None:
    """Tasks may be lambdas and closures, take them as arguments, and return them."""
    square = lambda x: x * x  # noqa: E731 - the point of the example
    assert not _pickles(square)

    with Parallel(n_jobs=2, backend="loky") as parallel:
        print("lambda    ", parallel(delayed(square)(x) for x in range(5)))
        curves = parallel(delayed(polynomial)(1, 0, shift) for shift in (0, 1, 2))  # results, closures again
        print("closures  ", parallel(delayed(curve)(3) for curve in curves))


def objects_travel() -> None:
    """Instances of classes that only exist here travel too, at any depth."""

    class Counter:
        def __init__(self, start: int) -> None:
            self.start = start

        def plus(self, x: int) -> int:
            return self.start + x

    counters = {"ten": Counter(10), "hundred": Counter(100)}
    bound = [counter.plus for counter in counters.values()]  # bound methods carry their object along
    print("methods   ", Parallel(n_jobs=2, backend="loky")(delayed(plus)(1) for plus in bound))


def other_peoples_pickles() -> None:
    """`wrap_non_picklable_objects` is for pickles that others write: a cache, a queue, a file."""
    double = wrap_non_picklable_objects(lambda x: 2 * x)
    again = pickle.loads(pickle.dumps(double))
    print("wrapped   ", again(21))


def what_never_travels() -> None:
    """A lock, an open file or a connection means nothing elsewhere. The error names it, and where it is."""
    settings = {"name": "job", "guard": threading.Lock()}
    try:
        Parallel(n_jobs=2, backend="loky")(delayed(len)(settings) for _ in range(2))
    except TaskNotPicklable as error:
        print("refused   ", error)
    # Make such things inside the task, or use a backend whose tasks share the caller's memory:
    print("threads   ", Parallel(n_jobs=2, backend="threading")(delayed(len)(settings) for _ in range(2)))


def _pickles(obj: object) -> bool:
    try:
        pickle.dumps(obj)
    except (pickle.PicklingError, AttributeError):
        return False
    return True


if __name__ == "__main__":
    functions_travel()
    objects_travel()
    other_peoples_pickles()
    what_never_travels()
