"""Does a window stand in the synthetic corpus? Held-out windows are those that share no n-gram with it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from resurface import progress

NGRAM = 8  # words; the default of the benchmark audit
_WORD = re.compile(r"[^\W_]+")


def shares_ngram(table: pa.Table, tokenizer: Any, corpus_texts: Sequence[str] | None) -> list[bool | None]:
    """Does each window's text share a word n-gram with the corpus? None = cannot be said."""
    if corpus_texts is None:
        return [None] * len(table)
    wanted = [_ngrams(tokenizer.decode(ids)) for ids in table["token_ids"].to_pylist()]
    # the windows' n-grams are held, the corpus streams by: memory does not grow with the corpus
    index = set().union(*wanted)
    found: set[str] = set()
    with progress.task("overlap with the corpus", len(corpus_texts), "documents") as bar:
        for text in corpus_texts:
            found |= _ngrams(text) & index
            bar.advance()
    return [not grams.isdisjoint(found) if grams else None for grams in wanted]


def _ngrams(text: str) -> set[str]:
    """Word n-grams; words are runs of letters and digits after NFKC and lower case."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).lower())
    return {" ".join(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1)}
