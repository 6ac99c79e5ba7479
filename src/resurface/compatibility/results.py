"""What a study finds, as types; field by field the format of matrix.json.

`Result.as_json` and `Result.from_json` are the one place where they become JSON and come back. A gain is a
share of the score, so that 0.01 is a point; intervals are of 95%.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

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

    left_out = ("reason", "subsets")

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
