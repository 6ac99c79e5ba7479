"""The blocks of a corpus as artifacts, drawn by shards: each is found by whoever needs it."""

from __future__ import annotations

from pathlib import Path

from resurface import artifacts
from resurface.artifacts import Artifact
from resurface.artifacts.store import MANIFEST
from resurface.errors import UserError
from resurface.stages.sampling.drawing import STAGE, CorpusCounts

BLOCK = artifacts.Stage("sample-block", STAGE.version)


class BlockCounts(CorpusCounts):
    """Of one block."""

    shard: str
    """That drew it, such as 2/8."""


def there(folder: Path) -> dict[int, Artifact]:
    """The blocks in a folder; what is in their files is not looked at.

    Raises:
        UserError: blocks of several corpora, or one twice.
        CorruptArtifact: a manifest that was changed.
    """
    found: dict[int, Artifact] = {}
    first: Artifact | None = None
    for path in sorted(p.parent for p in folder.glob(f"*-????????/{MANIFEST}")):
        a = artifacts.load(path, stage=BLOCK.name, verify=False)
        first, k = first or a, int(a.config["block"])
        if k in found:
            raise UserError(f"{path} and {found[k].path} overlap: both are block {k}", remedy="remove one")
        if differs := _differences(first, a):
            raise UserError(
                f"{path} and {first.path} are of different configurations: {', '.join(differs)}",
                remedy="put together shards that were drawn by the same command",
            )
        found[k] = a
    return found


def _differences(a: Artifact, b: Artifact) -> list[str]:
    """In what the corpora of two blocks differ."""
    one, other = (x.config | {"model": x.inputs["model"].fingerprint} for x in (a, b))
    return [key for key in one.keys() | other.keys() if key != "block" and one.get(key) != other.get(key)]
