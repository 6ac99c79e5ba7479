"""Exact word n-gram matching at scale: 64-bit rolling hashes find candidates, words confirm them.

Normalisation (of both sides): Unicode NFKC, lower case, every character that is neither letter,
digit nor white space removed, split on white space. "U.S." is thus the word "us".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_DROP = re.compile(r"[^\w\s]|_")
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so multiplication is a bijection modulo 2^64


def words(text: str) -> list[str]:
    """The normalised words of a text."""
    return _DROP.sub("", unicodedata.normalize("NFKC", text).lower()).split()


class NgramIndex:
    """The n-grams of a corpus (the smaller side, held in memory), to be asked about other texts."""

    def __init__(self, corpus: Iterable[str], n: int) -> None:
        """corpus: documents in order. n: words per n-gram (8 here; 13 in GPT-3's audit)."""
        if n < 1:
            raise ValueError(f"n must be positive, not {n}")
        self.n = n
        self._ids: dict[str, int] = {}
        docs = [
            np.array([self._ids.setdefault(w, len(self._ids)) for w in words(t)], np.int64) for t in corpus
        ]
        hashes = [_hashes(d, n) for d in docs]
        self._docs = docs
        lengths = [len(h) for h in hashes]
        flat = np.concatenate(hashes) if hashes else np.zeros(0, np.uint64)
        order = np.argsort(flat, kind="stable")  # stable: the earliest document comes first
        self._hash = flat[order]
        self._doc = np.repeat(np.arange(len(docs)), lengths)[order]
        self._at = np.concatenate([np.arange(k) for k in lengths] or [np.zeros(0, np.int64)])[order]

    def matches(self, text: str) -> list[tuple[int, str]]:
        """(document, n-gram) for every document that shares an n-gram with `text`: its first one."""
        ids = np.array([self._ids.get(w, -1) for w in words(text)], np.int64)
        found: dict[int, str] = {}
        hashes = _hashes(ids, self.n)
        low = np.searchsorted(self._hash, hashes, "left")
        high = np.searchsorted(self._hash, hashes, "right")
        for i in np.flatnonzero(high > low):
            gram = ids[i : i + self.n]
            if (gram < 0).any():  # a word that the corpus does not have
                continue
            for j in range(low[i], high[i]):
                doc, at = int(self._doc[j]), int(self._at[j])
                if doc not in found and (self._docs[doc][at : at + self.n] == gram).all():
                    found[doc] = " ".join(self._word(k) for k in gram)
        return sorted(found.items())

    def ngrams_in(self, text: str) -> int:
        """How many n-grams a text has; 0 means it is too short to be audited."""
        return max(len(words(text)) - self.n + 1, 0)

    def _word(self, i: int) -> str:
        if not hasattr(self, "_words"):
            self._words = list(self._ids)
        return self._words[i]


def _hashes(ids: NDArray[np.int64], n: int) -> NDArray[np.uint64]:
    """Polynomial hash of every n-gram of word ids [L] -> [max(L - n + 1, 0)]."""
    count = len(ids) - n + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    mixed = (ids + 2).astype(np.uint64) * np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    out = np.zeros(count, np.uint64)
    for k in range(n):
        out = out * _BASE + mixed[k : k + count]
    return out


def share_ngram(texts: Sequence[str], corpus: Iterable[str], n: int = 8) -> list[bool]:
    """For each text: does it share a word n-gram with any document of the corpus?"""
    index = NgramIndex(corpus, n)
    return [bool(index.matches(t)) for t in texts]
