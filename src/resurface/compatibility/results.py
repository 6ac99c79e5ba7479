"""What a study finds, as types; field by field the format of matrix.json.

`Result.as_json` and `Result.from_json` are the one place where they become JSON and come back. A gain is a
share of the score, so that 0.01 is a point; intervals are of 95%.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from resurface.stats.estimate import Estimate


class Result(BaseModel):
    """A frozen part of a result."""

    model_config = ConfigDict(
        frozen=True, populate_by_name=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    left_out: ClassVar[tuple[str, ...]] = ()
    """Keys that are not written where they are None: what does not apply, other than what is not known."""

    def as_json(self) -> dict[str, Any]:
        """As it is written to disk."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """As it was read from disk.

        Raises:
            pydantic.ValidationError: a key is missing, or a value is of another kind.
        """
        return cls.model_validate(found)

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found = write(self)
        found |= {name: written(value) for name, value in self if isinstance(value, Estimate)}
        return {k: v for k, v in found.items() if v is not None or k not in self.left_out}


def written(estimate: Estimate) -> dict[str, Any]:
    """As it is written to disk. All intervals of a study have one level, which is not."""
    found = {f.name: getattr(estimate, f.name) for f in fields(estimate) if f.name != "level"}
    left_out = getattr(estimate, "left_out", ())
    return {k: v for k, v in found.items() if v is not None or k not in left_out}


# ------------------------------------------------------------------------------ gains


class PairGain(Result):
    """The gain of one source's text for one student."""

    left_out: ClassVar[tuple[str, ...]] = ("reason", "subsets")

    source: str
    student: str
    relation: str
    """self, kin, other, or unknown, which is neither kin nor other."""
    gain: Estimate
    """Share of the score, over items and subsets."""
    subsets: tuple[float, ...] | None = None
    """Share of the score on each subset of the source; None where it was not kept."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, found: Any) -> Any:
        if not isinstance(found, dict) or isinstance(found.get("gain"), Estimate):
            return found
        gain = Estimate(found["gain"], found["low"], found["high"], reason=found.get("reason"))
        return found | {"gain": gain}

    @model_serializer(mode="plain")
    def _flat(self) -> dict[str, Any]:
        found: dict[str, Any] = {"source": self.source, "student": self.student, "relation": self.relation}
        found |= {"gain": self.gain.value, "low": self.gain.low, "high": self.gain.high}
        found |= {"reason": self.gain.reason, "subsets": self.subsets and list(self.subsets)}
        return {k: v for k, v in found.items() if v is not None or k not in self.left_out}


@dataclass(frozen=True)
class RunSd(Estimate):
    """Standard deviation of a gain between training seeds, as a share of the score."""

    df: int = 0
    """Degrees of freedom."""


# ------------------------------------------------------------------------------ contrasts


@dataclass(frozen=True)
class ContrastEstimate(Estimate):
    """A difference of gains between two relations, as a share of the score."""

    n: int | None = None
    """How many students or sources it is over; None where it is over runs."""


class Identification(Result):
    """Can a design tell a contrast from the effects of sources, students and single pairs?"""

    identified: bool
    cells: dict[str, int]
    """Relation -> its pairs, of the two that are compared; the nearer one first."""
    students: int
    """Students that have pairs of both relations."""
    sources: int
    """Sources that have pairs of both relations."""
    rests_on: tuple[str, ...] = ()
    """What it cannot do without: pairs of models, `a <-> b`, whose affinity would pass for the contrast."""
    reason: str | None = None
    """Why it is not identified."""


class Identified(Identification):
    """As `Identification`, with its name and what would help."""

    name: str
    remedy: str | None = None
    """What models it takes, where it is not identified."""


class Contrast(Identified):
    """One contrast of relations: its estimates, and its permutation test where it is identified."""

    left_out: ClassVar[tuple[str, ...]] = ("not_tested", "p_holm")

    within_students: ContrastEstimate
    """Mean over students of the difference of mean gains; effects of sources are left in."""
    within_sources: ContrastEstimate
    """Likewise over sources; effects of students are left in."""
    adjusted: ContrastEstimate
    """With effects of sources and students removed; interval over students (jackknife)."""
    over_runs: ContrastEstimate
    """The same with an interval for new subsets and runs of these very models."""
    p: float | None = None
    """One-sided, of relabelling models; None where it was not tested."""
    smallest_p: float | None = None
    """The least that relabelling can give."""
    permutations: int = 0
    """Distinct relabellings, the true one included."""
    exact: bool | None = None
    """Whether these are all."""
    not_tested: str | None = None
    """Why there is no test, though it is identified."""
    p_holm: float | None = None
    """Adjusted over `Findings.holm` tests."""


class ContrastPower(Identification):
    """What a design can show of a contrast; `reason` also says why something of it is None."""

    smallest_p: float | None = None
    detectable: float | None = None
    """Points that are shown with `Power.power` where runs alone are noise."""
    detectable_pairs: float | None = None
    """Likewise where pairs differ by `Power.pair_sd` as well."""


class Power(Result):
    """What a design can show at best."""

    run_sd: float
    """Points: standard deviation of a gain between runs on one subset."""
    pair_sd: float
    """Points: what pairs have for themselves, beyond any relation."""
    alpha: float
    """p up to which a contrast counts as shown."""
    power: float
    """Chance of showing a detectable effect."""
    contrasts: dict[str, ContrastPower]


# ------------------------------------------------------------------------------ variance


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


# ------------------------------------------------------------------------------ proxies


class Correlations(Result):
    """Spearman's correlation with the gain over sources, within each student."""

    left_out: ClassVar[tuple[str, ...]] = ("reason",)

    mean: float | None
    """Over the students that have one."""
    students: dict[str, float | None]
    reason: str | None = None
    """Why there is no mean."""


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


