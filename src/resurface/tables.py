"""Parquet tables of artifacts: written atomically with one compression, read back whole.

A corpus is a list of shards (`corpus-00000.parquet`, ...) in sample order; an audited corpus is
one file. Everything after sampling reads documents through `read_documents`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from resurface.artifacts import Artifact
from resurface.disk import replacing
from resurface.errors import UserError

CORPUS_SCHEMA = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("token_ids", pa.list_(pa.int32())),
        ("text", pa.string()),
        ("logprobs", pa.list_(pa.float32())),
        ("logprobs_tau", pa.list_(pa.float32())),
        ("finish_reason", pa.string()),
        ("seed", pa.int64()),
    ]
)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write zstd Parquet through a temporary name: the file is there whole or not at all."""
    with replacing(path) as f:
        pq.write_table(table, f, compression="zstd")


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one Parquet file; raises UserError if it is none."""
    try:
        return pq.read_table(path, columns=list(columns) if columns else None)
    except (pa.ArrowInvalid, OSError) as e:
        raise UserError(f"{path} is not a readable Parquet file ({e})") from e


def require_corpus(corpus: Artifact) -> list[str]:
    """The files that hold an artifact's documents, in sample order; UserError if there are none."""
    names = sorted(n for n in corpus.manifest["files"] if n.startswith("corpus") and n.endswith(".parquet"))
    if not names:
        raise UserError(f"{corpus.path} holds no corpus", remedy="give the artifact of `sample` or `audit`")
    return names


def read_corpus(corpus: Artifact, columns: Sequence[str] | None = None) -> pa.Table:
    """All documents of a sample or audit artifact, in sample order."""
    return pa.concat_tables([read_parquet(corpus.path / n, columns) for n in require_corpus(corpus)])
