"""Exact word n-gram overlap of two sets of texts: hashed, sorted, and every hit verified.

    text --normalise--> words --Vocabulary--> int32 ids --shared--> which texts overlap, and where

A hash decides nothing: it only proposes candidates, whose word ids are then compared one by one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 22  # words of the searched side that are hashed at once: bounds memory, not results

Hasher = Callable[[NDArray[np.int32], int], NDArray[np.uint64]]


class _Strip(dict[int, "int | None"]):
    """Translation table, filled as characters are met: punctuation, symbols, invisibles go."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        self[code] = None if category[0] in "PS" or category == "Cf" else code
        return self[code]


_STRIP = _Strip()


def normalise(text: str) -> list[str]:
    """Words of a text: NFKC, lower case, punctuation deleted, split at white space.

    Deleted, not replaced by a space: "don't" is one word. Punctuation is every character of the
    Unicode categories P (punctuation), S (symbols) and Cf (invisible, such as soft hyphens).
    """
    return unicodedata.normalize("NFKC", text).lower().translate(_STRIP).split()


@dataclass(frozen=True)
class Encoded:
    """Texts as word ids. ids: int32 [words]; offsets: int64 [texts + 1], text t = ids[o[t]:o[t+1]]."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    def followed_by(self, others: Encoded) -> Encoded:
        """These texts, then others of the same vocabulary."""
        offsets = np.concatenate([self.offsets, self.offsets[-1] + others.offsets[1:]])
        return Encoded(np.concatenate([self.ids, others.ids]), offsets)


class Vocabulary:
    """Numbers words as they are met; texts are comparable if one vocabulary encoded them."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._words: list[str] = []

    def encode(self, texts: Iterable[str]) -> Encoded:
        parts, offsets = [np.zeros(0, np.int32)], [0]
        for text in texts:
            ids = np.fromiter((self._id(w) for w in normalise(text)), np.int32)
            parts.append(ids)
            offsets.append(offsets[-1] + len(ids))
        return Encoded(np.concatenate(parts), np.asarray(offsets, np.int64))

    def _id(self, word: str) -> int:
        found = self._ids.get(word)
        if found is None:
            found = self._ids[word] = len(self._words)
            self._words.append(word)
        return found

    def words(self, ids: Iterable[int]) -> str:
        return " ".join(self._words[i] for i in ids)


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


@dataclass(frozen=True)
class Overlap:
    """What two sets of texts share (D searched documents, T texts of the benchmark side).

    doc_text: int64 [D], the first benchmark text that holds the document's first shared n-gram; -1
    if it shares none. doc_start: int64 [D], where in the document (in words) that n-gram begins, or -1.
    text_hit: bool [T], whether the text has an n-gram that some document has.
    distinct: different n-grams on the benchmark side. too_short: its texts of fewer than n words.
    """

    doc_text: NDArray[np.int64]
    doc_start: NDArray[np.int64]
    text_hit: NDArray[np.bool_]
    distinct: int
    too_short: int


def rolling_hash(ids: NDArray[np.int32], n: int) -> NDArray[np.uint64]:
    """64-bit polynomial hash of each window of n ids: uint64 [len(ids) - n + 1], wrapping."""
    mixed = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    windows = len(ids) - n + 1
    h = np.zeros(windows, np.uint64)
    for j in range(n):
        h *= np.uint64(0xD6E8FEB86659FD93)
        h += mixed[j : j + windows]
    return h


def _starts(texts: Encoded, first: int, last: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start positions of the n-grams of texts first..last-1, and the text of each (none crosses)."""
    counts = np.maximum(texts.lengths()[first:last] - n + 1, 0)
    owner = np.repeat(np.arange(first, last), counts)
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


def shared(docs: Encoded, texts: Encoded, n: int, *, hasher: Hasher = rolling_hash) -> Overlap:
    """Find every n-gram that `docs` and `texts` (of one vocabulary) share; see Overlap."""
    if n < 1:
        raise ValueError(f"an n-gram has at least one word, not {n}")
    doc_text = np.full(len(docs), -1, np.int64)
    doc_start = np.full(len(docs), -1, np.int64)
    text_hit = np.zeros(len(texts), np.bool_)
    too_short = int((texts.lengths() < n).sum())
    at, owner = _starts(texts, 0, len(texts), n)
    if not len(at):
        return Overlap(doc_text, doc_start, text_hit, 0, too_short)
    hashes = hasher(texts.ids, n)[at]
    order = np.argsort(hashes, kind="stable")
    hashes, at, owner = hashes[order], at[order], owner[order]
    # one gram per run of equal n-grams; if a collision interleaves two n-grams in a run, both get
    # several grams, which costs time only: every gram in the run is compared below
    new = np.ones(len(at), np.bool_)
    new[1:] = (hashes[1:] != hashes[:-1]) | ~_same(texts.ids, at[1:], texts.ids, at[:-1], n)
    gram_of = np.cumsum(new) - 1
    gram_hash, gram_at, gram_owner = hashes[new], at[new], owner[new]
    gram_hit = np.zeros(len(gram_at), np.bool_)
    for first, last in _chunks(docs):
        here, doc = _starts(docs, first, last, n)
        if not len(here):
            continue
        base = docs.offsets[first]
        query = hasher(docs.ids[base : docs.offsets[last]], n)[here - base]
        low = np.searchsorted(gram_hash, query, side="left")
        count = np.searchsorted(gram_hash, query, side="right") - low
        pair = np.repeat(np.arange(len(here)), count)
        gram = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + low[pair]
        true = _same(docs.ids, here[pair], texts.ids, gram_at[gram], n)
        pair, gram = pair[true], gram[true]
        gram_hit[gram] = True
        hit_docs, where = np.unique(doc[pair], return_index=True)  # pairs ascend: the first hit
        doc_start[hit_docs] = here[pair[where]] - docs.offsets[hit_docs]
        doc_text[hit_docs] = gram_owner[gram[where]]
    text_hit[owner[gram_hit[gram_of]]] = True
    return Overlap(doc_text, doc_start, text_hit, len(gram_at), too_short)


def _chunks(docs: Encoded) -> Iterable[tuple[int, int]]:
    """Ranges of whole documents of about _CHUNK words each."""
    first = 0
    while first < len(docs):
        last = int(np.searchsorted(docs.offsets, docs.offsets[first] + _CHUNK, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def shares_ngram(texts: Sequence[str], others: Iterable[str], n: int) -> list[bool | None]:
    """Whether each text shares a word n-gram with any of `others`; None: it has fewer than n words."""
    vocabulary = Vocabulary()
    encoded = vocabulary.encode(texts)
    hit = shared(encoded, vocabulary.encode(others), n).doc_text >= 0
    return [None if m < n else bool(h) for h, m in zip(hit, encoded.lengths(), strict=True)]
