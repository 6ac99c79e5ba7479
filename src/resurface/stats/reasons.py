"""Why a number or its interval is missing: a code that JSON carries, and `report.reasons` puts into words."""

from __future__ import annotations

from enum import StrEnum

SEPARATOR = ": "


class Reason(StrEnum):
    """What stands in `reason` where a value, or its interval, is null."""

    LEFT_OUT = "left_out"
    """Not asked for."""
    NO_WINDOWS = "no_windows"
    NO_BASELINE_HITS = "no_baseline_hits"
    """Nothing is extracted of the base, so nothing can drop."""
    ONE_CLUSTER = "one_cluster"
    """All windows are of one near-duplicate group: nothing to resample."""
    ONE_SEED_AND_CLUSTER = "one_seed_and_cluster"
    ONE_ITEM = "one_item"
    NO_ITEMS = "no_items"
    NO_VARIANCE = "no_variance"
    """Nothing varies over what is resampled: an interval without width would claim certainty."""

    def about(self, detail: str) -> str:
        """The code with what it is about, `code: detail`: a name, or the message of an error."""
        return f"{self}{SEPARATOR}{detail}"
