"""A corpus by several programs that share a directory and nothing else.

    OUT/sample-block/<name>-<fp8>/<block>-<fp8>/corpus-<block>.parquet

Sample i depends on (model, configuration, seed, i), and a batch on the ids in it: so block k has the same
bytes whoever draws it, and shard i of n draws the blocks k with k mod n + 1 = i. Who draws what is no part of
a block's identity. A corpus of so many documents has so many blocks. One of so many tokens ends where its
documents, in order, reach them, which no shard knows beforehand: each draws what seems needed by the blocks
that are there, goes on where it is run again, and `merge` says which has to.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from resurface import artifacts, progress
from resurface.artifacts import Artifact, Waiting
from resurface.engines.base import EngineRecord, Sample
from resurface.errors import UserError
from resurface.executors import WHOLE, Shard
from resurface.stages.sampling.blocks import BLOCK, BlockCounts, there
from resurface.stages.sampling.config import Blocks, SampleConfig
from resurface.stages.sampling.corpus import adopt
from resurface.stages.sampling.drawing import (
    FILES,
    STAGE,
    CorpusCounts,
    Source,
    count,
    counted,
    file_of,
    in_order,
)
from resurface.stats.result import Result


class ShardDrawn(Result):
    """What a shard has drawn so far."""

    shard: str
    """Such as 2/8."""
    blocks: int
    documents: int
    tokens: int
    path: str
    """Of the blocks of all shards: what `merge` takes."""


def sample_shard(source: Source, shard: Shard, out: str | Path, *, name: str = "corpus") -> ShardDrawn:
    """Draw the blocks of one shard, as far as they are needed and not there.

    Raises:
        UserError: see `sample`; the corpus is finished; more shards than blocks.
    """
    identity, blocks = source.identity(), Blocks.of(source.cfg)
    if shard.of > blocks.most:
        raise UserError(
            f"--shard {shard}: the corpus has no more than {blocks.most} blocks of {blocks.size} documents",
            remedy="take fewer shards, or lower batch_size (or shard_size)",
        )
    corpus = _corpus(identity, out, name)
    if corpus.exists():
        raise UserError(f"{corpus} is finished", remedy="use it, or choose another --out to draw it again")
    folder = Path(out) / BLOCK.name / corpus.name
    while todo := _todo(folder, blocks, shard):
        documents = [blocks.ids(k) for k in todo]
        with progress.task(f"sample, shard {shard}", sum(map(len, documents)), "docs") as bar:
            drawn = counted(source.draw([i for ids in documents for i in ids]), bar, documents=True)
            for k, found in zip(todo, in_order(drawn, documents), strict=True):

                def write(b: artifacts.Build, k: int = k, found: list[Sample] = found) -> BlockCounts:
                    source.write(b.path / file_of(k), found)
                    return BlockCounts(**dict(source.count([b.path / file_of(k)])), shard=str(shard))

                config = identity["config"] | {"block": k}
                make = partial(BLOCK.make, out, f"{corpus.name}/{k:05d}", write, config=config)
                Waiting(partial(make, inputs=identity["inputs"]))()  # the same shard may run twice
    mine = [BlockCounts.of(a) for k, a in there(folder).items() if shard.has(k)]
    return ShardDrawn(
        shard=str(shard),
        blocks=len(mine),
        documents=sum(c.documents for c in mine),
        tokens=sum(c.tokens for c in mine),
        path=str(folder),
    )


def missing(source: Source, out: str | Path, *, name: str = "corpus") -> int:
    """Blocks that shards have yet to draw, as far as can be told; 0 where the corpus is finished.

    Raises:
        UserError: see `sample`.
    """
    corpus = _corpus(source.identity(), out, name)
    return (
        0
        if corpus.exists()
        else len(_todo(Path(out) / BLOCK.name / corpus.name, Blocks.of(source.cfg), WHOLE))
    )


def _corpus(identity: Mapping[str, Any], out: str | Path, name: str) -> Path:
    """Where the whole corpus is once it is finished."""
    return artifacts.Build(Path(out), STAGE.name, name, version=STAGE.version, **identity).final


def _todo(folder: Path, blocks: Blocks, shard: Shard) -> list[int]:
    known = {k: BlockCounts.of(a).tokens for k, a in there(folder).items()}
    return [k for k in blocks.needed(known) if shard.has(k) and k not in known]


def merge(source: str | Path) -> Artifact:
    """The corpus whose blocks were drawn by shards: in every byte that of one program.

    source: what a shard has printed, or its --out where that holds shards of one corpus.

    Raises:
        UserError: no shards there, of different configurations, or overlapping; blocks that are missing,
            and whose shard has to go on.
        CorruptArtifact: a block is damaged.
    """
    folder = _folder(Path(source))
    found = there(folder)
    if not found:
        raise UserError(f"{folder} holds no shards of a corpus", remedy="resurface sample MODEL --shard 1/8")
    first = next(iter(found.values()))
    config = {k: v for k, v in first.config.items() if k != "block"}
    inputs = first.manifest["inputs"]
    name, out = folder.name.rsplit("-", 1)[0], folder.parent.parent
    final = _corpus({"config": config, "inputs": inputs}, out, name)
    if final.name != folder.name:
        raise UserError(
            f"{folder} holds blocks of {final.name}", remedy=f"rename it {folder.with_name(final.name)}"
        )
    options = {k: v for k, v in config.items() if k in SampleConfig.model_fields}
    blocks = Blocks.of(SampleConfig.model_validate(options))
    _require_all(found, blocks)

    def write(b: artifacts.Build) -> CorpusCounts:
        adopt(b, found, blocks)
        counts = count(sorted(b.path.glob(FILES)))
        return counts.model_copy(update={"engine": _engine(found)})

    return STAGE.make(out, name, write, config=config, inputs=inputs, keep={FILES})


def _engine(found: Mapping[int, Artifact]) -> EngineRecord | None:
    """What drew the blocks; where one lacks log-probabilities, so does the corpus."""
    records = [r for a in found.values() if (r := BlockCounts.of(a).engine) is not None]
    if not records:
        return None
    reasons = ("logprobs_reason", "logprobs_tau_reason")
    lacks = {name: next(filter(None, (getattr(r, name) for r in records)), None) for name in reasons}
    return records[0].model_copy(update=lacks)


def _folder(source: Path) -> Path:
    """Where the blocks of one corpus lie."""
    if (source / BLOCK.name).is_dir():
        corpora = sorted(p for p in (source / BLOCK.name).iterdir() if p.is_dir())
        if len(corpora) > 1:
            raise UserError(
                f"{source} holds shards of {len(corpora)} corpora, which differ in their configuration",
                remedy="name one: " + ", ".join(map(str, corpora)),
            )
        return corpora[0] if corpora else source
    return source


def _require_all(found: Mapping[int, Artifact], blocks: Blocks) -> None:
    counts = {k: BlockCounts.of(a) for k, a in found.items()}
    known = {k: c.tokens for k, c in counts.items()}
    if not (missing := [k for k in blocks.needed(known) if k not in known]):
        return
    # others may have been drawn by shards of another number: whichever
    n = max(Shard.parse(c.shard).of for c in counts.values())
    shards = [str(Shard(i, n)) for i in sorted({k % n + 1 for k in missing})]
    first = blocks.ids(missing[0])
    raise UserError(
        f"{len(missing)} blocks are missing, the first of documents {first[0]} to {first[-1]}: "
        f"{'shard' if len(shards) == 1 else 'shards'} {', '.join(shards)} must go on",
        remedy=f"the same command again with --shard {' and with --shard '.join(shards[:8])}",
    )
