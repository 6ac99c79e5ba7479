"""Results whose estimates lie flat in JSON: value, ends and reason are keys beside others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from resurface.stats.estimate import Estimate
from resurface.stats.result import Result

Wider = TypeVar("Wider", bound="FlatResult")


@dataclass(frozen=True)
class Keys:
    """Under which keys of JSON an estimate lies."""

    value: str
    low: str = "low"
    high: str = "high"
    reason: str = "reason"
    level: str | None = None
    """None where all have 95%, which is not written."""
    widen: bool = False
    """Whether an interval that was written may miss its value: it is read as one that holds it."""

    def read(self, found: Mapping[str, Any]) -> Estimate:
        """The estimate that lies in `found`.

        Raises:
            ValueError: value or ends are not there, are no numbers, or no estimate.
        """
        for key in (self.value, self.low, self.high):
            if key not in found:
                raise ValueError(f"{key} is missing")
            if not isinstance(found[key], int | float | None):
                raise ValueError(f"{key} is not a number")
        value, low, high = (found[key] for key in (self.value, self.low, self.high))
        level = 0.95 if self.level is None else found.get(self.level)
        if not isinstance(level, float):
            raise ValueError(f"{self.level} is not a level")
        if self.widen and None not in (value, low, high):
            return Estimate.holding(value, low, high, level=level)
        missing = value is None or low is None
        return Estimate(value, low, high, level, found.get(self.reason) if missing else None)

    def written(self, e: Estimate) -> dict[str, Any]:
        """As it lies in JSON."""
        found: dict[str, Any] = {self.value: e.value, self.low: e.low, self.high: e.high}
        found[self.reason] = e.reason
        return found if self.level is None else found | {self.level: e.level}


class FlatResult(Result):
    """A result with estimates that lie flat."""

    flat: ClassVar[dict[str, Keys]] = {}
    """Field -> the keys that its estimate lies under."""
    older: ClassVar[tuple[str, ...]] = ()
    """Keys that older results lack: not written where they were not read."""

    def extended(self, into: type[Wider], **more: Any) -> Wider:
        """With what a wider type has besides."""
        return into(**{name: getattr(self, name) for name in self.model_fields_set}, **more)

    @model_validator(mode="before")
    @classmethod
    def _folded(cls, found: Any) -> Any:
        if not isinstance(found, dict):
            return found
        lying = {f: keys for f, keys in cls.flat.items() if not isinstance(found.get(f), Estimate)}
        read = {field: keys.read(found) for field, keys in lying.items()}
        flat = {
            k for keys in lying.values() for k in (keys.value, keys.low, keys.high, keys.reason, keys.level)
        }
        return {k: v for k, v in found.items() if k not in flat - set(cls.model_fields)} | read

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in write(self).items():
            found |= self.flat[key].written(getattr(self, key)) if key in self.flat else {key: value}
        absent = {*self.left_out, *(k for k in self.older if k not in self.model_fields_set)}
        return {k: v for k, v in found.items() if v is not None or k not in absent}
