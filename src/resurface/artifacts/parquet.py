"""Parquet tables of artifacts: written atomically with one compression, read back whole.

A corpus is a list of shards (`corpus-00000.parquet`, ...) in sample order; an audited corpus is
one file. Everything after sampling reads documents through `read_documents`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resurface.artifacts.disk import replacing
from resurface.artifacts.store import Artifact
from resurface.errors import UserError, reading

CORPUS_SCHEMA = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("token_ids", pa.list_(pa.int32())),
        ("text", pa.string()),
        ("logprobs", pa.list_(pa.float32())),
        ("logprobs_tau", pa.list_(pa.float32())),
        ("finish_reason", pa.string()),
        ("seed", pa.int64()),
        ("without_token", pa.int32()),  # see tokenizing.Decoded
        ("control_inside", pa.int32()),
        ("text_tokens", pa.int32()),
    ]
)

MOST_ROWS = 10**8
_OURS = "give what a stage of resurface has written"


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write zstd Parquet through a temporary name: the file is there whole or not at all."""
    with replacing(path) as f:
        pq.write_table(table, f, compression="zstd")


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one Parquet file, or some of its columns; raises UserError if it is none or lacks one."""
    with reading(f"the table {path}"):
        # of a single file: read_table would take a directory name such as key=1 for a column
        file = pq.ParquetFile(path)
        check_size(file, str(path))
        if missing := sorted(set(columns or ()) - set(file.schema_arrow.names)):
            raise UserError(f"{path} has no column {', '.join(missing)}", remedy=_OURS)
        found = file.read(columns=list(columns) if columns else None)
        found.validate(full=True)  # or what is damaged is found by whoever looks at it
        return found


def check_size(file: pq.ParquetFile, where: str) -> None:
    """Raise UserError for more rows than are ever worked on: of nulls, a file of bytes promises billions."""
    if file.metadata.num_rows > MOST_ROWS:
        raise UserError(
            f"{where} has {file.metadata.num_rows:,} rows, more than the {MOST_ROWS:,} that are read",
            remedy="split it into several files",
        )


def require_corpus(corpus: Artifact) -> list[str]:
    """The files that hold an artifact's documents, in sample order; UserError if there are none."""
    names = sorted(n for n in corpus.manifest["files"] if n.startswith("corpus") and n.endswith(".parquet"))
    if not names:
        raise UserError(f"{corpus.path} holds no corpus", remedy="give the artifact of `sample` or `audit`")
    return names


def read_corpus(corpus: Artifact, columns: Sequence[str] | None = None) -> pa.Table:
    """All documents of a sample or audit artifact, in sample order.

    Raises:
        UserError: no corpus, or columns of other types than a corpus has; ids are never cut to 32 bits.
    """
    with reading(f"the corpus {corpus.path}", remedy=_OURS):
        found = pa.concat_tables([read_parquet(corpus.path / n, columns) for n in require_corpus(corpus)])
        for name in set(found.column_names) & set(CORPUS_SCHEMA.names):
            if found[name].type != CORPUS_SCHEMA.field(name).type:
                kind = f"{found[name].type}, not {CORPUS_SCHEMA.field(name).type}"
                raise UserError(f"{corpus.path}: column {name} is {kind}", remedy=_OURS)
            if name in ("token_ids", "text") and found[name].null_count:
                raise UserError(f"{corpus.path}: column {name} has nulls", remedy=_OURS)
        return found


def lossy_documents(table: pa.Table) -> pa.Array | pa.ChunkedArray:
    """Which documents of a corpus have tokens that their text does not show; null where it is not known."""
    return pc.greater(pc.add(table["without_token"], table["control_inside"]), 0)
