"""Stage audit: reject corpus documents that share a word n-gram with a benchmark.

reads   a sample artifact (corpus-*.parquet), benchmarks by name
writes  audit/<name>-<fp8>/corpus.parquet       kept documents, columns as in the corpus
        audit/<name>-<fp8>/rejects.parquet      every rejected document and why
        audit/<name>-<fp8>/benchmarks.parquet   per benchmark: audited or not, and what was found
run     resurface audit runs/x/sample/corpus-1a2b3c4d --benchmarks asset:piqa asset:arc_easy

Matching is exact (see `ngrams`); normalisation and n = 8 as in the reference, 13 is GPT-3's.
Any shared n-gram with any split of any benchmark rejects the whole document. N-grams are those of every text
of a row, and those that span two texts which stand behind each other where the row is quoted, such as a
question and its answer (`audit_texts`).
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from resurface import artifacts, benchmarks, progress
from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_corpus, write_parquet
from resurface.benchmarks import audit_texts
from resurface.config import Config, Names
from resurface.data.ngrams import Encoded, Overlap, Vocabulary, seams, shared
from resurface.errors import UserError

STAGE = artifacts.Stage("audit", version=3)


class AuditConfig(Config):
    """Against what to audit a corpus."""

    benchmarks: Names
    """Names: asset:arc_easy or lab:facts (no network), lm-eval tasks (from the hub), or file:PATH."""
    ngram: int = Field(default=8, ge=1, le=1000)
    """Words in a row that count as a match; benchmarks of short questions (lab:facts) need fewer."""
    allow_missing: bool = False
    """Go on if a benchmark cannot be loaded, and list it as not audited everywhere."""


_WHY = [
    ("benchmark", pa.string()),
    ("split", pa.string()),
    ("row", pa.string()),
    ("ngram", pa.string()),
    ("rule", pa.string()),
    ("benchmarks", pa.list_(pa.string())),
]
_REPORT = pa.schema(
    [
        ("benchmark", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("splits", pa.map_(pa.string(), pa.int64())),
        ("splits_missing", pa.list_(pa.string())),
        ("rows", pa.int64()),
        ("rows_without_ngram", pa.int64()),
        ("texts", pa.int64()),
        ("texts_too_short", pa.int64()),
        ("ngrams", pa.int64()),
        ("documents_rejected", pa.int64()),
        ("rows_in_corpus", pa.int64()),
    ]
)
"""documents_rejected: corpus documents that match this benchmark (they may match others as well).
rows_in_corpus: benchmark rows with at least one n-gram in the raw corpus. splits: rows of each split
that was searched for; splits_missing: splits that the benchmark has elsewhere and that were not.
Null where not audited."""


def check_benchmarks(cfg: AuditConfig) -> None:
    """Load every benchmark once, so that one that cannot be audited is found before long work.

    Raises:
        UserError: none given, given twice, or (unless that is allowed) one that cannot be loaded or
            has no n-gram in most of its rows.
    """
    _check_names(cfg.benchmarks)
    if cfg.allow_missing:
        return
    for name in cfg.benchmarks:
        longest = _encode(name, Vocabulary()).longest()
        _check_lengths(name, cfg, longest)


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise UserError("no benchmarks to audit against", remedy="for instance --benchmarks asset:arc_easy")
    if len(set(names)) != len(names):
        raise UserError(f"a benchmark is named twice: {', '.join(names)}")


@dataclass
class _Found:
    """One benchmark against the corpus. Texts are those of its rows, then the joins of two."""

    name: str
    overlap: Overlap
    rows: list[tuple[str, str]]  # split, row
    row_of: np.ndarray  # int64 [texts and joins]
    lengths: np.ndarray  # int64 [texts and joins], words
    texts: int  # without the joins

    def report(self, n: int) -> dict[str, Any]:
        long = np.unique(self.row_of[self.lengths >= n])
        return {
            "benchmark": self.name,
            "status": "audited",
            "reason": None,
            "splits": dict(collections.Counter(split for split, _ in self.rows)),
            "splits_missing": list(benchmarks.missing_splits(self.name)),
            "rows": len(self.rows),
            "rows_without_ngram": len(self.rows) - len(long),
            "texts": self.texts,
            "texts_too_short": int((self.lengths[: self.texts] < n).sum()),
            "ngrams": self.overlap.distinct,
            "documents_rejected": int((self.overlap.doc_text >= 0).sum()),
            "rows_in_corpus": len(np.unique(self.row_of[self.overlap.text_hit])),
        }


@dataclass
class _Benchmark:
    """The texts of a benchmark; row_of: [texts]; joins: pairs of texts."""

    name: str
    rows: list[tuple[str, str]]
    row_of: list[int]
    texts: Encoded
    joins: list[tuple[int, int]]

    def longest(self) -> list[int]:
        """Words of the longest text of each row, or of the longest two that are joined."""
        words, longest = self.texts.lengths(), np.zeros(len(self.rows), np.int64)
        np.maximum.at(longest, self.row_of, words)
        for i, j in self.joins:
            longest[self.row_of[i]] = max(longest[self.row_of[i]], words[i] + words[j])
        return [int(x) for x in longest]


def audit(corpus: Artifact, cfg: AuditConfig, out: str | Path, *, name: str) -> Artifact:
    """Split a corpus into kept and rejected documents; see the module's head.

    Raises:
        UserError: no benchmarks, or one that cannot be loaded without `allow_missing`.
    """
    _check_names(cfg.benchmarks)
    inputs = {"corpus": artifacts.as_input(corpus)}
    missing: dict[str, str] = {}
    for each in cfg.benchmarks:
        try:
            inputs[each] = {"fingerprint": audit_texts.fingerprint(each)}
        except UserError as e:
            if not cfg.allow_missing:
                go_on = "--allow-missing lists it as not audited"
                raise UserError(
                    f"benchmark {each} cannot be audited: {e.message}",
                    remedy=f"{e.remedy}; {go_on}" if e.remedy else go_on,
                ) from e
            missing[each] = e.message
            inputs[each] = {"fingerprint": "not loaded"}
    config = cfg.model_dump(mode="json")
    if "start_tokens" in corpus.config:  # whoever packs the documents needs it, and gets only this artifact
        config["start_tokens"] = corpus.config["start_tokens"]

    def write(b: artifacts.Build) -> dict[str, Any]:
        vocabulary = Vocabulary()
        searched = []
        for each in cfg.benchmarks:
            if each not in missing:
                one = _encode(each, vocabulary)
                longest = one.longest()
                _check_lengths(each, cfg, longest)  # before the corpus is read
                if max(longest, default=0) >= cfg.ngram:
                    searched.append(one)
                else:
                    missing[each] = f"no text of it has {cfg.ngram} words"
        table = read_corpus(corpus)
        docs = vocabulary.encode(table["text"].to_pylist())
        found = []
        with progress.task("audit", len(searched), "benchmarks") as task:
            for one in searched:
                found.append(_search(one, docs, cfg.ngram))
                task.advance()
        reasons = _reasons(found, docs, vocabulary, cfg.ngram)
        rejected = np.array([r is not None for r in reasons], np.bool_)
        kept = table.filter(pa.array(~rejected))
        rejects = table.filter(pa.array(rejected))
        for field_name, kind in _WHY:
            values = [r[field_name] for r in reasons if r is not None]
            rejects = rejects.append_column(field_name, pa.array(values, kind))
        reports = {f.name: f.report(cfg.ngram) for f in found}
        report = [
            reports.get(each) or {"benchmark": each, "status": "not audited", "reason": missing[each]}
            for each in cfg.benchmarks
        ]
        write_parquet(kept.combine_chunks(), b.path / "corpus.parquet")
        write_parquet(rejects.combine_chunks(), b.path / "rejects.parquet")
        write_parquet(pa.Table.from_pylist(report, schema=_REPORT), b.path / "benchmarks.parquet")
        return {
            "documents": len(table),
            "tokens": _tokens(table),
            "kept": len(kept),
            "kept_tokens": _tokens(kept),
            "rejected": len(rejects),
            "rejected_tokens": _tokens(rejects),
            "benchmarks": {n: {k: v for k, v in r.items() if k != "benchmark"} for n, r in reports.items()},
            "not_audited": [each for each in cfg.benchmarks if each in missing],
        }

    keep = {"corpus.parquet", "rejects.parquet", "benchmarks.parquet"}
    return STAGE.make(out, name, write, config=config, inputs=inputs, keep=keep)


def _check_lengths(name: str, cfg: AuditConfig, longest: Sequence[int]) -> None:
    """Raise UserError if most rows of a benchmark have no n-gram, unless that is allowed: nothing is searched
    for where they are quoted. longest: words of the longest text of each row."""
    long = sum(words >= cfg.ngram for words in longest)
    if cfg.allow_missing or 2 * long >= max(len(longest), 1):
        return
    few = f"{long:,} of its {len(longest):,} rows have" if long else "no text of it has"
    fits = int(np.median(longest)) if longest else 0
    shorter = f"--ngram {fits} (half of its rows have texts of that many words), or " if fits else ""
    raise UserError(
        f"benchmark {name} cannot be audited: {few} {'texts of ' if long else ''}{cfg.ngram} words",
        remedy=f"{shorter}--allow-missing to search for what there is",
    )


def _tokens(table: pa.Table) -> int:
    return int(pc.sum(pc.list_value_length(table["token_ids"])).as_py() or 0)


def _encode(name: str, vocabulary: Vocabulary) -> _Benchmark:
    rows: list[tuple[str, str]] = []
    row_of: list[int] = []
    texts: list[str] = []
    joins: list[tuple[int, int]] = []
    for row in audit_texts.benchmark_texts(name):
        joins += [(len(texts) + i, len(texts) + j) for i, j in row.joins]
        row_of += [len(rows)] * len(row.texts)
        rows.append((row.split, row.row))
        texts += row.texts
    return _Benchmark(name, rows, row_of, vocabulary.encode(texts), joins)


def _search(b: _Benchmark, docs: Encoded, n: int) -> _Found:
    joins, pairs = seams(b.texts, b.joins, n)
    row_of = np.asarray(b.row_of, np.int64)
    both = b.texts.followed_by(joins)
    owners = np.concatenate([row_of, row_of[pairs]])
    return _Found(b.name, shared(docs, both, n), b.rows, owners, both.lengths(), len(b.texts))


def _reasons(
    found: list[_Found], docs: Encoded, vocabulary: Vocabulary, n: int
) -> list[dict[str, Any] | None]:
    """Per document None, or the first match in the first benchmark that it matches, and all of these."""
    reasons: list[dict[str, Any] | None] = [None] * len(docs)
    for f in found:
        for doc in np.flatnonzero(f.overlap.doc_text >= 0).tolist():
            known = reasons[doc]
            if known is not None:
                known["benchmarks"].append(f.name)
                continue
            split, row = f.rows[int(f.row_of[f.overlap.doc_text[doc]])]
            at = int(docs.offsets[doc] + f.overlap.doc_start[doc])
            reasons[doc] = {
                "benchmark": f.name,
                "split": split,
                "row": row,
                "ngram": vocabulary.words(docs.ids[at : at + n].tolist()),
                "rule": f"shared {n}-gram",
                "benchmarks": [f.name],
            }
    return reasons
