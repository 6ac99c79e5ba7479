"""Stage audit: reject corpus documents that share a word n-gram with a benchmark.

reads   a sample artifact (corpus-*.parquet), benchmarks by name
writes  audit/<name>-<fp8>/corpus.parquet       kept documents, columns as in the corpus
        audit/<name>-<fp8>/rejects.parquet      every rejected document and why
        audit/<name>-<fp8>/benchmarks.parquet   per benchmark: audited or not, and what was found
run     resurface audit runs/x/sample/corpus-1a2b3c4d --benchmarks asset:piqa asset:arc_easy

Matching is exact (see `data/ngrams`); normalisation and n = 8 as in the reference, 13 is GPT-3's.
Any shared n-gram with any split of any benchmark rejects the whole document. N-grams are those of every text
of a row, and those that span two texts which stand behind each other where the row is quoted, such as a
question and its answer (`audit_texts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from resurface import artifacts, progress
from resurface.artifacts import Artifact
from resurface.artifacts.parquet import corpus_size, stream_corpus, write_parquet, writing
from resurface.benchmarks import audit_texts
from resurface.benchmarks.audit_index import BenchmarkIndex, KnownTexts, Match
from resurface.config import Config, Names
from resurface.data.ngrams import Vocabulary
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
        longest = KnownTexts.load(name, Vocabulary()).longest()
        _check_lengths(name, cfg, longest)


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise UserError("no benchmarks to audit against", remedy="for instance --benchmarks asset:arc_easy")
    if len(set(names)) != len(names):
        raise UserError(f"a benchmark is named twice: {', '.join(names)}")


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
                one = KnownTexts.load(each, vocabulary)
                longest = one.longest()
                _check_lengths(each, cfg, longest)  # before the corpus is read
                if max(longest, default=0) >= cfg.ngram:
                    searched.append(one)
                else:
                    missing[each] = f"no text of it has {cfg.ngram} words"
        found = _split(corpus, BenchmarkIndex(searched, vocabulary, cfg.ngram), b.path)
        report = [
            found.reports.get(each) or {"benchmark": each, "status": "not audited", "reason": missing[each]}
            for each in cfg.benchmarks
        ]
        write_parquet(pa.Table.from_pylist(report, schema=_REPORT), b.path / "benchmarks.parquet")
        return {
            **found.counts,
            "benchmarks": {
                n: {k: v for k, v in r.items() if k != "benchmark"} for n, r in found.reports.items()
            },
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


@dataclass
class _Split:
    """What was found in a corpus. reports: per benchmark."""

    counts: dict[str, int]
    reports: dict[str, dict[str, Any]]


def _split(corpus: Artifact, index: BenchmarkIndex, out: Path) -> _Split:
    """Write the kept and the rejected documents of a corpus, which is read and written in pieces."""
    met = np.zeros(index.index.grams, np.bool_)
    rejected = np.zeros(len(index.names), np.int64)
    kept_tokens = rejected_tokens = 0
    size, schema = corpus_size(corpus)
    why = pa.schema([*schema, *(pa.field(*field) for field in _WHY)], schema.metadata)
    with (
        progress.task("audit", size, "documents") as task,
        writing(schema, out / "corpus.parquet") as kept,
        writing(why, out / "rejects.parquet") as rejects,
    ):
        for table in stream_corpus(corpus):
            matches, grams = index.search(table["text"].cast(pa.binary()).to_pylist())
            met[grams] = True
            rejected += np.bincount([m.benchmark for m in matches], minlength=len(rejected))
            reasons = _reasons(matches, index)
            hit = np.zeros(len(table), np.bool_)
            hit[list(reasons)] = True
            good, bad = table.filter(pa.array(~hit)), table.filter(pa.array(hit))
            kept_tokens, rejected_tokens = kept_tokens + _tokens(good), rejected_tokens + _tokens(bad)
            kept.add(good)
            for name, kind in _WHY:
                bad = bad.append_column(name, pa.array([r[name] for r in reasons.values()], kind))
            rejects.add(bad)
            task.advance(len(table))
    counts = {
        "documents": kept.rows + rejects.rows,
        "tokens": kept_tokens + rejected_tokens,
        "kept": kept.rows,
        "kept_tokens": kept_tokens,
        "rejected": rejects.rows,
        "rejected_tokens": rejected_tokens,
    }
    return _Split(counts, index.reports(met, rejected.tolist()))


def _tokens(table: pa.Table) -> int:
    return int(pc.sum(pc.list_value_length(table["token_ids"])).as_py() or 0)


def _reasons(matches: Sequence[Match], index: BenchmarkIndex) -> dict[int, dict[str, Any]]:
    """Document -> the first match in the first benchmark that it matches, and all of these; in order."""
    reasons: dict[int, dict[str, Any]] = {}
    for m in matches:
        name = index.names[m.benchmark]
        if (known := reasons.get(m.text)) is not None:
            known["benchmarks"].append(name)
            continue
        split, row = index.rows[m.row]
        reasons[m.text] = {
            "benchmark": name,
            "split": split,
            "row": row,
            "ngram": index.index.gram(m.gram),
            "rule": f"shared {index.n}-gram",
            "benchmarks": [name],
        }
    return reasons
