"""A stage: what makes one kind of artifact. A module that has one names it once, as `STAGE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resurface.artifacts.counts import Counts
from resurface.artifacts.store import Artifact, Build, build


@dataclass(frozen=True)
class Stage:
    """Name and version of what makes artifacts, which are part of their identity."""

    name: str
    """Directory of its artifacts, and `stage` of their manifests."""
    version: int
    """Raised when the same configuration and inputs give other content."""

    def make(
        self,
        out: str | Path,
        name: str,
        write: Callable[[Build], Counts | Mapping[str, Any]],
        *,
        config: Mapping[str, Any],
        inputs: Mapping[str, Mapping[str, Any]],
        keep: set[str] | None = None,
        need_bytes: int = 0,
    ) -> Artifact:
        """The artifact of this configuration and these inputs: the finished one, or what `write` makes.

        write: puts files into the path of a `Build`, and returns the counts. keep: as of `Build.finish`;
        else as `build`.

        Raises:
            Busy, Unfinished, CorruptArtifact, UserError: see `build`.
        """
        identity: Any = dict(version=self.version, config=config, inputs=inputs)
        with build(out, self.name, name, need_bytes=need_bytes, **identity) as b:
            if b.artifact is not None:
                return b.artifact
            counts = write(b)
            return b.finish(counts.as_json() if isinstance(counts, Counts) else counts, keep=keep)

    def exists(
        self,
        out: str | Path,
        name: str,
        *,
        config: Mapping[str, Any],
        inputs: Mapping[str, Mapping[str, Any]],
    ) -> bool:
        """Whether the artifact that `make` would be given is finished already; see `finished_only`."""
        return Build(Path(out), self.name, name, version=self.version, config=config, inputs=inputs).there()
