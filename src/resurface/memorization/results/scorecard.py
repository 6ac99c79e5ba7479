"""Every metric, before and after, of groups of windows."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import field_validator, model_serializer, model_validator

from resurface.memorization.results.drop import Count, Drop
from resurface.stats.estimate import Estimate
from resurface.stats.flat import FlatResult, Keys
from resurface.stats.result import Result


class Metric(StrEnum):
    """Which metric of a window; what stands in JSON is its label."""

    EXACT_MATCH = "exact_match"
    DISCOVERABLE_100 = "discoverable_100_0.5"
    DISCOVERABLE_10K = "discoverable_10000_0.5"
    DISCOVERABLE_1M = "discoverable_1000000_0.1"
    EXTRACTION_STRENGTH = "extraction_strength"
    LONGEST_RUN = "longest_run"
    """In tokens."""
    TOKEN_ACCURACY = "token_accuracy"
    NLL_PER_TOKEN = "nll_per_token"
    """In nats."""

    @property
    def label(self) -> str:
        return LABELS[self]


LABELS: Mapping[Metric, str] = {
    Metric.EXACT_MATCH: "exact match",
    Metric.DISCOVERABLE_100: "(100, 0.5)-discoverable",
    Metric.DISCOVERABLE_10K: "(10000, 0.5)-discoverable",
    Metric.DISCOVERABLE_1M: "(1000000, 0.1)-discoverable",
    Metric.EXTRACTION_STRENGTH: "extraction strength",
    Metric.LONGEST_RUN: "longest run, tokens",
    Metric.TOKEN_ACCURACY: "token accuracy",
    Metric.NLL_PER_TOKEN: "NLL, nats per token",
}
"""As `metric` stands in JSON."""
_OF_LABEL = {label: metric for metric, label in LABELS.items()}
HOLDS_TOGETHER = "primary_and_bonferroni"
"""Exact match is primary; intervals of all other metrics hold together."""


class Change(FlatResult):
    """A mean over windows, in the unit of what is averaged."""

    flat: ClassVar[dict[str, Keys]] = {"change": Keys("change", level="level")}

    before: float
    """Of the base."""
    after: float
    """Of the treated models, on average."""
    change: Estimate
    """Of after minus before; for new models and clusters of documents."""


class MetricChange(Change):
    """Of one metric."""

    metric: str
    """Its label."""

    @field_validator("metric")
    @classmethod
    def _known(cls, label: str) -> str:
        if label not in _OF_LABEL:
            raise ValueError(f"no metric is called {label!r}")
        return label

    @property
    def id(self) -> Metric:
        """Which metric it is."""
        return _OF_LABEL[self.metric]


class GroupScores(Result):
    """Every metric over one group of windows."""

    windows: Count
    documents: Count
    clusters: Count
    """Clusters of documents that the windows are in."""
    near_duplicates: Count
    """Windows beyond the first of each group of near-duplicates."""
    metrics: tuple[MetricChange, ...]

    def of(self, metric: Metric) -> MetricChange:
        """The change of one metric.

        Raises:
            LookupError: it was not measured.
        """
        for row in self.metrics:
            if row.id is metric:
                return row
        raise LookupError(metric)


class Groups(Result):
    """Groups of windows; None of no such window."""

    members: GroupScores | None
    """What may have been trained on."""
    extractable: GroupScores | None
    """Of these, what the base gives by exact match."""
    floor: GroupScores | None
    """What no model has seen."""


class Rate(FlatResult):
    """Share of windows that are extracted, over models."""

    flat: ClassVar[dict[str, Keys]] = {"rate": Keys("rate")}
    left_out: ClassVar[tuple[str, ...]] = ("reason",)

    rate: Estimate
    each: tuple[float, ...]
    """Of each model."""


class Rates(Result):
    """Of the base, and of the treated models."""

    before: Rate
    after: Rate


class Excess(FlatResult):
    """By which share members are extracted oftener than windows that no model has seen."""

    flat: ClassVar[dict[str, Keys]] = {"excess": Keys("excess")}
    left_out: ClassVar[tuple[str, ...]] = ("reason",)

    excess: Estimate


class Excesses(Result):
    """Of the base, and of the treated models."""

    before: Excess
    after: Excess


class SamplingPoint(FlatResult):
    """Share of windows expected among n samples of each."""

    flat: ClassVar[dict[str, Keys]] = {"change": Keys("change")}

    n: Count
    before: float
    """Of the base."""
    after: float
    """Of the treated models, on average."""
    change: Estimate


_COLUMNS = ("n", "before", "after", "change", "low", "high", "reason")


class SamplingCurve(Result):
    """By number of samples, at temperature 1; in JSON a list per column."""

    points: tuple[SamplingPoint, ...]
    after_each: tuple[tuple[float, ...], ...]
    """[models, points]: `after` of each model."""

    @model_validator(mode="before")
    @classmethod
    def _rows(cls, found: Any) -> Any:
        if not isinstance(found, dict) or "points" in found:
            return found
        if missing := [c for c in _COLUMNS if c not in found]:
            raise ValueError(f"{', '.join(missing)}: missing")
        rows = zip(*(found[c] for c in _COLUMNS), strict=True)
        points = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        return {"points": points, "after_each": found.get("after_each")}

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        if not self.points or any(len(each) != len(self.points) for each in self.after_each):
            raise ValueError("a sampling curve has one value a point of every model")
        return self

    @model_serializer(mode="plain")
    def _lists(self) -> dict[str, Any]:
        rows = [p.as_json() for p in self.points]
        found: dict[str, Any] = {c: [row[c] for row in rows] for c in _COLUMNS}
        return found | {"after_each": [list(each) for each in self.after_each]}


class Curves(Result):
    """Sampling curves of the groups that have windows."""

    left_out: ClassVar[tuple[str, ...]] = ("members", "floor")

    members: SamplingCurve | None = None
    floor: SamplingCurve | None = None


class Decoding(Result):
    """The last point of the sampling curve by one way of decoding; those of a group hold together."""

    temperature: float
    top_k: Count
    """Likeliest tokens that are sampled from; 0: all."""
    n: Count
    """Samples of each window."""
    members: Change | None
    """None of no such window; likewise `floor`."""
    floor: Change | None


class Scorecard(Result):
    """Treated models against their base, by every metric."""

    left_out: ClassVar[tuple[str, ...]] = ("floor_reason",)

    groups: Groups
    drop: Drop
    """Of exact match over members."""
    floor_rate: Rates | None
    """Of exact match, of non-members."""
    above_floor: Excesses | None
    curve: Curves
    decodings: tuple[Decoding, ...]
    """One per temperature that was kept, without and with top-k."""
    multiplicity: str
    """HOLDS_TOGETHER, or words in results that are older than it."""
    floor_reason: str | None = None
    """Why there are no non-members."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.floor_rate is None and self.floor_reason is None:
            raise ValueError("missing non-members need a reason")
        return self
