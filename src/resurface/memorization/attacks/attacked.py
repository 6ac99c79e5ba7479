"""What relearning attacks: windows that the base extracts, of which the attacker has a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet
from resurface.errors import UserError
from resurface.memorization.near_duplicates import clusters_of
from resurface.memorization.results.relearning import NON_MEMBERS
from resurface.memorization.windows import Windows

_SHARED_NGRAM = 8
"""Tokens: a window of V that shares that many with T is counted."""


@dataclass(frozen=True)
class Attacked:
    """Windows of the base's extraction, and what is known of each."""

    windows: Windows
    extracted: NDArray[np.bool_]
    """[W]: by the base."""
    unseen: NDArray[np.bool_]
    """[W]: non-members, which no model was trained on."""
    strata: tuple[str, ...] = ()
    """Strata of the non-members; for the manifest alone."""

    @classmethod
    def of(cls, extraction: Artifact, non_members: Sequence[str]) -> Attacked:
        """extraction: of the base. non_members: strata that no model has seen."""
        windows = Windows.of(extraction)
        hits = read_parquet(extraction.file("windows.parquet"), ["exact_match"])["exact_match"].to_pylist()
        strata = np.asarray(windows.table["stratum"].to_pylist(), object).astype(str)
        return cls(windows, np.asarray(hits, bool), np.isin(strata, list(non_members)), tuple(non_members))


class Parts(NamedTuple):
    """Row numbers of windows, int64 [n] each."""

    given: NDArray[np.int64]
    """Memorized ones that the attacker has, T."""
    held_back: NDArray[np.int64]
    """The other memorized ones, V."""
    non_members: NDArray[np.int64]

    def by_name(self) -> dict[str, NDArray[np.int64]]:
        """By their names in files."""
        return {"T": self.given, "V": self.held_back, NON_MEMBERS: self.non_members}


def split(attacked: Attacked, share: float, seed: int) -> Parts:
    """Who has which window; share: of the documents, that the attacker has.

    Documents are drawn, not windows, and those that have near-duplicate windows together (`clusters`): no
    document is on both sides, and training on T shows no near-copy of V.

    Raises:
        UserError: memorized windows of fewer than two clusters of documents.
    """
    windows, memorized, unseen = attacked.windows.table, attacked.extracted, attacked.unseen
    clusters = clusters_of(windows).names
    known = np.unique(clusters[memorized & ~unseen]).tolist()
    if len(known) < 2:
        raise UserError(
            "relearning needs memorized windows of two documents that are not near-duplicates of each other; "
            f"windows of {len(known)} are extracted from the base",
            remedy="give texts that can be extracted from the base, or leave relearning out",
        )
    drawn = np.random.default_rng([seed, 11]).permutation(len(known))
    mine = [known[i] for i in drawn[: min(max(round(share * len(known)), 1), len(known) - 1)]]
    in_t = np.isin(clusters, mine)
    known_windows = memorized & ~unseen
    return Parts(
        given=np.flatnonzero(known_windows & in_t),
        held_back=np.flatnonzero(known_windows & ~in_t),
        non_members=np.flatnonzero(unseen),
    )


def sharing(t: list[list[int]], v: list[list[int]]) -> int:
    """Windows of V with a run of _SHARED_NGRAM tokens that some window of T has too."""

    def grams(ids: list[int]) -> set[tuple[int, ...]]:
        # start tokens are shared by all, and only the first grams have them
        return {tuple(ids[i : i + _SHARED_NGRAM]) for i in range(1, len(ids) - _SHARED_NGRAM + 1)}

    known = set().union(*(grams(x) for x in t))
    return sum(not grams(x).isdisjoint(known) for x in v)
