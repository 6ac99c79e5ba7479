"""The demo: what demo.json holds."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from resurface.compatibility.results import StudyResult
from resurface.results.run import RunSummary
from resurface.results.sweep import SweepResult
from resurface.stats.result import Result


class DemoResult(Result):
    """demo.json: a self-training, or the two sweeps of the full design, and a matrix."""

    left_out: ClassVar[tuple[str, ...]] = ("self_training", "seeds", "frontier")

    self_training: RunSummary | None = None
    """None of the full design, which has `seeds` and `frontier` in its place."""
    seeds: SweepResult | None = None
    """One recipe, several seeds."""
    frontier: SweepResult | None = None
    """What can be chosen."""
    matrix: StudyResult
    report: str
    """Path of report.md."""
    elapsed_s: float = Field(ge=0)
    """Seconds of the last call; what was there already is reused."""

    @property
    def sweeps(self) -> list[SweepResult]:
        """Those that were run."""
        return [s for s in (self.seeds, self.frontier) if s is not None]
