"""Which windows count the same thing twice: clusters, for intervals of what is counted over windows.

    windows of one document                        move together: drawn together
    near-duplicates in several documents           one memory, met again: drawn together, counted once

Licences, news agencies and book editions put one passage into many documents. Were those documents drawn for
themselves, a corpus with every text twice would seem to know twice as much. Windows are near-duplicates here
if each shares at least half of its distinct token 8-grams with the other: a passage cut a few tokens later
does, and so does one with a few words changed. Sharing a little with very many windows, as filled-in
templates do, makes no near-duplicate, however common what is shared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from resurface.data.ngrams import rolling_hash

NGRAM = 8
"""Tokens; of shorter windows, all of them."""
SHARE = 0.5
"""Of the distinct n-grams of either window; the larger set decides, so that a window of one repeated token,
which has one n-gram, is not the double of every window that has this n-gram too."""


@dataclass(frozen=True)
class Clusters:
    """names [W]: cluster of each window, called after the first of its documents in sorted order: where there
    are no near-duplicates it is the document. groups [W]: a number per group of near-duplicates; windows of
    one document share a group only by a near-duplicate in another."""

    names: NDArray[np.str_]
    groups: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Clusters:
        """Of some of the windows: indices, or a mask [W]."""
        return Clusters(self.names[rows], self.groups[rows])

    def counts(self) -> dict[str, int]:
        """clusters; near_duplicates: windows beyond the first of each group."""
        return {
            "clusters": len(set(self.names.tolist())),
            "near_duplicates": len(self.groups) - len(set(self.groups.tolist())),
        }


def clusters_of(windows: pa.Table, order: Sequence[str] | None = None) -> Clusters:
    """Clusters of the windows of an extraction (window_id, doc_id, token_ids; all of one length).

    order: window ids, for some of them, or in another order. Near-duplication is between all windows of the
    table all the same: two windows may be tied by a third that is left out. What the last few tables gave is
    kept, since every comparison of a verdict asks about the same one.
    """
    ids = np.asarray(windows["token_ids"].to_pylist(), np.int32)
    found = _remembered(ids.tobytes(), ids.shape, tuple(windows["doc_id"].to_pylist()))
    if order is None:
        return found
    place = {w: i for i, w in enumerate(windows["window_id"].to_pylist())}
    return found.take(np.asarray([place[w] for w in order], np.int64))


@lru_cache(maxsize=4)
def _remembered(ids: bytes, shape: tuple[int, ...], docs: tuple[str, ...]) -> Clusters:
    found = cluster_windows(np.frombuffer(ids, np.int32).reshape(shape), docs)
    for shared in (found.names, found.groups):
        shared.flags.writeable = False
    return found


def of_documents(docs: Sequence[str]) -> Clusters:
    """Clusters where near-duplication is unknown: each document is one, each window counts."""
    return Clusters(np.asarray(docs, object).astype(str), np.arange(len(docs)))


def cluster_windows(token_ids: ArrayLike, docs: Sequence[str]) -> Clusters:
    """Clusters of windows by document and near-duplication; token_ids [W, L], docs: a name per window.

    Both relations are closed transitively. Near-linear in W unless many windows of different documents share
    close to half of their n-grams with each other and not more.
    """
    ids = np.asarray(token_ids, np.int32)
    names = np.asarray(docs, object).astype(str)
    known, document = np.unique(names, return_inverse=True)
    groups = _near_duplicates(ids, document) if len(ids) else np.zeros(0, np.int64)
    joined = _Forest(len(known))
    for window, first in enumerate(groups.tolist()):
        joined.join(int(document[window]), int(document[first]))
    return Clusters(known[joined.roots()][document], groups)


def _near_duplicates(ids: NDArray[np.int32], document: NDArray[np.int64]) -> NDArray[np.int64]:
    """[W]: the first window of each window's group; document [W]: a number per document.

    If two sets share at least t elements, then they share one among the |x| - t + 1 rarest of each (prefix
    filtering: Chaudhuri, Ganti and Kaushik, ICDE 2006). So only windows that have one of their rarer n-grams
    in common are compared, and an n-gram that is everywhere proposes only windows that consist of such.
    Windows already known to be of one group are not compared again: a copy costs one comparison. Windows of
    one document are not compared with each other, nor is an n-gram looked at that one document has alone.
    """
    owner, gram, frequency = _distinct(ids)
    size = np.bincount(owner, minlength=len(ids))
    least = np.ceil(SHARE * size).astype(np.int64)
    rank = np.arange(len(owner)) - (np.cumsum(size) - size)[owner]
    common = frequency[gram] > 1
    ends = np.cumsum(np.bincount(owner[common], minlength=len(ids)))[:-1]
    shared = [frozenset(x.tolist()) for x in np.split(gram[common], ends)]

    def near(x: int, y: int) -> bool:
        enough = SHARE * max(size[x], size[y])
        return bool(len(shared[x] & shared[y]) >= enough)

    asked = common & (rank < (size - least + 1)[owner])
    owner, gram = owner[asked], gram[asked]
    order = np.lexsort((document[owner], gram))
    owner, gram = owner[order], gram[order]
    joined, of = _Forest(len(ids)), document.tolist()
    for windows in np.split(owner, np.flatnonzero(np.diff(gram)) + 1):
        if len(windows) and document[windows[0]] != document[windows[-1]]:
            _join_near(windows.tolist(), of, joined, near)
    return joined.roots()


def _distinct(ids: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(owner, gram) of each distinct n-gram of each window, by window, rarest first; how many have it [G].

    An n-gram is known by its 64-bit hash: no single n-gram decides, so that a collision would not matter.
    """
    w, length = ids.shape
    n = min(NGRAM, length)
    at = (np.arange(w)[:, None] * length + np.arange(length - n + 1)).ravel()  # none crosses two windows
    _, gram = np.unique(rolling_hash(ids.ravel(), n)[at], return_inverse=True)
    kinds = int(gram.max()) + 1
    pairs = np.unique(np.repeat(np.arange(w), length - n + 1) * kinds + gram)
    owner, gram = np.divmod(pairs, kinds)
    frequency = np.bincount(gram)
    order = np.lexsort((gram, frequency[gram], owner))
    return owner[order], gram[order], frequency


def _join_near(
    windows: list[int], document: list[int], joined: _Forest, near: Callable[[int, int], bool]
) -> None:
    """Join what is near among windows that have an n-gram in common; they come document by document."""
    trees: dict[int, list[int]] = {}  # root -> windows of the documents so far
    for _, group in groupby(windows, document.__getitem__):
        same = list(group)
        for w in same:
            own = joined.root(w)
            found = [r for r, tree in trees.items() if r != own and any(near(w, m) for m in tree)]
            if not found:
                continue
            together = trees.pop(own, [])
            for root in found:
                joined.join(w, root)
                together += trees.pop(root)
            trees[joined.root(w)] = together
        for w in same:
            trees.setdefault(joined.root(w), []).append(w)


class _Forest:
    """Union-find over 0..n-1; the root of a tree is its smallest element."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def root(self, x: int) -> int:
        parent = self._parent
        while parent[x] != x:
            parent[x] = x = parent[parent[x]]
        return x

    def join(self, x: int, y: int) -> None:
        a, b = sorted((self.root(x), self.root(y)))
        self._parent[b] = a

    def roots(self) -> NDArray[np.int64]:
        return np.asarray([self.root(x) for x in range(len(self._parent))], np.int64)
