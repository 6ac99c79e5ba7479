"""What a finished study leaves for `predict` (calibration.json), checked as it is read.

Only what is used is checked; more may stand there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from resurface.compatibility.predict import PredictorsConfig
from resurface.config import Config, problems
from resurface.errors import UserError
from resurface.reading.plain_data import read_json
from resurface.stages.sampling import SampleConfig
from resurface.stages.subsets import SubsetConfig
from resurface.trainer.config import TrainConfig


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class _Pair(_Part):
    source: str
    student: str
    gain: float


class _Value(_Part):
    source: str
    student: str
    predictor: str
    value: float | None


class _Selected(_Part):
    name: str | None
    reason: str | None = None


class _Interval(_Part):
    value: float | None = None
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _whole(self) -> _Interval:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has one end")
        return self


class _Accuracy(_Part):
    rmse: float | None = None
    rmse_mean: float | None = None
    coverage: float | None = None

    @model_validator(mode="after")
    def _whole(self) -> _Accuracy:
        if self.rmse is not None and None in (self.rmse_mean, self.coverage):
            raise ValueError("rmse goes with rmse_mean and coverage")
        return self


class _Judged(_Part):
    within_student: _Interval
    calibration: _Accuracy


class _File(_Part):
    pairs: list[_Pair] = Field(max_length=10**6)
    values: list[_Value] = Field(max_length=10**6)
    selected: _Selected
    judged: dict[str, _Judged]
    provenance: dict[str, Any]
    study: dict[str, Any]


def read(path: Path, remedy: str) -> dict[str, Any]:
    """The file as it is, once it is known to be a calibration.

    Raises:
        UserError: unreadable, or an entry is missing or of another kind.
    """
    try:
        found = read_json(path, remedy=remedy)
    except UserError as e:
        raise UserError(f"{path} is not a calibration: {e.message}", remedy=remedy) from e
    try:
        checked = _File.model_validate(found)
    except ValidationError as e:
        raise UserError(f"{path} is not a calibration ({problems(e)})", remedy=remedy) from e
    study = checked.study
    if not isinstance(study.get("name"), str):
        raise UserError(f"{path} is not a calibration (study.name is missing)", remedy=remedy)
    parts: dict[str, type[Config]] = {
        "sample": SampleConfig,
        "subset": SubsetConfig,
        "train": TrainConfig,
        "predictors": PredictorsConfig,
    }
    for name, kind in parts.items():
        try:
            cfg = kind.model_validate(study.get(name))
        except (UserError, ValidationError) as e:
            why = e.message if isinstance(e, UserError) else problems(e)
            raise UserError(f"{path} is not a calibration (study.{name}: {why})", remedy=remedy) from e
        if isinstance(cfg, SubsetConfig) and cfg.bytes is None:
            raise UserError(f"{path} is not a calibration (study.subset.bytes is not set)", remedy=remedy)
    return found
