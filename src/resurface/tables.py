"""Parquet tables of artifacts: written atomically with one compression, read back whole.

A corpus is a list of shards (`corpus-00000.parquet`, ...) in sample order; an audited corpus is
one file. Everything after sampling reads documents through `read_documents`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resurface.artifacts import Artifact
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
        # null in corpora of before they were counted
        ("without_token", pa.int32()),  # see tokenizing.Decoded
        ("control_inside", pa.int32()),
        ("text_tokens", pa.int32()),
    ]
)

_LATER = ("without_token", "control_inside", "text_tokens")


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write zstd Parquet through a temporary name: the file is there whole or not at all."""
    part = path.with_name(path.name + ".tmp")
    pq.write_table(table, part, compression="zstd")
    with part.open("rb+") as f:
        os.fsync(f.fileno())
    part.replace(path)


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
    """All documents of a sample or audit artifact, in sample order.

    A column that the artifact is too old to have is null.
    """
    return pa.concat_tables([_documents(corpus.path / n, columns) for n in require_corpus(corpus)])


def _documents(path: Path, columns: Sequence[str] | None) -> pa.Table:
    if columns is None:
        return read_parquet(path)
    there = set(read_schema(path).names)
    absent = [c for c in columns if c not in there and c in _LATER]
    table = read_parquet(path, [c for c in columns if c not in absent])
    for name in absent:
        table = table.append_column(
            CORPUS_SCHEMA.field(name), pa.nulls(len(table), CORPUS_SCHEMA.field(name).type)
        )
    return table.select(list(columns))


def read_schema(path: Path) -> pa.Schema:
    """The columns of a Parquet file; raises UserError if it is none."""
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as e:
        raise UserError(f"{path} is not a readable Parquet file ({e})") from e


def lossy_documents(table: pa.Table) -> pa.Array | pa.ChunkedArray:
    """Which documents of a corpus have tokens that their text does not show; null where it is not known."""
    return pc.greater(pc.add(table["without_token"], table["control_inside"]), 0)
