"""How many windows are extracted before and after, and the relative drop over replicates of a treatment."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from resurface.stats.estimate import Estimate
from resurface.stats.exact import none_left
from resurface.stats.flat import FlatResult, Keys
from resurface.stats.result import Result

Count = Annotated[int, Field(ge=0)]


class Hits(Result):
    """Windows that no model was trained on, and how many of them are extracted all the same."""

    windows: Count
    before: Count
    """Extracted of the base."""
    after: float = Field(ge=0)
    """Likewise of the treated models, on average."""


class Drop(FlatResult):
    """Relative drop of extraction, R = 1 - after/before, over treated models (seeds)."""

    flat: ClassVar[dict[str, Keys]] = {"relative": Keys("relative_drop")}
    left_out: ClassVar[tuple[str, ...]] = ("reason",)
    older: ClassVar[tuple[str, ...]] = ("clusters", "near_duplicates", "effective_before", "clusters_before")

    windows: Count
    clusters: Count | None = None
    """Clusters of documents that the windows are in; None in results that are older than it."""
    near_duplicates: Count | None = None
    """Windows beyond the first of each group of near-duplicates; None in results that are older than it."""
    before: Count | None
    """Windows extracted of the base; None where none could be asked for."""
    effective_before: float | None = None
    """Independent ones among these; None in results that are older than it."""
    clusters_before: float | None = None
    """The same if all windows of a cluster of documents said one thing; None likewise."""
    after: float | None
    """Windows extracted of a treated model, on average; None where none could be asked for."""
    after_each: tuple[int, ...] | None
    """The same of each model."""
    relative: Estimate
    """R, as a share; 1 where nothing is left. For new seeds and new clusters of documents."""

    @property
    def largest_shown(self) -> float | None:
        """The largest R that so many baseline hits can show, if clusters of documents say one thing each
        (one-sided, 95%); None of no hits, and in results that are older than `clusters_before`."""
        return 1 - none_left(self.clusters_before) if self.clusters_before else None


class StratumDrop(Drop):
    """Of the windows of one stratum."""

    stratum: str


class KindDrop(Drop):
    """Of the windows of one kind of text."""

    kind: str
    """See `memorization.text_kinds`."""


class ReplicateDrops(FlatResult):
    """Drops over replicates of a treatment: of all windows, and of parts of them."""

    older: ClassVar[tuple[str, ...]] = ("kinds",)

    all: Drop
    """Of windows that may have been trained on; likewise `held_out` and `kinds`."""
    held_out: Drop | None
    """Of those that share no n-gram with the synthetic corpus of any seed; None where there is none."""
    strata: tuple[StratumDrop, ...]
    kinds: tuple[KindDrop, ...] | None = None
    """None of an extraction without text kinds."""
    non_members: Hits | None
    """None where there are none."""
