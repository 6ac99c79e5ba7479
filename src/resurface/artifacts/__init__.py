"""What stages write and read: artifacts, their identity, tables, provenance, and the disk."""

from resurface.artifacts.store import (
    Artifact,
    Build,
    Unfinished,
    as_input,
    build,
    completed,
    exists,
    finished_only,
    is_artifact,
    load,
)

__all__ = [
    "Artifact",
    "Build",
    "Unfinished",
    "as_input",
    "build",
    "completed",
    "exists",
    "finished_only",
    "is_artifact",
    "load",
]
