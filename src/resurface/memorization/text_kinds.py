"""What a window's text is: a continuation that repeats, or counts on, needs no learning.

    repeating    every token of the suffix is the one some p tokens before it, p at most the prefix: what
                 the prefix ends with goes on
    templated    a pattern filled with numbers that count: words and signs of the suffix are those one period
                 before and two periods before, numbers go on in equal steps, and some step is not 0
    other        neither: to repeat it is to remember it

The two are what "Recite, Reconstruct, Recollect" (Prashanth et al. 2024, arXiv 2406.17746; the code is called
semantic-memorization) calls reconstruction: repeating and incrementing sequences. Its filters look for them
anywhere in the window; here the prefix has to hold what the suffix goes on with, for that is what makes the
suffix predictable. A list that counts before texts of its own ("1. Apples 2. Pears") is therefore `other`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet

KINDS = ("templated", "repeating", "other")
_PIECE = re.compile(r"\d+(?:\.\d+)?|[^\W\d]+|\s+|[^\w\s]")  # numbers, words, white space, signs


def kinds(windows: pa.Table, prefix: int, decode: Callable[[Sequence[int]], str]) -> list[str]:
    """Of each window (token_ids), one of KINDS; prefix: tokens of it that are given; decode: ids to text."""
    return [_kind(ids, prefix, decode) for ids in windows["token_ids"].to_pylist()]


def read_kinds(extraction: Artifact) -> NDArray[np.str_] | None:
    """[W] of an extract artifact, in the order of its windows; None of one that was made before there were
    any."""
    if "kinds" not in extraction.counts:
        return None
    table = read_parquet(extraction.file("windows.parquet"), ["kind"])
    return np.asarray(table["kind"].to_pylist(), object).astype(str)


def _kind(ids: list[int], prefix: int, decode: Callable[[Sequence[int]], str]) -> str:
    if any(ids[prefix:] == ids[prefix - p : len(ids) - p] for p in range(1, prefix + 1)):
        return "repeating"
    return "templated" if counts_on(decode(ids), len(decode(ids[:prefix]))) else "other"


def counts_on(text: str, given: int) -> bool:
    """Whether `text` goes on, behind its first `given` characters, as a pattern with counting numbers does.

    Its first and last piece may be cut off, and are left out.
    """
    pieces = [m.group() for m in _PIECE.finditer(text)]
    ends = [m.end() for m in _PIECE.finditer(text)]
    first = next((i for i, end in enumerate(ends) if end > given), len(pieces))
    asked = range(first, len(pieces) - 1)
    return len(asked) > 0 and any(_follows(pieces, asked, p) for p in range(1, (first - 1) // 2 + 1))


def _follows(pieces: list[str], asked: range, p: int) -> bool:
    """Each asked-for piece follows from those p and 2 p before it, and some number has changed."""
    changed = False
    for i in asked:
        before, last, now = pieces[i - 2 * p], pieces[i - p], pieces[i]
        if before[0].isdecimal() and last[0].isdecimal() and now[0].isdecimal():
            step = Fraction(last) - Fraction(before)
            if Fraction(now) - Fraction(last) != step:
                return False
            changed |= step != 0
        elif not before == last == now:
            return False
    return changed
