"""What a run reports of each of its stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from resurface.artifacts.store import Artifact
from resurface.stats.result import Result


class StageRecord(Result):
    """A stage of a run, and what it made."""

    label: str
    """What the run calls it."""
    artifact: str
    """Path below the directory of the run."""
    wall_time_s: float = Field(ge=0)
    """Seconds, over all interruptions."""
    counts: dict[str, Any]
    """What the stage counted; each has its own."""

    @classmethod
    def of(cls, artifact: Artifact, label: str, root: Path) -> StageRecord:
        """The record of an artifact below `root`."""
        where = artifact.path.relative_to(root).as_posix()
        spent = artifact.manifest["wall_time_s"]
        return cls(label=label, artifact=where, wall_time_s=spent, counts=artifact.counts)
