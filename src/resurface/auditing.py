"""Stage `audit`: reject sampled documents that share a word n-gram with a benchmark.

reads   a sample artifact     writes   audit/<name>-<fp8>/{corpus,rejects,benchmarks}.parquet
run     resurface audit runs/x/sample/corpus-1a2b3c4d --benchmarks asset:piqa asset:arc_easy

Fail closed: a benchmark that cannot be loaded stops the stage, unless the user allows it to be
missing; then it is listed as *not audited*, never as clean. Every rejected document is kept with
what it was rejected for.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from resurface import artifacts, benchmarks, progress
from resurface.artifacts import Artifact
from resurface.config import Config
from resurface.errors import UserError
from resurface.ngrams import NgramIndex
from resurface.tables import CORPUS_SCHEMA, read_corpus, write_parquet

STAGE_VERSION = 1
_REJECT_SCHEMA = pa.schema(
    [
        *CORPUS_SCHEMA,
        ("benchmark", pa.string()),
        ("split", pa.string()),
        ("row", pa.string()),
        ("ngram", pa.string()),
        ("rule", pa.string()),
    ]
)
_BENCHMARK_SCHEMA = pa.schema(
    [
        ("benchmark", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("rows", pa.int64()),
        ("ngrams", pa.int64()),
        ("rows_too_short", pa.int64()),
        ("documents_rejected", pa.int64()),
        ("rows_in_corpus", pa.int64()),
    ]
)


class AuditConfig(Config):
    """Defaults are the audit of arXiv 2605.31126."""

    benchmarks: tuple[str, ...] = Field(min_length=1)
    """asset:NAME, lm-eval tasks by name (hub), or file:PATH; every split of each."""
    ngram: int = Field(default=8, gt=0)
    """Words that a document may not share in a row (13: GPT-3's)."""
    allow_missing: bool = False
    """Go on without a benchmark that cannot be loaded; it is reported as not audited."""


def check_benchmarks(names: Iterable[str]) -> None:
    """Refuse benchmarks that do not exist, without reading them whole."""
    for name in names:
        if name.startswith("file:"):
            next(iter(benchmarks.benchmark_texts(name)), None)
        else:
            benchmarks.check_tasks([name])


def audit(corpus: Artifact, cfg: AuditConfig, out: str | Path, *, name: str = "corpus") -> Artifact:
    """Split `corpus` into kept documents (`corpus.parquet`) and rejected ones.

    `benchmarks.parquet` has a row per benchmark: status (audited / not audited, with the reason),
    rows, n-grams, rows too short to hold one (they cannot be matched), documents rejected, and
    the benchmark side: rows with at least one n-gram in the raw corpus.

    Raises:
        UserError: a benchmark cannot be loaded, or holds nothing that could be matched.
    """
    config = cfg.model_dump(mode="json") | {"start_tokens": corpus.config["start_tokens"]}
    inputs = {"corpus": artifacts.as_input(corpus)}
    with artifacts.build(out, "audit", name, version=STAGE_VERSION, config=config, inputs=inputs) as b:
        if b.artifact is not None:
            return b.artifact
        table = read_corpus(corpus)
        index = NgramIndex(table["text"].to_pylist(), cfg.ngram)
        rejected: dict[int, dict[str, str]] = {}  # document -> why (its first reason)
        rows = []
        with progress.task("audit", len(cfg.benchmarks), "benchmarks") as bar:
            for benchmark in cfg.benchmarks:
                rows.append(_against(benchmark, index, rejected, cfg))
                bar.advance()
        lost = sorted(rejected)
        mask = pa.array([i in rejected for i in range(len(table))], pa.bool_())
        reasons = {
            key: [rejected[i][key] for i in lost] for key in ("benchmark", "split", "row", "ngram", "rule")
        }
        out_table = table.filter(mask)
        for key, values in reasons.items():
            out_table = out_table.append_column(key, pa.array(values, pa.string()))
        kept = table.filter(pc.invert(mask))
        write_parquet(kept.combine_chunks(), b.path / "corpus.parquet")
        write_parquet(out_table.cast(_REJECT_SCHEMA).combine_chunks(), b.path / "rejects.parquet")
        write_parquet(pa.Table.from_pylist(rows, schema=_BENCHMARK_SCHEMA), b.path / "benchmarks.parquet")
        counts = {
            "documents": len(table),
            "kept": len(kept),
            "rejected": len(lost),
            "tokens_kept": _tokens(kept),
            "tokens_rejected": _tokens(out_table),
            "benchmarks": [r["benchmark"] for r in rows if r["status"] == "audited"],
            "not_audited": [r["benchmark"] for r in rows if r["status"] != "audited"],
            "rejected_by": {r["benchmark"]: r["documents_rejected"] for r in rows},
        }
        return b.finish(counts, keep={"corpus.parquet", "rejects.parquet", "benchmarks.parquet"})


def _tokens(table: pa.Table) -> int:
    return int(pc.sum(pc.list_value_length(table["token_ids"])).as_py() or 0)


def _against(
    benchmark: str, index: NgramIndex, rejected: dict[int, dict[str, str]], cfg: AuditConfig
) -> dict[str, Any]:
    rows = ngrams = short = hit = 0
    documents: set[int] = set()
    try:
        for split, row, texts in benchmarks.benchmark_texts(benchmark):
            # a row whose strings are all too short may still hold an n-gram when they are joined
            counts = [index.ngrams_in(t) for t in texts]
            rows += 1
            ngrams += sum(counts)
            short += not any(counts)
            found = [m for t, k in zip(texts, counts, strict=True) if k for m in index.matches(t)]
            hit += bool(found)
            for doc, ngram in found:
                documents.add(doc)
                why = {"benchmark": benchmark, "split": split, "row": row, "ngram": ngram}
                rejected.setdefault(doc, why | {"rule": f"shared word {cfg.ngram}-gram"})
    except UserError as e:
        if not cfg.allow_missing:
            raise
        missing = dict.fromkeys(("rows", "ngrams", "rows_too_short", "documents_rejected", "rows_in_corpus"))
        return {"benchmark": benchmark, "status": "not audited", "reason": e.message, **missing}
    if not ngrams:
        raise UserError(
            f"benchmark {benchmark} has no {cfg.ngram} words in a row anywhere: auditing it says nothing",
            remedy="lower audit.ngram, or leave it out",
        )
    return {
        "benchmark": benchmark,
        "status": "audited",
        "reason": None,
        "rows": rows,
        "ngrams": ngrams,
        "rows_too_short": short,
        "documents_rejected": len(documents),
        "rows_in_corpus": hit,
    }
