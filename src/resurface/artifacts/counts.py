"""What a stage counted, as a type: `counts` of a manifest on one side, attributes on the other."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from resurface.artifacts.store import Artifact
from resurface.errors import reading


class Counts(BaseModel):
    """The counts of one stage; a field is a key of the manifest. Keys that a field lacks are passed over, so
    that manifests of other versions load."""

    # a loss may have overflowed
    model_config = ConfigDict(
        frozen=True, populate_by_name=True, use_attribute_docstrings=True, ser_json_inf_nan="constants"
    )
    left_out: ClassVar[tuple[str, ...]] = ()
    """Keys that are not written where they are None: what does not apply, other than what is not known."""

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """The counts of an artifact.

        Raises:
            UserError: it has others.
        """
        with reading(f"counts of {artifact.path}", remedy="make the artifact again"):
            return cls.model_validate(artifact.counts)

    def as_json(self) -> dict[str, Any]:
        """As the manifest has them."""
        return self.model_dump(mode="json", by_alias=True)

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in write(self).items() if v is not None or k not in self.left_out}
