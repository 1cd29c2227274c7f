"""Limits on pools in a running process, with pools made up for the purpose."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg.threadpools import limits
from parallelcfg.threadpools.found import Found, Pool, find_pools
from parallelcfg.threadpools.limits import apply_limit, limited, limited_thread
from parallelcfg.threadpools.variables import INHERITED, VARIABLES


class FakeLibrary:
    """A library with one pool that all threads share, or one size for each thread."""

    def __init__(self, name: str, size: int, *, by_thread: bool = False) -> None:
        self.name = name
        self._default = size
        self._sizes: dict[int, int] = {}
        self._by_thread = by_thread
        self.resized = 0

    def pool(self) -> Pool:
        return Pool(self.name, "OMP_NUM_THREADS", self._by_thread, self.size, self.resize)

    def _key(self) -> int:
        return threading.get_ident() if self._by_thread else 0

    def size(self) -> int:
        return self._sizes.get(self._key(), self._default)

    def resize(self, size: int) -> None:
        self.resized += 1
        self._sizes[self._key()] = size


class FakeMachine:
    """The libraries that a search finds; loading one is like importing its module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._loaded: list[FakeLibrary] = []
        monkeypatch.setattr(limits, "find_pools", self._find)
        monkeypatch.setattr(limits, "_process", limits._Process())
        monkeypatch.setattr(limits, "_worker", limits._Worker())
        for name in (*VARIABLES, INHERITED):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)

    def load(self, name: str, size: int, *, by_thread: bool = False) -> FakeLibrary:
        library = FakeLibrary(name, size, by_thread=by_thread)
        self._loaded.append(library)
        self._monkeypatch.setitem(sys.modules, f"fake_{name}", ModuleType(name))
        return library

    def _find(self) -> Found:
        return Found(tuple(library.pool() for library in self._loaded))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    return FakeMachine(monkeypatch)


def in_thread(function) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


class TestLimited:
    def test_shared_pools_are_as_before_after_the_block(self, machine: FakeMachine) -> None:
        blas = machine.load("blas", 8)
        with limited(2):
            assert blas.size() == 2
        assert blas.size() == 8

    def test_and_after_an_exception(self, machine: FakeMachine) -> None:
        blas = machine.load("blas", 8)
        with pytest.raises(KeyError), limited(2):
            raise KeyError
        assert blas.size() == 8

    def test_a_budget_only_lowers_and_an_explicit_limit_also_raises(self, machine: FakeMachine) -> None:
        blas = machine.load("blas", 2)
        with limited(4):
            assert blas.size() == 2
        with limited(4, explicit=True):
            assert blas.size() == 4
        assert blas.size() == 2

    def test_a_library_that_is_loaded_during_the_block_comes_under_it(self, machine: FakeMachine) -> None:
        with limited(2):
            blas = machine.load("blas", 8)
            with limited_thread(2):
                assert blas.size() == 2
        assert blas.size() == 8

    def test_an_explicit_limit_rules_over_budgets_and_the_smallest_budget_over_others(
        self, machine: FakeMachine
    ) -> None:
        blas = machine.load("blas", 16)
        with limited(3), limited(5):
            assert blas.size() == 3
            with limited(8, explicit=True):
                assert blas.size() == 8
                with limited(4, explicit=True):
                    assert blas.size() == 4
            assert blas.size() == 3
        assert blas.size() == 16

    def test_a_block_may_be_left_in_another_thread(self, machine: FakeMachine) -> None:
        blas = machine.load("blas", 8)
        stack = ExitStack()
        stack.enter_context(limited(2))
        in_thread(stack.close)
        assert blas.size() == 8

    def test_pools_by_thread_are_left_alone(self, machine: FakeMachine) -> None:
        openmp = machine.load("openmp", 8, by_thread=True)
        with limited(2):
            assert openmp.size() == 8

    def test_a_forked_child_may_leave_a_block_of_its_parent(self, machine: FakeMachine) -> None:
        machine.load("blas", 8)
        with limited(2):
            limits._start_afresh()  # what os.fork has the child call


OPENINGS = st.tuples(st.integers(1, 16), st.booleans())


@given(openings=st.lists(OPENINGS, min_size=1, max_size=6), order=st.randoms(use_true_random=False))
def test_overlapping_blocks_restore_the_first_sizes_in_whatever_order_they_end(openings, order) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        machine = FakeMachine(monkeypatch)
        libraries = [machine.load("blas", 8), machine.load("flexiblas", 3)]
        blocks = []
        for limit, explicit in openings:
            blocks.append(limited(limit, explicit=explicit))
            blocks[-1].__enter__()
        order.shuffle(blocks)
        for block in blocks:
            assert all(library.size() <= 16 for library in libraries)
            block.__exit__(None, None, None)
        assert [library.size() for library in libraries] == [8, 3]


