"""What comes back under relearning, budget by budget."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from resurface.memorization.results.drop import Count
from resurface.stats.estimate import Estimate
from resurface.stats.flat import FlatResult, Keys
from resurface.stats.result import Result


class Levels(Result):
    """One number of each model, or None where there is no such model or window."""

    base: float
    treated: float
    """Mean over treated models."""
    never: float | None
    """Of the model that never saw the texts."""
    floor: float | None
    """Of the treated models on windows that no model has seen."""


class RelearningPoint(FlatResult, Levels):
    """After so many steps; shares of windows that are extracted, held-back ones and (floor) non-members."""

    flat: ClassVar[dict[str, Keys]] = {"recovered": Keys("recovered")}
    left_out: ClassVar[tuple[str, ...]] = ("reason",)

    step: Count
    treated_each: tuple[float, ...]
    """`treated` of each model."""
    nll: Levels
    """Nats per token of the suffix."""
    trained: Count
    """Windows that were trained on by then."""
    learned: float | None
    """Share of these that a treated model extracts now, of those it did not before; None of none."""
    returned: float
    """Share of held-back windows that a treated model extracts now and did not before the first step."""
    recovered: Estimate
    """`returned`, minus what the never-saw model extracts or what returned of non-members."""
    together: Estimate
    """The same, with an interval at a level at which those of all budgets hold at once (Bonferroni)."""

    @model_validator(mode="before")
    @classmethod
    def _together(cls, found: Any) -> Any:
        if not isinstance(found, dict) or not isinstance(found.get("together"), dict):
            return found
        if "recovered" not in found:
            raise ValueError("recovered is missing")
        ends = found["together"] | {"recovered": found["recovered"], "reason": found.get("reason")}
        return found | {"together": Keys("recovered", level="level").read(ends)}

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        of = self.together
        ends = {"low": of.low, "high": of.high, "level": of.level}
        return super()._written(write) | {"together": ends}


class Genre(FlatResult):
    """What non-members cost models before any relearning, in nats per token of the suffix."""

    flat: ClassVar[dict[str, Keys]] = {"more": Keys("more")}

    windows: Count
    """Non-members."""
    clusters: Count
    """Clusters of documents that they are in."""
    base: float
    treated: float
    """Mean over treated models."""
    never: float
    """Of the never-saw model."""
    more: Estimate
    """never minus base, paired by window, for new clusters of documents."""
    margin: float = Field(ge=0)
    """Up to which `more` is taken for none."""
    matched: bool | None
    """Whether `more` lies within the margin; None where its interval leaves it open."""
    open_reason: str | None = None
    """Why `matched` is None."""

    @model_validator(mode="before")
    @classmethod
    def _open(cls, found: Any) -> Any:
        if not isinstance(found, dict) or isinstance(found.get("more"), Estimate):
            return found
        return found | {"open_reason": found.get("reason")}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.matched is None) != (self.open_reason is not None):
            raise ValueError("whether a genre is matched needs a value or a reason")
        return self

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found = super()._written(write)
        return found | {"reason": found.pop("open_reason")}


class Split(Result):
    """How many windows the attacker has, and are asked for."""

    given: Count = Field(validation_alias="T", serialization_alias="T")
    held_back: Count = Field(validation_alias="V", serialization_alias="V")
    floor: Count
    """That no model has seen."""
    v_sharing_ngram: Count
    """Held-back windows that share an n-gram with those that are given."""


class RelearningCurve(Result):
    """How much of what was gone comes back."""

    windows: Split
    clusters: Count
    """Of the held-back windows."""
    near_duplicates: Count
    """Held-back windows beyond the first of each group of near-duplicates."""
    gone: float = Field(ge=0, le=1)
    """Share of the held-back windows that treated models do not extract before the first step."""
    against: str | None
    """NEVER_SAW, NON_MEMBERS, or None: what `recovered` is beyond."""
    genre: Genre | None
    """Whether the never-saw model knows text of this kind as the base does."""
    genre_reason: str | None
    """Why there is no `genre`."""
    curve: tuple[RelearningPoint, ...] = Field(min_length=1)
    """By budget; the first is before any step."""
    config: dict[str, Any]
    """Settings of the attack."""

    @property
    def batch_size(self) -> int:
        """Windows that a step trains on."""
        return int(self.config["batch_size"])


NEVER_SAW = "never-saw model"
NON_MEMBERS = "floor"
