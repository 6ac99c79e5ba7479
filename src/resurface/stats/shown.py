"""What an interval shows of a change, at a margin that was set before."""

from __future__ import annotations

from enum import StrEnum

from resurface.stats.estimate import Estimate

_POWER = (1.959964 + 0.841621) / 1.959964
"""From the half-width of a 95% interval to the change that is seen with 80% power."""


class Shown(StrEnum):
    """By where the whole interval lies."""

    IMPROVED = "improved"
    """Above 0."""
    LOST_MORE = "lost more than the margin"
    """Below minus the margin."""
    PRESERVED = "preserved"
    """Within the margin, 0 in it."""
    LOST_LESS = "lost less than the margin"
    """Within the margin and below 0."""
    NOT_LOST = "no loss of the margin"
    """Above minus the margin; more than the margin may have been gained."""
    LOST = "lost"
    """Below 0, more or less than the margin."""
    OPEN = "open"
    """Neither a loss of the margin nor its absence."""


def shown(change: Estimate, margin: float) -> Shown:
    """What a 95% interval shows; margin: in the unit of the change.

    Raises:
        ValueError: an estimate without an interval.
    """
    low, high = change.low, change.high
    if low is None or high is None:
        raise ValueError("nothing is shown without an interval")
    if low > 0:
        return Shown.IMPROVED
    if high < -margin:
        return Shown.LOST_MORE
    if low > -margin and high < margin:
        return Shown.LOST_LESS if high < 0 else Shown.PRESERVED
    if low > -margin:
        return Shown.NOT_LOST
    return Shown.LOST if high < 0 else Shown.OPEN


def smallest(change: Estimate) -> float:
    """The change that an interval of this width would have shown with 80% power, in its unit.

    Raises:
        ValueError: an estimate without an interval.
    """
    if change.low is None or change.high is None:
        raise ValueError("there is no width without an interval")
    return (change.high - change.low) / 2 * _POWER
