"""How much of the gains belongs to the pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import (
    Field,
)

from resurface.stats.estimate import Estimate
from resurface.stats.result import Result


class MeanSquare(Result):
    """Of one source of variation."""

    ms: float
    """Squared share of the score."""
    df: int
    """Degrees of freedom."""


class MeanSquares(Result):
    """Of the nested design, by what varies."""

    source: MeanSquare
    student: MeanSquare
    interaction: MeanSquare
    subset: MeanSquare
    residual: MeanSquare


class Variances(Result):
    """Components as squared shares of the score; an estimate may be below 0."""

    source: float
    interaction: float
    subset: float
    residual: float


@dataclass(frozen=True)
class Share(Estimate):
    """Of what sources differ by, the part that depends on the student; between 0 and 1."""

    left_out: ClassVar[tuple[str, ...]] = ("reason",)


class Headroom(Result):
    """Whether the interaction is no more than headroom (Tukey 1949)."""

    left_out: ClassVar[tuple[str, ...]] = ("reason", "p_holm", "beyond_p_holm")

    slope: float | None = Field(default=None, validation_alias="lambda", serialization_alias="lambda")
    """Interaction per product of both effects, one over the share of a score."""
    p: float | None
    """Of the slope being 0."""
    beyond_p: float | None
    """Of no interaction besides it."""
    reason: str | None = None
    """Why there is none of this."""
    p_holm: float | None = None
    beyond_p_holm: float | None = None


class Crossing(Result):
    """`better` is better than `worse` for `student`, and worse than it for `other`, both shown."""

    better: str
    worse: str
    student: str
    other: str


class Crossings(Result):
    """Sources whose order depends on the student."""

    pairs: tuple[Crossing, ...]
    """Pairs of sources whose order is shown to cross, with an example each, the widest."""
    of: int
    """How many pairs there are."""


class FamilyPart(Result):
    """The interaction between families of models, or within them."""

    left_out: ClassVar[tuple[str, ...]] = ("p_holm",)

    ms: float | None
    """Squared share of the score; None where df is 0."""
    df: int
    """Degrees of freedom; 0 where the families leave none."""
    f: float | None
    """Against the residual."""
    p: float | None
    share: Share
    """Of what sources differ by."""
    p_holm: float | None = None
    """Adjusted over `Findings.holm` tests."""


class Families(Result):
    """The interaction, split by families of models."""

    between: FamilyPart
    within: FamilyPart


class Decomposition(Result):
    """Variance of the gains by source, student, pair and subset."""

    left_out: ClassVar[tuple[str, ...]] = ("families", "p_holm")

    mean_squares: MeanSquares
    f: float | None
    """Of the interaction against the residual; None where nothing varies."""
    p: float | None
    variances: Variances
    share: Share
    headroom: Headroom
    crossings: Crossings
    families: Families | None = None
    """None where f is."""
    p_holm: float | None = None


class Undecomposed(Result):
    """No decomposition, and why."""

    f: None = None
    reason: str
