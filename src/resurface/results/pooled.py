"""Several sweeps of one recipe as one: what pooled.json holds."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from resurface.results.capability import Change, NoChange, OverallChange, TaskChange
from resurface.stats.estimate import Estimate
from resurface.stats.flat import FlatResult, Keys
from resurface.stats.result import Result


class MachineDifference(Change):
    """The second machine minus the first, in the change of the mean over tasks, on seeds that both have."""

    each: tuple[float, ...] = Field(min_length=1)
    """Per seed, share of the score."""
    seeds: tuple[int, ...]


class PooledDrop(FlatResult):
    """Extraction from members, each seed averaged over machines."""

    flat: ClassVar[dict[str, Keys]] = {"relative_drop": Keys("relative_drop", widen=True)}
    left_out: ClassVar[tuple[str, ...]] = ("reason",)

    windows: int = Field(ge=1)
    before: int = Field(ge=1)
    """Windows that are extracted of the base."""
    after: float = Field(ge=0)
    """Windows that are extracted after, mean over seeds."""
    after_each: tuple[float, ...] = Field(min_length=1)
    """Per seed, mean over machines."""
    relative_drop: Estimate
    """1 minus after over before."""


class Pooled(Result):
    """pooled.json: another machine is no new seed."""

    files: tuple[str, ...] = Field(min_length=2)
    """Names of the sweeps."""
    machines: dict[str, str]
    """Name of a sweep -> where it was run."""
    seeds: tuple[int, ...]
    duplicates: tuple[str, ...]
    """Seeds that a file merely repeats."""
    tasks: dict[str, TaskChange]
    overall: OverallChange | NoChange
    """Change of the mean over tasks."""
    informative: OverallChange | NoChange
    """The same without tasks that are uninformative, where there are both."""
    machine_difference: MachineDifference | None
    """None where there are not two machines with a seed in common."""
    extraction: PooledDrop | None
    """None where none was asked for, or nothing is extracted of the base."""
