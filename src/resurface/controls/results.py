"""How much extraction an arm removes within a margin of capability, as types (`controls.frontier`)."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from resurface.stats.estimate import Estimate
from resurface.stats.flat import FlatResult, Keys
from resurface.stats.result import Result

_REACH = {"reach": Keys("reach", widen=True)}
_DIFFERENCE = Keys("difference", "difference_low", "difference_high", "difference_reason", widen=True)


LEVEL = 0.05
"""Of p after Holm, over all arms and margins."""


class Standing(StrEnum):
    """What is shown of self-training against an arm; needs the interval and Holm's p."""

    MORE = "removes more"
    LESS = "removes less"
    APART = "not distinguishable"
    UNKNOWN = "no interval"


class LargestDrop(FlatResult):
    """The largest drop of extraction within a margin of capability."""

    flat: ClassVar[dict[str, Keys]] = _REACH
    left_out: ClassVar[tuple[str, ...]] = ("reason",)

    reach: Estimate
    """Relative drop, 1 of everything; interval for new seeds, items and clusters of documents."""


class ArmDrop(LargestDrop):
    """The same of a control arm, beside self-training."""

    flat: ClassVar[dict[str, Keys]] = _REACH | {"difference": _DIFFERENCE}
    left_out: ClassVar[tuple[str, ...]] = ("reason", "difference_reason")

    difference: Estimate
    """Self-training minus this arm, in the unit of `reach`."""
    p: float | None = Field(ge=0, le=1)
    """Of a difference of 0 or less, one-sided; None where there is no interval."""
    p_holm: float | None = Field(default=None, ge=0, le=1)
    """Two-sided, adjusted over all arms and margins that have a p."""

    def standing(self, *, enough: bool) -> Standing:
        """Of self-training against this arm. enough: whether so much was extracted before that a difference
        could be shown."""
        if not self.difference.known:
            return Standing.UNKNOWN
        below = self.p_holm is not None and self.p_holm < LEVEL
        if not enough or not below or not self.difference.excludes(0):
            return Standing.APART
        return Standing.MORE if self.difference.above(0) else Standing.LESS


class AtMargin(Result):
    """Self-training and every arm at one margin."""

    margin: float = Field(ge=0)
    """Points of capability that may be lost."""
    own: LargestDrop = Field(validation_alias="self", serialization_alias="self")
    """Of self-training."""
    arms: dict[str, ArmDrop]
    """Name -> that of each other arm."""
