"""`wrap_non_picklable_objects`: by value, whoever pickles."""

import copy
import pickle

import pytest

from parallelcfg import wrap_non_picklable_objects


def _there(obj):
    return pickle.loads(pickle.dumps(obj))


def test_functions():
    def add(x, y=1):
        """Add."""
        return x + y

    wrapped = wrap_non_picklable_objects(add)
    assert wrapped(2) == 3
    assert wrapped.__name__ == "add"
    assert wrapped.__doc__ == "Add."
    assert _there(_there(wrapped))(2, y=5) == 7


def test_the_wrapper_can_be_left_behind():
    wrapped = wrap_non_picklable_objects(lambda: 1, keep_wrapper=False)
    assert type(_there(wrapped)).__name__ == "function"


def test_objects():
    class Local:
        def __init__(self, x):
            self.x = x

    wrapped = wrap_non_picklable_objects(Local(4))
    assert not callable(wrapped)
    assert _there(wrapped).x == 4
    assert copy.copy(wrapped).x == 4
    with pytest.raises(AttributeError, match="missing"):
        _ = wrapped.missing


def test_classes():
    @wrap_non_picklable_objects
    class Local:
        """Local things."""

        def __init__(self, x, y=2):
            self.x, self.y = x, y

        def total(self):
            return self.x + self.y

    assert Local.__name__ == "Local"
    assert Local.__doc__ == "Local things."
    assert _there(Local(1, y=5)).total() == 6
    assert not callable(Local(1))


def test_classes_whose_instances_can_be_called():
    @wrap_non_picklable_objects
    class Adder:
        def __init__(self, n):
            self.n = n

        def __call__(self, x):
            return self.n + x

    assert _there(Adder(2))(3) == 5
