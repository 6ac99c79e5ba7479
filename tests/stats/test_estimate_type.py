"""`stats.Estimate`: nothing is missing without a reason."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resurface.stats.estimate import Estimate

NUMBER = st.floats(-1e6, 1e6)


@given(st.lists(NUMBER, min_size=3, max_size=3), NUMBER)
def test_an_interval_excludes_what_lies_outside(ends, bound):
    low, value, high = sorted(ends)
    e = Estimate(value, low, high)
    assert e.known and e.reason is None
    assert e.excludes(bound) == (bound < low or bound > high)


def test_what_is_missing_has_a_reason():
    assert Estimate.missing("one seed").value is None
    assert not Estimate(0.5, reason="one document").known
    assert not Estimate(0.5, reason="one document").excludes(0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(value=None),
        dict(value=0.5),
        dict(value=0.5, low=0.1, reason="half"),
        dict(value=math.nan, low=0.0, high=1.0),
        dict(value=2.0, low=0.0, high=1.0),
        dict(value=None, low=0.0, high=1.0, reason="no value"),
        dict(value=None, reason=""),
    ],
)
def test_half_an_estimate_is_refused(wrong):
    with pytest.raises(ValueError):
        Estimate(**wrong)
