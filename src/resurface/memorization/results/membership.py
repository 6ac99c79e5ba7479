"""Membership inference: how well attacks distinguish members from non-members."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from resurface.memorization.results.drop import Count
from resurface.stats.estimate import Estimate
from resurface.stats.flat import FlatResult, Keys
from resurface.stats.reasons import AND
from resurface.stats.result import Result


class Warned(StrEnum):
    """By what a treated model is worse as a model: a low AUC of a broken one is no privacy."""

    NLL_ROSE = "nll_rose"
    """Text that was never trained on costs more than the margin of `Utility`."""
    CAPABILITY_FELL = "capability_fell"
    """By more than the margin of `Capability`."""


class Area(FlatResult):
    """A change of the AUC, after minus before."""

    flat: ClassVar[dict[str, Keys]] = {"auc": Keys("auc", widen=True)}

    auc: Estimate


class Roc(Area):
    """How well one attack distinguishes members from non-members."""

    flat: ClassVar[dict[str, Keys]] = {
        "auc": Keys("auc", widen=True),
        "tpr": Keys("tpr", "tpr_low", "tpr_high", "tpr_reason", widen=True),
    }

    tpr: Estimate
    """Largest true positive rate at a false positive rate of `Membership.fpr` at most."""
    note: str | None
    """What is to be said of the AUC: a code, or a sentence in results that are older than these."""


class AttackRow(Result):
    """One attack, before and after treatment."""

    attack: str
    """See `membership_scores.ATTACKS`."""
    before: Roc
    after: Roc | None
    """None where there is no treated model; likewise `change`."""
    change: Area | None


class Utility(FlatResult):
    """What non-members cost, in nats per token."""

    flat: ClassVar[dict[str, Keys]] = {"rise": Keys("rise")}

    nll_before: float
    nll_after: float
    rise: Estimate
    """After minus before, for new documents."""
    margin: float
    """Rise above which the model is taken to be worse."""


class Capability(FlatResult):
    """What the run that made the model measured of its capability."""

    flat: ClassVar[dict[str, Keys]] = {"change": Keys("change")}

    change: Estimate
    """In points, 1.0 being a hundredth of accuracy."""
    margin: float
    """Fall in points above which the model is taken to be worse."""


def _read(found: Any) -> Any:
    if not isinstance(found, str):
        return () if found is None else found
    parts = tuple(found.split(AND))
    return parts if set(parts) <= set(Warned) else (found,)


def _joined(codes: tuple[str, ...]) -> str | None:
    return AND.join(codes) or None


class Membership(Result):
    """Every attack on a model before and, where there is one, after treatment."""

    left_out: ClassVar[tuple[str, ...]] = ("capability",)

    members: Count
    """Windows; likewise `non_members`."""
    non_members: Count
    member_documents: Count
    """Documents, near-duplicates together; likewise `non_member_documents`."""
    non_member_documents: Count
    smallest_fpr: float
    """Above 0 that so many non-members resolve."""
    fpr: float = Field(gt=0, le=1)
    """At which TPRs are."""
    k: float = Field(gt=0, le=1)
    """Share of tokens of min-k%."""
    draws: Count
    """Resamples of the intervals."""
    seed: int
    rows: tuple[AttackRow, ...]
    utility: Utility | None
    """None where there is no treated model."""
    capability: Capability | None = None
    """None where no run with control arms was given, and in results that are older than it."""
    warnings: Annotated[
        tuple[str, ...], BeforeValidator(_read), PlainSerializer(_joined, return_type=str | None)
    ] = Field(default=(), validation_alias="warning", serialization_alias="warning")
    """Members of `Warned`, or a sentence in results that are older than these."""

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        if Warned.CAPABILITY_FELL in self.warnings and self.capability is None:
            raise ValueError("a warning of capability is of one that is known")
        if Warned.NLL_ROSE in self.warnings and self.utility is None:
            raise ValueError("a warning of what non-members cost is of what they cost")
        return self

    def of(self, attack: str) -> AttackRow:
        """The row of one attack.

        Raises:
            LookupError: it was not tried.
        """
        for row in self.rows:
            if row.attack == attack:
                return row
        raise LookupError(attack)
