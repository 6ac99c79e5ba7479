"""How a result becomes JSON and comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from resurface.stats.estimate import Estimate


class Result(BaseModel):
    """A frozen part of a result."""

    model_config = ConfigDict(
        frozen=True, populate_by_name=True, allow_inf_nan=False, use_attribute_docstrings=True, extra="forbid"
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
