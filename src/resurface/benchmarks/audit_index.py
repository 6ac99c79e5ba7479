"""The n-grams of benchmarks, to find in a corpus: which benchmark, split and row each of them is of."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resurface import benchmarks
from resurface.benchmarks import audit_texts
from resurface.data.ngrams import Encoded, Hits, Index, Vocabulary, seams
from resurface.data.words import in_batches, utf8, word_spans, words
from resurface.stats.reasons import Reason

REPORT = pa.schema(
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


@dataclass(frozen=True)
class KnownTexts:
    """Texts of a benchmark. rows: (split, row). row_of: [texts], which of the rows. joins: pairs of texts."""

    name: str
    rows: list[tuple[str, str]]
    row_of: list[int]
    texts: Encoded
    joins: list[tuple[int, int]]

    @classmethod
    def load(cls, name: str, vocabulary: Vocabulary) -> KnownTexts:
        """
        Raises:
            UserError: it cannot be loaded.
        """
        rows: list[tuple[str, str]] = []
        row_of: list[int] = []
        texts: list[str] = []
        joins: list[tuple[int, int]] = []
        for row in audit_texts.benchmark_texts(name):
            joins += [(len(texts) + i, len(texts) + j) for i, j in row.joins]
            row_of += [len(rows)] * len(row.texts)
            rows.append((row.split, row.row))
            texts += row.texts
        return cls(name, rows, row_of, vocabulary.encode(texts), joins)

    def longest(self) -> list[int]:
        """Words of the longest text of each row, or of the longest two that are joined."""
        length, longest = self.texts.lengths(), np.zeros(len(self.rows), np.int64)
        np.maximum.at(longest, self.row_of, length)
        for i, j in self.joins:
            longest[self.row_of[i]] = max(longest[self.row_of[i]], length[i] + length[j])
        return [int(x) for x in longest]


class Match(NamedTuple):
    """The first n-gram that a document shares with a benchmark."""

    text: int
    """Which of the searched documents."""
    benchmark: int
    row: int
    """Of all rows of all benchmarks."""
    gram: int
    """Of `BenchmarkIndex.index`."""


class Passage(NamedTuple):
    """A passage of a document whose n-grams are shared with benchmarks."""

    first: int
    last: int
    """Characters first:last of the document."""
    benchmark: str
    split: str
    row: str
    """Where its first n-gram is from."""


class BenchmarkIndex:
    """The n-grams of several benchmarks, G of them.

    names: of the benchmarks. rows: (split, row) of each row of all benchmarks, which `Match.row` counts.
    common: bool [G], n-grams that are no match.
    """

    def __init__(self, known: Sequence[KnownTexts], vocabulary: Vocabulary, n: int) -> None:
        self.names = [k.name for k in known]
        self.rows = [row for k in known for row in k.rows]
        self._known, self.n = known, n
        self._benchmark_of = np.repeat(np.arange(len(known)), [len(k.rows) for k in known])
        parts: list[Encoded] = []
        row_of: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        first = 0
        for k in known:
            joined, pairs = seams(k.texts, k.joins, n)
            parts += [k.texts, joined]
            own = np.asarray(k.row_of, np.int64)
            row_of += [first + own, first + own[pairs]]
            first += len(k.rows)
        everything = Encoded.joined(parts)
        self._lengths, self._row_of = everything.lengths(), np.concatenate(row_of)
        self.index = Index(vocabulary, everything, n)
        self.common = np.zeros(self.index.grams, np.bool_)
        # (n-gram, benchmark) pairs, with the first row of that benchmark that has it
        row = self._row_of[self.index.owner]
        pairs, at = np.unique(
            self.index.gram_of * max(len(known), 1) + self._benchmark_of[row], return_index=True
        )
        gram, self._pair_benchmark = np.divmod(pairs, max(len(known), 1))
        self._pair_row = row[at]
        self._pairs_of = np.searchsorted(gram, np.arange(self.index.grams + 1))  # of n-gram g: [g]:[g + 1]

    def search(self, texts: Iterable[bytes]) -> tuple[list[Match], NDArray[np.int64]]:
        """Of each text (UTF-8) and benchmark that share an n-gram, the first, by text, then by benchmark; and
        every n-gram that the texts have."""
        found, met, done = [], [np.zeros(0, np.int64)], 0
        for batch in in_batches(texts):
            hits = self._hits(batch)
            met.append(np.unique(hits.gram))
            found += self._matches(hits, done)
            done += len(batch)
        return found, np.concatenate(met)

    def reasons(self, matches: Sequence[Match]) -> dict[int, dict[str, Any]]:
        """Document -> the first match in the first benchmark that it matches, and all of these; in order."""
        reasons: dict[int, dict[str, Any]] = {}
        for m in matches:
            name = self.names[m.benchmark]
            if (known := reasons.get(m.text)) is not None:
                known["benchmarks"].append(name)
                continue
            split, row = self.rows[m.row]
            reasons[m.text] = {
                "benchmark": name,
                "split": split,
                "row": row,
                "ngram": self.index.gram(m.gram),
                "rule": Reason.SHARED_NGRAM.about(str(self.n)),
                "benchmarks": [name],
            }
        return reasons

    def ignore_common(self, texts: Sequence[str], share: float) -> None:
        """From now on n-grams that more than `share` of these texts have are no match; see `common`."""
        having = np.zeros(self.index.grams, np.int64)
        for batch in in_batches(map(utf8, texts)):
            hits = self.index.search(words(batch))
            once = np.unique(hits.text * max(self.index.grams, 1) + hits.gram)
            having += np.bincount(once % max(self.index.grams, 1), minlength=self.index.grams)
        self.common = having > share * len(texts)

    def passages(self, text: str) -> list[Passage]:
        """What of a text is shared: of n-grams that overlap, all their words together."""
        hits, places = self._hits([utf8(text)]), word_spans(text)
        found: list[Passage] = []
        pairs = self._pairs_of[hits.gram]  # of each n-gram the first benchmark that has it
        for pair, at in zip(pairs.tolist(), hits.at.tolist(), strict=True):
            first, last = places[at][0], places[at + self.n - 1][1]
            if found and first < found[-1].last:
                found[-1] = found[-1]._replace(last=max(last, found[-1].last))
            else:
                name = self.names[self._pair_benchmark[pair]]
                found.append(Passage(first, last, name, *self.rows[self._pair_row[pair]]))
        return found

    def _hits(self, batch: Sequence[bytes]) -> Hits:
        hits = self.index.search(words(batch))
        if not self.common.any():
            return hits
        rare = ~self.common[hits.gram]
        return Hits(hits.at[rare], hits.text[rare], hits.gram[rare])

    def _matches(self, hits: Hits, done: int) -> list[Match]:
        first = self._pairs_of[hits.gram]
        count = self._pairs_of[hits.gram + 1] - first
        hit = np.repeat(np.arange(len(count)), count)
        pair = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[hit]
        key = hits.text[hit] * max(len(self.names), 1) + self._pair_benchmark[pair]
        _, once = np.unique(key, return_index=True)  # hits ascend: the first
        hit, pair = hit[once], pair[once]
        found = (done + hits.text[hit], self._pair_benchmark[pair], self._pair_row[pair], hits.gram[hit])
        return [Match(*m) for m in zip(*(f.tolist() for f in found), strict=True)]

    def reports(self, met: NDArray[np.bool_], rejected: Sequence[int]) -> dict[str, dict[str, Any]]:
        """Per benchmark, what was searched for and found. met: [G], which n-grams the corpus has; rejected:
        per benchmark, documents that match it."""
        long = np.zeros(len(self.rows), np.bool_)
        long[self._row_of[self._lengths >= self.n]] = True
        there = np.zeros(len(self.rows), np.bool_)
        there[self._row_of[self.index.owner[met[self.index.gram_of]]]] = True
        found = {}
        for b, k in enumerate(self._known):
            own = self._benchmark_of == b
            found[k.name] = {
                "benchmark": k.name,
                "status": "audited",
                "reason": None,
                "splits": dict(collections.Counter(split for split, _ in k.rows)),
                "splits_missing": list(benchmarks.missing_splits(k.name)),
                "rows": len(k.rows),
                "rows_without_ngram": int((own & ~long).sum()),
                "texts": len(k.texts),
                "texts_too_short": int((k.texts.lengths() < self.n).sum()),
                "ngrams": int((self._pair_benchmark == b).sum()),
                "documents_rejected": rejected[b],
                "rows_in_corpus": int((own & there).sum()),
            }
        return found
