"""Predicted gains of corpora for a student, as types; field by field what `predict --json` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from pydantic import field_serializer, model_serializer, model_validator

from resurface.artifacts.provenance import Provenance
from resurface.compatibility.calibration import Fit, Predicted
from resurface.compatibility.results import CrossValidated, Result, Tested


class Measured(Result):
    """What a predictor says of a corpus for the student."""

    predictor: str
    value: float | None
    error: float | None
    """Standard error; None where none is defined."""
    student_passes: float | None
    """Cost: forward passes of the student over the scored documents."""
    source_passes: float | None
    reason: str | None
    """Why there is no value."""


class Worth(Result):
    """How good a predictor was in the study that calibrates it."""

    left_out: ClassVar[tuple[str, ...]] = ("interaction",)

    within_student: Tested
    """Mean over students of Spearman's correlation with the gain over sources."""
    interaction: Tested | None = None
    """Correlation of what source and student means leave of values and of gains."""
    calibration: CrossValidated


class Ranked(Result):
    """A corpus with the gain that is predicted of it."""

    corpus: str
    gain: Predicted
    noise: float | None = None
    """Standard error of the gain by what the predictors were measured with; share of the score."""
    best: float | None = None
    """Chance of being the best of these corpora."""
    student_passes: float | None
    """Of all predictors together."""
    predictors: tuple[Measured, ...]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, found: Any) -> Any:
        if not isinstance(found, dict) or isinstance(found.get("gain"), Predicted):
            return found
        flat = ("low", "high", "p_positive", "extrapolated", "reason")
        known: Any = {k: found.get(k) for k in flat}
        gain = Predicted(found.get("gain"), **known)
        return {k: v for k, v in found.items() if k not in flat} | {"gain": gain}

    @model_serializer(mode="plain")
    def _flat(self) -> dict[str, Any]:
        gain = asdict(self.gain)
        del gain["level"]
        found = {"corpus": self.corpus, "gain": gain.pop("value"), **gain}
        found |= {"noise": self.noise, "best": self.best, "student_passes": self.student_passes}
        return found | {"predictors": [p.as_json() for p in self.predictors]}


class CalibratedRecipe(Result):
    """What gains are predicted for."""

    learning_rate: float
    epochs: int
    bytes: int
    """UTF-8 bytes of a subset."""


class Origin(Result):
    """Where a calibration comes from."""

    study: str
    file: str
    provenance: Provenance
    recipe: CalibratedRecipe


class Ranking(Result):
    """Corpora for one student, the best first; those without a value last."""

    student: str
    calibration: Origin
    predictor: str
    """Or several that are fitted together, A+B."""
    signs: tuple[int, ...]
    """Of each of these: +1 where more promises more."""
    fit: Fit
    judged: Worth | None
    """None where the study did not evaluate this predictor."""
    ranking: tuple[Ranked, ...]
    provenance: Provenance

    @property
    def wrong_way(self) -> bool:
        """Whether more of a predictor meant less gain where it was calibrated, against its sign."""
        return any(slope * sign < 0 for slope, sign in zip(self.fit.slopes, self.signs, strict=True))

    @field_serializer("fit")
    def _fit(self, fit: Fit) -> dict[str, Any]:
        return asdict(fit)
