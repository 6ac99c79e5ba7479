"""What stages write and read: artifacts, their identity, tables, provenance, and the disk."""

from resurface.artifacts.counts import Counts
from resurface.artifacts.locks import Waiting, waiting
from resurface.artifacts.stage import Stage
from resurface.artifacts.store import (
    Artifact,
    Build,
    Input,
    Unfinished,
    as_input,
    build,
    completed,
    finished_only,
    is_artifact,
    load,
)

__all__ = [
    "Artifact",
    "Build",
    "Counts",
    "Input",
    "Stage",
    "Unfinished",
    "Waiting",
    "as_input",
    "build",
    "completed",
    "finished_only",
    "is_artifact",
    "load",
    "waiting",
]
