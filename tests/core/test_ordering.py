"""In which order finished items leave."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parallelcfg.core.ordering import AsFinished, InOrder

arrivals = st.integers(0, 30).flatmap(lambda count: st.permutations(range(count)))


@given(arrivals)
def test_in_order_items_leave_by_number_as_soon_as_none_is_missing_before_them(order):
    release: InOrder[int] = InOrder()
    left: list[int] = []
    for arrived, number in enumerate(order, start=1):
        left += release.put(number, number)
        here = set(order[:arrived])
        missing = next(n for n in range(len(order) + 1) if n not in here)
        assert left == list(range(missing))
        assert len(release) == arrived - missing


@given(arrivals)
def test_as_finished_items_leave_as_they_come(order):
    release: AsFinished[int] = AsFinished()
    assert [list(release.put(number, number)) for number in order] == [[number] for number in order]
    assert len(release) == 0
