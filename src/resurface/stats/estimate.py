"""A number with its uncertainty, in the one form that results have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Estimate:
    """A value and its interval, or neither and the reason why.

    A value may lack an interval (one document, one seed); then `reason` says why as well.

    Raises:
        ValueError: what is missing has no reason, half an interval is given, a number is not finite, or the
            value lies outside the interval.
    """

    value: float | None
    """In the unit that the field says which holds this."""
    low: float | None = None
    """Lower end of the interval, in the unit of `value`."""
    high: float | None = None
    """Upper end."""
    level: float = 0.95
    """Coverage that the interval is made for."""
    reason: str | None = None
    """Why value or interval are missing; None where both are there."""

    def __post_init__(self) -> None:
        numbers = [x for x in (self.value, self.low, self.high) if x is not None]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"an estimate must be finite: {self}")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"an interval has two ends: {self}")
        if (self.value is None or self.low is None) and not self.reason:
            raise ValueError("what is missing needs a reason")
        if self.value is None and self.low is not None:
            raise ValueError(f"an interval is of a value: {self}")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:  # type: ignore[operator]
            raise ValueError(f"the value must lie inside its interval: {self}")

    @classmethod
    def missing(cls, reason: str) -> Self:
        """No number, for this reason."""
        return cls(None, reason=reason)

    @classmethod
    def holding(cls, value: float, low: float, high: float, *, level: float = 0.95) -> Self:
        """With an interval that is widened to hold its value: ends that equal it may differ by rounding, and
        percentiles of resamples may miss it."""
        return cls(value, min(low, value), max(high, value), level)

    @property
    def known(self) -> bool:
        """Whether there is an interval to rest a sentence on."""
        return self.low is not None

    def above(self, bound: float) -> bool:
        """Whether the whole interval lies above `bound`; False where there is none."""
        return self.low is not None and self.low > bound

    def excludes(self, bound: float) -> bool:
        """Whether the whole interval lies on one side of `bound`; False where there is none."""
        return self.low is not None and self.high is not None and not self.low <= bound <= self.high
