"""What an interval shows of a change: decided by its ends alone, every interval by one member."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resurface.stats.estimate import Estimate
from resurface.stats.shown import Shown, shown, smallest

CASES = [
    (0.001, 0.5, Shown.IMPROVED),
    (-0.5, -0.011, Shown.LOST_MORE),
    (-0.009, 0.009, Shown.PRESERVED),
    (-0.009, -0.001, Shown.LOST_LESS),
    (-0.009, 0.02, Shown.NOT_LOST),
    (-0.02, -0.001, Shown.LOST),
    (-0.02, 0.001, Shown.OPEN),
    (-0.02, 0.5, Shown.OPEN),
]


@pytest.mark.parametrize(("low", "high", "said"), CASES)
def test_by_where_the_interval_lies(low, high, said):
    assert shown(Estimate((low + high) / 2, low, high), 0.01) is said


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0.001, 0.5))
def test_what_is_shown_holds_of_the_whole_interval(low, width, margin):
    high = low + width
    said = shown(Estimate(low, low, high), margin)
    assert (said is Shown.IMPROVED) == (low > 0)
    if said in (Shown.PRESERVED, Shown.LOST_LESS):
        assert -margin < low and high < margin
    if said is Shown.OPEN:
        assert low <= -margin and high >= 0


def test_without_an_interval_nothing_is_shown():
    with pytest.raises(ValueError, match="interval"):
        shown(Estimate(0.1, reason="one seed"), 0.01)
    with pytest.raises(ValueError, match="interval"):
        smallest(Estimate(0.1, reason="one seed"))
    assert smallest(Estimate(0.0, -0.01, 0.01)) == pytest.approx(0.01429, abs=1e-5)
