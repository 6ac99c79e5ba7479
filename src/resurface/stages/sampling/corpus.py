"""A corpus by one program."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow.compute as pc

from resurface import artifacts, progress
from resurface.artifacts import Artifact
from resurface.artifacts.disk import replacing
from resurface.artifacts.parquet import CORPUS_SCHEMA, read_parquet, write_parquet
from resurface.stages.sampling.blocks import BLOCK, there
from resurface.stages.sampling.config import Blocks
from resurface.stages.sampling.drawing import (
    FILES,
    STAGE,
    CorpusCounts,
    Source,
    counted,
    file_of,
    in_order,
)


def sample(source: Source, out: str | Path, *, name: str = "corpus") -> Artifact:
    """Draw the corpus of `source.cfg` from a model, given its start and nothing else.

    What shards have drawn of it in `out` is taken. Returns the artifact; its counts are `CorpusCounts`.

    Raises:
        UserError: documents longer than the model's context; the disk is full; another process
            samples the same corpus (Busy).
    """

    identity, blocks = source.identity(), Blocks.of(source.cfg)

    def write(b: artifacts.Build) -> CorpusCounts:
        adopt(b, there(Path(out) / BLOCK.name / b.final.name), blocks)
        _draw(b, source, blocks)
        return source.count(sorted(b.path.glob(FILES)))

    return STAGE.make(out, name, write, config=identity["config"], inputs=identity["inputs"], keep={FILES})


def _draw(b: artifacts.Build, source: Source, blocks: Blocks) -> None:
    done_docs = done_tokens = k = 0
    while (file := b.path / file_of(k)).exists():
        lengths = pc.list_value_length(read_parquet(file, ["token_ids"])["token_ids"])
        done_docs += len(lengths)
        done_tokens += pc.sum(lengths).as_py()
        k += 1
    by_documents = blocks.documents is not None
    total, done, unit = (
        (blocks.documents, done_docs, "docs") if by_documents else (blocks.tokens, done_tokens, "tok")
    )
    assert total is not None
    if done >= total:
        return
    # every document has min_tokens
    most = done_docs + blocks.size + (total - done) // blocks.shortest
    drawing = source.draw(range(done_docs, total if by_documents else most))
    # whatever ends this, nobody draws on
    with contextlib.closing(drawing), progress.task("sample", total, unit, done) as bar:
        # a token budget may be passed inside the last file: the bar stops at its end
        drawn = counted(drawing, bar, documents=by_documents)
        for documents in in_order(drawn, (blocks.ids(i) for i in range(k, blocks.most))):
            if not by_documents:
                kept = 0
                while kept < len(documents) and done_tokens < total:
                    done_tokens += len(documents[kept].token_ids)
                    kept += 1
                documents = documents[:kept]
            source.write(b.path / file_of(k), documents)
            b.save_state()
            k += 1
            if not by_documents and done_tokens >= total:
                break


def adopt(b: artifacts.Build, found: Mapping[int, Artifact], blocks: Blocks) -> None:
    """Take what shards have drawn into a corpus, from the first block on without a gap.

    A budget of tokens ends at the document that reaches it.

    Raises:
        CorruptArtifact: a block is damaged.
    """
    tokens = k = 0
    budget = blocks.tokens if blocks.documents is None else math.inf
    while k in found and k < blocks.most and tokens < budget:
        file, target = artifacts.load(found[k].path).file(file_of(k)), b.path / file_of(k)
        lengths = pc.list_value_length(read_parquet(file, ["token_ids"])["token_ids"]).to_pylist()
        kept = 0
        while kept < len(lengths) and tokens < budget:
            tokens += lengths[kept]
            kept += 1
        if kept < len(lengths):
            # with the names of its columns' parts as they were, or the bytes are others
            write_parquet(read_parquet(file).slice(0, kept).cast(CORPUS_SCHEMA).combine_chunks(), target)
        elif not target.exists():
            with replacing(target) as copy, file.open("rb") as given:
                shutil.copyfileobj(given, copy)
        k += 1