class TestLimitedThread:
    def test_only_the_calling_thread_is_limited(self, machine: FakeMachine) -> None:
        openmp = machine.load("openmp", 8, by_thread=True)
        seen = []

        def work() -> None:
            with limited_thread(2):
                seen.append(openmp.size())
            seen.append(openmp.size())

        with limited_thread(4):
            in_thread(work)
            seen.append(openmp.size())
        assert [*seen, openmp.size()] == [2, 8, 4, 8]

    def test_a_budget_only_lowers_and_an_explicit_limit_also_raises(self, machine: FakeMachine) -> None:
        openmp = machine.load("openmp", 2, by_thread=True)
        with limited_thread(4):
            assert openmp.size() == 2
        with limited_thread(4, explicit=True):
            assert openmp.size() == 4

    def test_the_size_returns_after_an_exception(self, machine: FakeMachine) -> None:
        openmp = machine.load("openmp", 8, by_thread=True)
        with pytest.raises(KeyError), limited_thread(2):
            raise KeyError
        assert openmp.size() == 8


class TestApplyLimit:
    def test_a_warm_worker_takes_a_new_limit(self, machine: FakeMachine) -> None:
        libraries = [machine.load("blas", 8), machine.load("openmp", 8, by_thread=True)]
        for limit in (2, 5, 1, 8):
            apply_limit(limit)
            assert [library.size() for library in libraries] == [limit, limit]

    def test_the_same_limit_again_touches_nothing(self, machine: FakeMachine) -> None:
        blas = machine.load("blas", 8)
        apply_limit(2)
        resized = blas.resized
        apply_limit(2)
        assert blas.resized == resized

    def test_a_library_that_an_earlier_task_loaded_is_limited(self, machine: FakeMachine) -> None:
        apply_limit(2)
        blas = machine.load("blas", 8)
        apply_limit(2)
        assert blas.size() == 2

    def test_libraries_to_come_find_the_limit_in_the_environment(
        self, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
        seen = []
        for limit in (2, 8):
            apply_limit(limit)
            seen.append((limits.os.environ["OMP_NUM_THREADS"], limits.os.environ["RAYON_NUM_THREADS"]))
        assert seen == [("2", "2"), ("4", "8")]

    def test_a_smaller_size_of_the_users_environment_holds_against_a_budget(
        self, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        blas = machine.load("blas", 1)
        apply_limit(4)
        assert blas.size() == 1
        apply_limit(4, explicit=True)
        assert blas.size() == 4

    def test_a_size_that_an_initializer_has_set_holds_against_a_budget(
        self, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
        blas = machine.load("blas", 4)
        blas.resize(2)  # the user's initializer
        for limit in (4, 8):
            apply_limit(limit)
            assert blas.size() == 2
        apply_limit(1)
        assert blas.size() == 1
        apply_limit(8, explicit=True)
        assert blas.size() == 8

    def test_a_loaded_numba_keeps_its_variable(
        self, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NUMBA_NUM_THREADS", "4")
        monkeypatch.setitem(sys.modules, "numba", ModuleType("numba"))
        apply_limit(2)
        assert limits.os.environ["NUMBA_NUM_THREADS"] == "4"


class TestModulesWithPools:
    @pytest.mark.parametrize(
        ("name", "getter", "setter"),
        [("torch", "get_num_threads", "set_num_threads"), ("cv2", "getNumThreads", "setNumThreads")],
    )
    def test_a_loaded_module_is_found_by_its_functions(
        self, monkeypatch: pytest.MonkeyPatch, name: str, getter: str, setter: str
    ) -> None:
        library = FakeLibrary(name, 8)
        module = ModuleType(name)
        setattr(module, getter, library.size)
        setattr(module, setter, library.resize)
        monkeypatch.setitem(sys.modules, name, module)
        (pool,) = [pool for pool in find_pools().pools if pool.name == name]
        pool.resize(3)
        assert library.size() == pool.size() == 3

    def test_a_module_that_is_still_being_imported_is_passed_over(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
        assert "torch" not in {pool.name for pool in find_pools().pools}

    def test_numba_is_not_asked_before_it_has_launched_its_threads(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        library = FakeLibrary("numba", 4)
        numba = ModuleType("numba")
        numba.get_num_threads, numba.set_num_threads = library.size, library.resize
        numba.config = ModuleType("config")
        numba.config.NUMBA_NUM_THREADS = 4
        monkeypatch.setitem(sys.modules, "numba", numba)
        assert "numba" not in {pool.name for pool in find_pools().pools}
        monkeypatch.setitem(sys.modules, "numba.np.ufunc.omppool", ModuleType("omppool"))
        (pool,) = [pool for pool in find_pools().pools if pool.name == "numba"]
        pool.resize(64)
        assert library.size() == 4  # more than it was launched with is an error in numba
