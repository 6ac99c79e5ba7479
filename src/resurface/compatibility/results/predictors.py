"""Proxies and predictors of the gain, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, model_validator

from resurface.stats.estimate import Estimate
from resurface.stats.result import Result


class Correlations(Result):
    """Spearman's correlation with the gain over sources, within each student."""

    left_out: ClassVar[tuple[str, ...]] = ("reason",)

    mean: float | None
    """Over the students that have one."""
    students: dict[str, float | None]
    reason: str | None = None
    """Why there is no mean."""


LEVEL = 0.05
"""p after Holm up to which something counts as shown."""


class ProxyCorrelation(Correlations):
    """How a proxy ranks sources, with its two-sided p of relabelling them."""

    left_out: ClassVar[tuple[str, ...]] = ("reason", "p_holm")

    sources: int
    """That have the proxy for every student."""
    p: float | None = None
    smallest_p: float | None = None
    permutations: int = 0
    exact: bool | None = None
    off_diagonal: Correlations
    """Without a student's own text."""
    p_holm: float | None = None

    @property
    def shown(self) -> bool:
        """Whether it is shown to rank sources, either way round."""
        return self.p_holm is not None and self.p_holm <= LEVEL


class Proxies(Result):
    """Intrinsic scores of one source's text for one student; what was not measured is None."""

    model_config = ConfigDict(extra="allow")  # one key per proxy

    source: str
    student: str

    @property
    def values(self) -> dict[str, float | None]:
        """Proxy -> value: nats of the student per token or byte, or a cosine."""
        return dict(self.__pydantic_extra__ or {})

    @classmethod
    def of(cls, source: str, student: str, values: Mapping[str, float | None]) -> Self:
        return cls.from_json({"source": source, "student": student, **values})


class PredictorValue(Result):
    """What a predictor says of one source's text for one student."""

    source: str
    student: str
    predictor: str
    value: float | None
    """In the predictor's own units; more is not always better: see its sign."""
    error: float | None
    """Standard error; None where none is defined."""
    student_passes: float | None
    """Cost: forward passes of the student over the scored documents."""
    source_passes: float | None
    reason: str | None
    """Why there is no value."""


@dataclass(frozen=True)
class Tested(Estimate):
    """An agreement of a predictor with the gains, with its one-sided p of relabelling the sources."""

    left_out: ClassVar[tuple[str, ...]] = ("p_holm",)

    p: float | None = None
    smallest_p: float | None = None
    p_holm: float | None = None


class CrossValidated(Result):
    """Predictions of pairs from pairs that share no model, or no family with them; None and a reason."""

    pairs: int = 0
    """That could be predicted."""
    rmse: float | None = None
    """Share of the score: root mean squared error."""
    rmse_mean: float | None = None
    """The same of the other pairs' mean gain alone."""
    coverage: float | None = None
    """Share of 95% intervals that hold the gain."""
    brier: float | None = None
    """Brier score of P(gain > 0)."""
    brier_mean: float | None = None
    """The same of the other pairs' share of gains above 0."""
    reason: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_value(cls, found: Any) -> Any:
        """An older result wrote what could not be predicted as a missing estimate."""
        return (
            {k: v for k, v in found.items() if k not in ("value", "low", "high")}
            if isinstance(found, dict)
            else found
        )


class Beats(Result):
    """By how much a predictor beats a baseline, where both have values."""

    rank: Estimate
    """Difference of the rank correlations within students."""
    error: Estimate
    """Difference of the cross-validated squared errors; above 0 is better."""


class PredictorRow(Result):
    """How good a predictor is, on the largest block of the matrix where it has all values."""

    left_out: ClassVar[tuple[str, ...]] = ("student_passes", "source_passes")

    student_passes: float | None = None
    """Mean cost of a pair; None where no pair has a value."""
    source_passes: float | None = None
    sources: int
    """Of its block."""
    students: int
    within_student: Tested
    """Mean over students of Spearman's correlation with the gain over sources."""
    interaction: Tested
    """Correlation of what source and student means leave of values and of gains."""
    off_diagonal: Estimate
    """As `within_student`, without a student's own text."""
    off_diagonal_interaction: Estimate
    """As `interaction`, without a student's own text."""
    partial: Tested
    """As `within_student`, of what the lineage label leaves of the ranks."""
    regret: Estimate
    """Share of the score that is lost by the source that it likes best."""
    calibration: CrossValidated
    """Fitted on pairs that share no model with the one that is predicted."""
    families_out: CrossValidated
    """On pairs that share no family."""
    beats: dict[str, Beats] = {}
    """Naive baseline -> comparison with it."""


class Ceiling(Result):
    """What a perfect predictor of these noisy gains can reach; None with one subset, or where it is not
    above 0."""

    within_student: float | None
    interaction: float | None


class RandomChoice(Result):
    """What any predictor is compared with."""

    regret: Estimate
    """Share of the score that a source taken at random loses."""


class Selected(Result):
    """The predictor that ranks best, and what that choice is worth on students it was not made on."""

    name: str | None
    held_out: float | None = None
    """Mean rank correlation for a student, of the predictor that was chosen on the others."""
    regret: float | None = None
    """Share of the score that this loses; None with one subset."""
    chosen: tuple[str, ...] = ()
    """What was chosen without each student in turn."""
    reason: str | None = None
    """Why none is selected."""


@dataclass(frozen=True)
class Beating:
    """Predictors against all naive baselines at once."""

    baselines: tuple[str, ...]
    shown: tuple[str, ...]
    """Whose intervals all lie above 0."""
    above: tuple[str, ...]
    """Whose differences do."""


class Evaluation(Result):
    """Predictors against the gains of a study."""

    predictors: dict[str, PredictorRow]
    random: RandomChoice
    ceiling: Ceiling
    holm: int = 0
    """How many p values were adjusted together."""
    selected: Selected

    def better_than_chance(self, test: str) -> list[str] | None:
        """Predictors that are shown to be, by a test of `PredictorRow`; None where none has a p."""
        adjusted = {name: getattr(row, test).p_holm for name, row in self.predictors.items()}
        tested = {name: p for name, p in adjusted.items() if p is not None}
        return [name for name, p in tested.items() if p <= LEVEL] if tested else None

    def beating(self, measure: str) -> Beating | None:
        """Who beats every naive baseline by a measure of `Beats`; None where nobody is compared with them."""
        compared = {name: row.beats for name, row in self.predictors.items() if len(row.beats) > 1}
        if not compared:
            return None
        by_base = {name: [getattr(x, measure) for x in of.values()] for name, of in compared.items()}
        return Beating(
            baselines=tuple(next(iter(compared.values()))),
            shown=tuple(name for name, of in by_base.items() if all(e.above(0) for e in of)),
            above=tuple(name for name, of in by_base.items() if all((e.value or 0) > 0 for e in of)),
        )
