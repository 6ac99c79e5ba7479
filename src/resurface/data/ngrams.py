"""Exact word n-gram overlap of two sets of texts: hashed, looked up, and every hit verified.

    known texts --Vocabulary--> int32 ids --Index--> n-grams
    any texts   --words-------> Words     --Index.search--> which of the n-grams, and where

A hash decides nothing: it only proposes candidates, whose words are then compared one by one. Of the texts
that are searched nothing is kept, so that memory is that of the known ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.data.words import Hashes, Words, in_batches, locate, utf8, words

Hasher = Callable[[Hashes, int], Hashes]

_TIMES = 0xD6E8FEB86659FD93


@dataclass(frozen=True)
class Encoded:
    """Texts as word ids. ids: int32 [words]; offsets: int64 [texts + 1], text t = ids[o[t]:o[t+1]]."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    @classmethod
    def joined(cls, parts: Sequence[Encoded]) -> Encoded:
        """The texts of all parts, which one vocabulary encoded."""
        lengths = [np.zeros(1, np.int64), *(p.lengths() for p in parts)]
        return cls(
            np.concatenate([np.zeros(0, np.int32), *(p.ids for p in parts)]),
            np.cumsum(np.concatenate(lengths)),
        )


class Vocabulary:
    """Numbers words as they are met; texts are comparable if one vocabulary encoded them."""

    def __init__(self) -> None:
        self._ids: defaultdict[bytes, int] = defaultdict()
        self._ids.default_factory = self._ids.__len__
        self._words: list[bytes] = []

    def encode(self, texts: Iterable[str]) -> Encoded:
        parts, lengths = [np.zeros(0, np.int32)], [np.zeros(1, np.int64)]
        for batch in in_batches(map(utf8, texts)):
            found = words(batch)
            parts.append(np.fromiter(map(self._ids.__getitem__, found.all()), np.int32, len(found)))
            lengths.append(np.diff(found.offsets))
        return Encoded(np.concatenate(parts), np.cumsum(np.concatenate(lengths)))

    def ids(self, words: Iterable[bytes]) -> NDArray[np.int32]:
        """Of words: int32 [words], -1 of one that was never met."""
        return np.fromiter((self._ids.get(w, -1) for w in words), np.int32)

    def words(self, ids: Iterable[int]) -> str:
        if len(self._words) < len(self._ids):
            self._words = list(self._ids)
        return b" ".join(self._words[i] for i in ids).decode("utf-8", "surrogatepass")

    def hashes(self) -> Hashes:
        """Of each word, as `Words.hashes`: uint64 [vocabulary]."""
        return locate(b" ".join(self._ids)).hashes


def seams(texts: Encoded, joins: Sequence[tuple[int, int]], n: int) -> tuple[Encoded, NDArray[np.int64]]:
    """What has the n-grams that span two texts: for each (i, j) the last n - 1 words of text i and the first
    n - 1 of text j; and i of each. Joins that have no such n-gram are left out."""
    i, j = np.asarray(joins, np.int64).reshape(-1, 2).T
    lengths = texts.lengths()
    before, behind = np.minimum(lengths[i], n - 1), np.minimum(lengths[j], n - 1)
    spans = (before > 0) & (behind > 0) & (before + behind >= n)
    i, j, before, behind = i[spans], j[spans], before[spans], behind[spans]
    # runs of words in turn: a tail, a head, the next tail ...
    starts = np.stack([texts.offsets[i + 1] - before, texts.offsets[j]], 1).reshape(-1)
    sizes = np.stack([before, behind], 1).reshape(-1)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    ids = texts.ids[np.repeat(starts, sizes) + within]
    return Encoded(ids, np.concatenate([[0], np.cumsum(before + behind)])), i


def window_hash(hashes: Hashes, n: int) -> Hashes:
    """Polynomial hash, modulo 2^64, of each window of n hashes: uint64 [len(hashes) - n + 1]."""
    windows = len(hashes) - n + 1
    power, size = hashes, 1  # power: of windows of `size`, which doubles
    found, done = None, 0  # found: of windows of `done`, what n has in binary
    while True:
        if n & size:
            # the next `size` behind the first `done`
            part = power[done : done + windows]
            found = part if found is None else found[:windows] * _power(size) + part
            done += size
        if done == n:
            return found  # type: ignore[return-value]
        power = power[:-size] * _power(size) + power[size:]
        size *= 2


def _power(size: int) -> np.uint64:
    return np.uint64(pow(_TIMES, size, 1 << 64))


def rolling_hash(ids: NDArray[np.int32], n: int) -> Hashes:
    """64-bit hash of each window of n ids: uint64 [len(ids) - n + 1]."""
    mixed = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return window_hash(mixed, n)


@dataclass(frozen=True)
class Hits:
    """N-grams of an index in searched texts, by place. at: int64 [hits], word at which it begins, of `Words`;
    text: int64 [hits], which of the searched texts; gram: int64 [hits], number in the index."""

    at: NDArray[np.int64]
    text: NDArray[np.int64]
    gram: NDArray[np.int64]


