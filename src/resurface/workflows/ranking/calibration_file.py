"""What a finished study leaves for `predict` (calibration.json), checked as it is read.

More may stand there, and is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from resurface.artifacts.provenance import Provenance
from resurface.compatibility.predict import PredictorsConfig
from resurface.compatibility.prediction import Worth
from resurface.compatibility.results import Selected
from resurface.config import Config, problems
from resurface.errors import UserError
from resurface.reading.plain_data import read_json
from resurface.stages.sampling import SampleConfig
from resurface.stages.subsets import SubsetConfig
from resurface.trainer.config import TrainConfig

C = TypeVar("C", bound=Config)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class CalibrationPair(_Part):
    """The gain of a source's text for a student, as a share of the score."""

    source: str
    student: str
    relation: str | None = None
    """As in `PairGain`; not read."""
    gain: float


class CalibrationValue(_Part):
    """What a predictor said of a pair; None where it said nothing."""

    source: str
    student: str
    predictor: str
    value: float | None
    error: float | None = None
    """Standard error; None where none is defined. Not read."""


class CalibrationFile(_Part):
    """What stands in calibration.json."""

    study: dict[str, Any]
    """Settings that gains are predicted for."""
    provenance: Provenance
    """Of the study."""
    pairs: list[CalibrationPair] = Field(max_length=10**6)
    values: list[CalibrationValue] = Field(max_length=10**6)
    selected: Selected
    judged: dict[str, Worth]
    """Predictor -> how good it was."""

    def as_json(self) -> dict[str, Any]:
        """As it is written to disk."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Calibration:
    """A finished study as `predict` needs it: the recipe that gains are predicted for, and its pairs."""

    study: str
    """Its name."""
    sample: SampleConfig
    subset: SubsetConfig
    train: TrainConfig
    predictors: PredictorsConfig
    pairs: list[CalibrationPair]
    values: list[CalibrationValue]
    best: str | None
    """The predictor that ranked best."""
    reason: str | None
    """Why none is named."""
    judged: dict[str, Worth]
    provenance: Provenance


def read(path: Path, remedy: str) -> Calibration:
    """The file, once it is known to be a calibration.

    Raises:
        UserError: unreadable, or an entry is missing or of another kind.
    """
    try:
        found = read_json(path, remedy=remedy)
    except UserError as e:
        raise UserError(f"{path} is not a calibration: {e.message}", remedy=remedy) from e
    try:
        checked = CalibrationFile.model_validate(found)
    except ValidationError as e:
        raise UserError(f"{path} is not a calibration ({problems(e)})", remedy=remedy) from e
    study = checked.study
    if not isinstance(study.get("name"), str):
        raise UserError(f"{path} is not a calibration (study.name is missing)", remedy=remedy)

    def part(name: str, kind: type[C]) -> C:
        try:
            return kind.model_validate(study.get(name))
        except (UserError, ValidationError) as e:
            why = e.message if isinstance(e, UserError) else problems(e)
            raise UserError(f"{path} is not a calibration (study.{name}: {why})", remedy=remedy) from e

    subset = part("subset", SubsetConfig)
    if subset.bytes is None:
        raise UserError(f"{path} is not a calibration (study.subset.bytes is not set)", remedy=remedy)
    return Calibration(
        study=study["name"],
        sample=part("sample", SampleConfig),
        subset=subset,
        train=part("train", TrainConfig),
        predictors=part("predictors", PredictorsConfig),
        pairs=checked.pairs,
        values=checked.values,
        best=checked.selected.name,
        reason=checked.selected.reason,
        judged=checked.judged,
        provenance=checked.provenance,
    )
