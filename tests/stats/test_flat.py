"""`stats.flat`: estimates that lie flat in JSON; and what estimates say of their ends."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from resurface.stats.estimate import Estimate
from resurface.stats.flat import FlatResult, Keys
from resurface.stats.reasons import Reason, listed

NUMBER = st.floats(-1e6, 1e6)


class Two(FlatResult):
    flat: ClassVar[dict[str, Keys]] = {
        "x": Keys("value", level="level"),
        "y": Keys("y", "y_low", "y_high", "y_reason", widen=True),
    }
    left_out: ClassVar[tuple[str, ...]] = ("y_reason",)
    older: ClassVar[tuple[str, ...]] = ("new",)

    x: Estimate
    y: Estimate
    new: int | None = None


class Three(Two):
    name: str


WRITTEN = {
    "value": 0.5,
    "low": 0.4,
    "high": 0.6,
    "reason": None,
    "level": 0.99,
    "y": 1.0,
    "y_low": 0.0,
    "y_high": 2.0,
}


def test_estimates_are_folded_and_laid_flat_again() -> None:
    found = Two.from_json(WRITTEN)
    assert found.x == Estimate(0.5, 0.4, 0.6, 0.99) and found.y == Estimate(1.0, 0.0, 2.0)
    assert found.as_json() == WRITTEN
    assert Two(x=found.x, y=found.y) == found
    none = WRITTEN | {"y": None, "y_low": None, "y_high": None, "y_reason": Reason.NO_ITEMS}
    assert Two.from_json(none).y == Estimate.missing(Reason.NO_ITEMS)
    assert Two.from_json(none).as_json() == none


def test_a_key_that_older_results_lack_is_written_where_it_was_known() -> None:
    assert "new" not in Two.from_json(WRITTEN).as_json()
    for new in (None, 3):
        assert Two.from_json(WRITTEN | {"new": new}).as_json() == WRITTEN | {"new": new}
    wider = Two.from_json(WRITTEN).extended(Three, name="a")
    assert wider.as_json() == WRITTEN | {"name": "a"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"low": 0.55}, "inside its interval"),
        ({"low": None}, "two ends"),
        ({"low": None, "high": None}, "needs a reason"),
        ({"value": "much"}, "value is not a number"),
    ],
)
def test_what_is_no_estimate_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Two.from_json(WRITTEN | change)
    with pytest.raises(ValidationError, match="y_low is missing"):
        Two.from_json({k: v for k, v in WRITTEN.items() if k != "y_low"})


@given(NUMBER, NUMBER, NUMBER)
def test_an_interval_is_widened_to_hold_its_value(value: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    found = Estimate.holding(value, low, high, level=0.9)
    assert found.low == min(low, value) and found.high == max(high, value) and found.level == 0.9
    assert found.above(0) == (found.low > 0)
    read = Two.from_json(WRITTEN | {"y": value, "y_low": low, "y_high": high})
    assert (read.y.low, read.y.high) == (found.low, found.high)


def test_without_an_interval_nothing_is_above() -> None:
    assert not Estimate(3.0, reason=Reason.ONE_ITEM).above(0)


def test_codes_in_one_string_are_no_sentence() -> None:
    both = (Reason.FEW_HITS.about("30", "60"), Reason.THESE_WINDOWS_ALONE)
    assert listed("; ".join(both)) == both
    assert listed("few; as it was said") == ("few; as it was said",) and listed(None) == ()