class Index:
    """The distinct n-grams of some texts, G of them. Threads may search it at the same time.

    grams: G. gram_of, owner: int64 [occurrences], by n-gram, then by place in the texts: which n-gram, and
    the text that has it.
    """

    def __init__(
        self, vocabulary: Vocabulary, texts: Encoded, n: int, *, hasher: Hasher = window_hash
    ) -> None:
        if n < 1:
            raise ValueError(f"an n-gram has at least one word, not {n}")
        self.n, self._vocabulary, self._ids, self._hasher = n, vocabulary, texts.ids, hasher
        at, owner = _starts(texts, n)
        hashes = hasher(vocabulary.hashes()[texts.ids], n)[at] if len(at) else np.zeros(0, np.uint64)
        order = np.argsort(hashes, kind="stable")
        hashes, at = hashes[order], at[order]
        same_hash = hashes[1:] == hashes[:-1]
        same = same_hash & _same(texts.ids, at[1:], texts.ids, at[:-1], n)
        if (same != same_hash).any():  # a collision, within which equal n-grams may stand apart
            keys: list[NDArray[Any]] = [texts.ids[at + k] for k in range(n)]
            again = np.lexsort((at, *keys, hashes))
            order, hashes, at = order[again], hashes[again], at[again]
            same = _same(texts.ids, at[1:], texts.ids, at[:-1], n)
        new = np.concatenate([[True], ~same])[: len(at)]
        self.gram_of, self.owner = np.cumsum(new) - 1, owner[order]
        self._hashes, self._at = hashes[new], at[new]
        self.grams = len(self._at)
        self._bits = max(10, self.grams.bit_length() + 4)
        self._seen = np.zeros(1 << (self._bits - 3), np.uint8)
        for place in (_high, _low):
            bit = place(self._hashes, self._bits)
            np.bitwise_or.at(self._seen, bit >> np.uint64(3), _bit_of(bit))

    def gram(self, number: int) -> str:
        """The words of an n-gram."""
        at = self._at[number]
        return self._vocabulary.words(self._ids[at : at + self.n].tolist())

    def search(self, texts: Words) -> Hits:
        """Every n-gram of the index in `texts`."""
        if not self.grams or len(texts) < self.n:
            nothing = np.zeros(0, np.int64)
            return Hits(nothing, nothing, nothing)
        hashes = self._hasher(texts.hashes, self.n)
        at = np.flatnonzero(self._may_have(_high(hashes, self._bits)))
        at = at[self._may_have(_low(hashes[at], self._bits))]
        text = np.searchsorted(texts.offsets, at, side="right") - 1
        within = at + self.n <= texts.offsets[text + 1]
        at, text = at[within], text[within]
        low = np.searchsorted(self._hashes, hashes[at], side="left")
        count = np.searchsorted(self._hashes, hashes[at], side="right") - low
        pair = np.repeat(np.arange(len(at)), count)  # of a candidate with each n-gram of its hash
        gram = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + low[pair]
        at, text = at[pair], text[pair]
        touched, place = np.unique(at[:, None] + np.arange(self.n), return_inverse=True)
        ids = self._vocabulary.ids(map(texts.word, touched.tolist()))[place.reshape(len(at), self.n)]
        true = (ids == self._ids[self._at[gram][:, None] + np.arange(self.n)]).all(1)
        return Hits(at[true], text[true], gram[true])

    def _may_have(self, bit: Hashes) -> NDArray[np.bool_]:
        return (self._seen[bit >> np.uint64(3)] & _bit_of(bit)) != 0


def _high(hashes: Hashes, bits: int) -> Hashes:
    return hashes >> np.uint64(64 - bits)


def _low(hashes: Hashes, bits: int) -> Hashes:
    return hashes * np.uint64(_TIMES) >> np.uint64(64 - bits)


def _bit_of(bit: Hashes) -> NDArray[np.uint8]:
    return np.uint8(1) << (bit & np.uint64(7)).astype(np.uint8)


def _starts(texts: Encoded, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start positions of the n-grams of texts, and the text of each (none crosses)."""
    counts = np.maximum(texts.lengths() - n + 1, 0)
    owner = np.repeat(np.arange(len(texts)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return texts.offsets[owner] + within, owner


def _same(
    a: NDArray[np.int32], i: NDArray[np.int64], b: NDArray[np.int32], j: NDArray[np.int64], n: int
) -> NDArray[np.bool_]:
    """Whether the n ids at a[i] equal those at b[j], for each pair (i, j)."""
    same = np.ones(len(i), np.bool_)
    for k in range(n):
        same &= a[i + k] == b[j + k]
    return same


def shares_ngram(texts: Sequence[str], others: Iterable[str], n: int) -> list[bool | None]:
    """Whether each text shares a word n-gram with any of `others`; None: it has fewer than n words."""
    vocabulary = Vocabulary()
    known = vocabulary.encode(texts)
    index = Index(vocabulary, known, n)
    met = np.zeros(index.grams, np.bool_)
    for batch in in_batches(map(utf8, others)):
        met[index.search(words(batch)).gram] = True
    shares = np.zeros(len(known), np.bool_)
    shares[index.owner[met[index.gram_of]]] = True
    return [None if m < n else bool(h) for h, m in zip(shares, known.lengths(), strict=True)]
