"""The n-grams of benchmarks, to find in a corpus: which benchmark, split and row each of them is of."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resurface import benchmarks
from resurface.benchmarks import audit_texts
from resurface.data.ngrams import Encoded, Hits, Index, Vocabulary, seams
from resurface.data.words import in_batches, words


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


class BenchmarkIndex:
    """The n-grams of several benchmarks, G of them.

    names: of the benchmarks. rows: (split, row) of each row of all benchmarks, which `Match.row` counts.
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
            hits = self.index.search(words(batch))
            met.append(np.unique(hits.gram))
            found += self._matches(hits, done)
            done += len(batch)
        return found, np.concatenate(met)

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