# ------------------------------------------------------------------------------ all of it


class Findings(Result):
    """What gains show: contrasts of relations, variance between families, proxies."""

    contrasts: dict[str, Contrast]
    power: Power
    """What this design sees at the noise of these gains."""
    decomposition: Decomposition | Undecomposed
    proxies: tuple[Proxies, ...]
    proxies_not_measured: dict[str, str]
    """Proxy -> why."""
    proxy_correlations: dict[str, ProxyCorrelation]
    holm: int
    """How many p values were adjusted together."""


# ------------------------------------------------------------------------------ predictors


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


class HeldOut(Result):
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


class Beats(Result):
    """By how much a predictor beats a baseline, where both have values."""

    rank: Estimate
    """Difference of the rank correlations within students."""
    error: Estimate
    """Difference of the held-out squared errors; above 0 is better."""


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
    calibration: HeldOut
    """Fitted on pairs that share no model with the one that is predicted."""
    families_out: HeldOut
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


class Evaluation(Result):
    """Predictors against the gains of a study."""

    predictors: dict[str, PredictorRow]
    random: RandomChoice
    ceiling: Ceiling
    holm: int = 0
    """How many p values were adjusted together."""
    selected: Selected


# ------------------------------------------------------------------------------ a study


class Scores(Result):
    """What a student could do before training."""

    mean: float | None
    """Share of the score, over tasks."""
    tasks: dict[str, float]


class WeightEvidence(Result):
    """Whether two models' weights are related."""

    equal: bool
    """Tensor by tensor."""
    z: float | None
    """Of units standing where those of the other model stand; about N(0, 1) for models initialised apart."""
    matrices: int
    """That z is of."""
    reason: str | None
    """Why there is no z."""


class RecipeEvidence(Result):
    """Whether two models agree in their architecture, its options, and the tokenizer."""

    model_type: bool
    options: bool
    tokenizer: bool

    @property
    def same(self) -> list[str]:
        """Names of what they agree in."""
        return [name for name, agrees in self if agrees]


Label = Literal["self", "weight-kin", "recipe-kin", "cross-family", "unknown"]


class PairLineage(Result):
    """How a source and a student are related, and why."""

    source: str
    student: str
    label: Label
    by: Literal["files", "study"]
    """study: the label is stated there."""
    files: Label
    """The label that the files give."""
    weights: WeightEvidence
    recipe: RecipeEvidence


class Rejudged(Result):
    """By which command and code a result was computed anew from its cells."""

    command: tuple[str, ...]
    code: dict[str, Any]
    """As in a provenance block; likewise `packages`."""
    packages: dict[str, Any]
    cells_of_commit: str | None
    """That measured."""


class Matrix(Findings):
    """Gains of every pair, and what they show."""

    left_out: ClassVar[tuple[str, ...]] = ("run_sd", "lineage")

    cells: tuple[PairGain, ...]
    run_sd: RunSd | None = None
    """None in results that are older than it."""
    lineage: tuple[PairLineage, ...] | None = None
    """None in results that are older than it."""


class StudyResult(Matrix):
    """matrix.json: a finished study."""

    model_config = ConfigDict(extra="allow")  # what else tells how it was made
    left_out: ClassVar[tuple[str, ...]] = ("run_sd", "lineage", "predictors", "judged", "rejudged")

    study: dict[str, Any]
    """Its settings, as in study.yaml."""
    provenance: dict[str, Any]
    """Code, machine, packages and command that put it together."""
    workers: int
    stages: tuple[dict[str, Any], ...]
    """{label, artifact, wall_time_s, counts} of each stage."""
    wall_time_s: float
    """Of all stages, one after the other."""
    before: dict[str, Scores]
    """Student -> its scores."""
    predictors: tuple[PredictorValue, ...] | None = None
    """None where the study asks for none; likewise `judged`."""
    judged: Evaluation | None = None
    rejudged: Rejudged | None = None
    """None where it was computed as it was measured."""

    def as_json(self) -> dict[str, Any]:
        """matrix.json; what it is of stands first, for who opens it."""
        return {"study": self.study, "provenance": self.provenance} | super().as_json()
