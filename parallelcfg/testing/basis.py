"""What the parts of the contract have in common."""

from __future__ import annotations

import unittest
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from parallelcfg.parallel import Parallel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from parallelcfg.backends.base import Traits

__all__ = ["Basis", "Caught", "needs", "raises"]

E = TypeVar("E", bound=BaseException)


class Basis:
    """The backend under test."""

    backend: ClassVar[object]
    params: ClassVar[Mapping[str, Any]] = {}
    n_jobs: ClassVar[int] = 2
    concurrent: ClassVar[bool] = True
    prompt: ClassVar[bool] = True

    def parallel(self, **keys: Any) -> Any:
        """A `Parallel` on the backend; untyped, because the tests ask for every shape of result."""
        return Parallel(**{"n_jobs": self.n_jobs, "backend": self.backend, **self.params, **keys})

    @property
    def traits(self) -> Traits:
        """What the backend says it can do."""
        traits: Traits = self.parallel()._plan.backend.traits  # noqa: SLF001 - no public name says it
        return traits


class Caught(Generic[E]):
    """The exception that was raised."""

    value: E


@contextmanager
def raises(kind: type[E]) -> Iterator[Caught[E]]:
    """Expect an exception of exactly this type."""
    caught: Caught[E] = Caught()
    try:
        yield caught
    except BaseException as error:
        if type(error) is not kind:
            raise
        caught.value = error
    else:
        raise AssertionError(f"no {kind.__name__} was raised")


def needs(trait: bool, why: str) -> None:
    """Skip a test for which the backend lacks something."""
    if not trait:
        raise unittest.SkipTest(why)
