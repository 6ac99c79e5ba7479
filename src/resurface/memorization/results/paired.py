"""One treated model against its base, window by window."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from resurface.memorization.results.drop import Count, Hits
from resurface.stats.estimate import Estimate
from resurface.stats.flat import FlatResult, Keys
from resurface.stats.reasons import AND, listed
from resurface.stats.result import Result


def _codes(found: Any) -> Any:
    return listed(found) if found is None or isinstance(found, str) else found


def _joined(codes: tuple[str, ...]) -> str | None:
    return AND.join(codes) or None


Codes = Annotated[tuple[str, ...], BeforeValidator(_codes), PlainSerializer(_joined, return_type=str | None)]
"""Codes that stand in one string of JSON, null where there is none."""


class Pairs(Result):
    """Windows, counted by whether base and treated model extract them."""

    windows: Count
    before: Count
    """Extracted of the base."""
    after: Count
    """Of the treated model."""
    retained: Count
    """Of both."""
    new: Count
    """Of the treated model alone."""


class DocumentPairs(Pairs):
    """Of one document."""

    doc_id: str


class PairedDrop(FlatResult, Pairs):
    """Relative drop R = 1 - after/before of one treated model, with exact intervals."""

    flat: ClassVar[dict[str, Keys]] = {
        "relative": Keys("relative_drop"),
        "kept": Keys("retained_share", "retained_low", "retained_high"),
    }
    left_out: ClassVar[tuple[str, ...]] = ("reason",)
    older: ClassVar[tuple[str, ...]] = ("effective_before",)

    effective_before: float | None = None
    """Baseline hits as far as they are independent; None in results that are older than it."""
    relative: Estimate
    """R, as a share."""
    kept: Estimate
    """Retained of the baseline hits, as a share (Clopper and Pearson's interval)."""
    minimum: Count
    """Baseline hits that it takes to claim a drop of 95%."""
    none_left_upper: float | None
    """95% upper bound on the share that remains if not one hit were left; None of no baseline hits."""
    notes: Codes = Field(default=(), validation_alias="note", serialization_alias="note")
    """What is to be said of it besides: codes, or a sentence in results that are older than these."""


class StratumPairedDrop(PairedDrop):
    """Of the windows of one stratum."""

    stratum: str


class KindPairedDrop(PairedDrop):
    """Of the windows of one kind of text."""

    kind: str
    """See `memorization.text_kinds`."""


class TokenAccuracy(FlatResult):
    """Mean share of suffix tokens that are the greedy choice."""

    flat: ClassVar[dict[str, Keys]] = {"change": Keys("change")}
    left_out: ClassVar[tuple[str, ...]] = ("reason", "change")

    before: float | None
    """None where an older result had no windows; likewise `after`."""
    after: float | None
    change: Estimate
    """Of the share; for new clusters of documents."""

    @model_validator(mode="before")
    @classmethod
    def _without_windows(cls, found: Any) -> Any:
        """An older result that had none has no change either."""
        if isinstance(found, dict) and "before" in found and found["before"] is None:
            return {"change": None} | found
        return found


class PairedComparison(PairedDrop):
    """Two extractions of the same windows; itself the drop over all windows that may have been trained on."""

    left_out: ClassVar[tuple[str, ...]] = ("reason", "held_out_reason")
    older: ClassVar[tuple[str, ...]] = (
        "effective_before",
        "clusters",
        "near_duplicates",
        "non_members",
        "kinds",
    )

    clusters: Count | None = None
    """Clusters of documents that the windows are in; None in results that are older than it."""
    near_duplicates: Count | None = None
    """Windows beyond the first of each group of near-duplicates; None in results that are older than it."""
    non_members: Hits | None = None
    """None where there are none."""
    documents: tuple[DocumentPairs, ...]
    """Of every document, non-members included; likewise `strata`."""
    strata: tuple[StratumPairedDrop, ...]
    kinds: tuple[KindPairedDrop, ...] | None = None
    """None of extractions that do not tell kinds of text."""
    token_accuracy: TokenAccuracy
    held_out: PairedDrop | None
    """Of windows that share no n-gram with the synthetic corpus."""
    held_out_reason: str | None = None
    """Why there is no `held_out`."""
