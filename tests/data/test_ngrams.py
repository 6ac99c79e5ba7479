"""Exact n-gram search against sets of tuples."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audited import grams, nasty
from resurface.data.ngrams import Index, Vocabulary, seams, shares_ngram, window_hash
from resurface.data.words import normalise, utf8, words


def constant(hashes: np.ndarray, n: int) -> np.ndarray:
    """The worst hash there is: everything collides, so only the verification decides."""
    return np.zeros(len(hashes) - n + 1, np.uint64)


texts_ = st.lists(st.lists(st.sampled_from("abc"), max_size=12).map(" ".join) | nasty, max_size=6)


@given(docs=texts_, texts=texts_, n=st.integers(1, 4), hasher=st.sampled_from([window_hash, constant]))
def test_search_equals_sets(docs: list[str], texts: list[str], n: int, hasher) -> None:
    v = Vocabulary()
    index = Index(v, v.encode(texts), n, hasher=hasher)
    theirs = [grams(t, n) for t in texts]
    every = {g for t in theirs for g in t}
    assert index.grams == len(every)
    named = [tuple(index.gram(g).split()) for g in range(index.grams)]
    assert set(named) == every
    owners = sorted((named[g], t) for g, t in zip(index.gram_of, index.owner, strict=True))
    assert owners == sorted((g, t) for t, of in enumerate(theirs) for g in of)
    searched = words([utf8(d) for d in docs])
    hits = index.search(searched)
    expected = [(d, i, g) for d, doc in enumerate(docs) for i, g in enumerate(grams(doc, n)) if g in every]
    at = hits.at - searched.offsets[hits.text]
    found = zip(hits.text.tolist(), at.tolist(), hits.gram.tolist(), strict=True)
    assert [(d, i, named[g]) for d, i, g in found] == expected


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(1, 20))
def test_window_hash_is_the_polynomial(values: list[int], n: int) -> None:
    if len(values) < n:
        return
    slow = [0] * (len(values) - n + 1)
    for i in range(len(slow)):
        for v in values[i : i + n]:
            slow[i] = (slow[i] * 0xD6E8FEB86659FD93 + v) % 2**64
    assert window_hash(np.array(values, np.uint64), n).tolist() == slow


words_ = st.lists(st.sampled_from("abc"), max_size=7).map(" ".join)


@given(a=words_, b=words_, n=st.integers(1, 5))
def test_seams_are_what_two_texts_have_only_together(a: str, b: str, n: int) -> None:
    v = Vocabulary()
    found, of = seams(v.encode([a, b]), [(0, 1), (1, 0)], n)
    texts = [v.words(found.ids[i:j].tolist()) for i, j in pairwise(found.offsets)]
    got = {of_: grams(t, n) for of_, t in zip(of.tolist(), texts, strict=True)}
    for first, (one, other) in enumerate(((a, b), (b, a))):
        edge = len(normalise(one))
        spanning = [g for i, g in enumerate(grams(f"{one} {other}", n)) if i < edge < i + n]
        assert got.get(first, []) == spanning


def test_shares_ngram_says_when_it_cannot_say() -> None:
    found = shares_ngram(["a b c d", "x y z w", "a b"], ["0 a b c 1"], 3)
    assert found == [True, False, None]
    assert shares_ngram(["a b c"], [], 3) == [False]
