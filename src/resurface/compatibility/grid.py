"""The gains of a source x student matrix as one array, with how its models are related.

Built once, of cells that were measured or stored, and handed down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.results import PairGain

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lineages:
    """The models of a matrix in their roles, and how they are related."""

    sources: tuple[str, ...]
    """S of them: whose text is trained on."""
    students: tuple[str, ...]
    """T of them: who is trained."""
    relation: NDArray[np.str_]
    """[S, T]: self, kin (same lineage), other or unknown."""

    def of_student(self, t: int) -> Lineages:
        """Without this student."""
        keep = [j for j in range(len(self.students)) if j != t]
        return Lineages(self.sources, tuple(self.students[j] for j in keep), self.relation[:, keep])

    def families(self) -> tuple[list[str], list[str]]:
        """A label per source and per student: the first name among those that are self or kin, directly or
        through others."""
        label = {m: m for m in (*self.sources, *self.students)}
        for s, t in np.argwhere(np.isin(self.relation, ("self", "kin"))):
            one, other = sorted((label[self.sources[s]], label[self.students[t]]))
            label = {m: one if x == other else x for m, x in label.items()}
        return [label[s] for s in self.sources], [label[t] for t in self.students]

    def filled(self, values: Mapping[tuple[str, str], float | None]) -> Matrix:
        """(source, student) -> value, as [S, T]; NaN where there is none."""
        found = [[values.get((s, t)) for t in self.students] for s in self.sources]
        return np.array(found, np.float64).reshape(self.relation.shape)


@dataclass(frozen=True, eq=False)
class GainGrid(Lineages):
    """Models in their roles, and the gain of every pair on every subset.

    Raises:
        ValueError: shapes that do not fit.
    """

    gains: NDArray[np.float64]
    """[S, T, K], as a share of the score (0.01 is a point): mean over tasks and items after training minus
    before. Subset k of a source is the same for all students."""

    def __post_init__(self) -> None:
        shape = len(self.sources), len(self.students)
        if self.relation.shape != shape or self.gains.shape[:2] != shape or self.gains.ndim != 3:
            found = f"{self.relation.shape} relations and {self.gains.shape} gains"
            raise ValueError(f"{shape} pairs, but {found}")

    @cached_property
    def mean(self) -> Matrix:
        """[S, T]: over subsets."""
        return np.asarray(self.gains.mean(2))

    def part(self, s: NDArray[np.int64], t: NDArray[np.int64]) -> GainGrid:
        """Of these sources and students only, by index."""
        sources, students = (tuple(of[i] for i in at) for of, at in ((self.sources, s), (self.students, t)))
        return GainGrid(sources, students, self.relation[np.ix_(s, t)], self.gains[np.ix_(s, t)])

    @classmethod
    def of(cls, pairs: Iterable[PairGain]) -> Self:
        """Every source for every student, in whatever order; K is 1 where the gains of subsets were not kept.

        Raises:
            ValueError: a pair is missing.
        """
        by_pair = {(p.source, p.student): p for p in pairs}
        sources, students = (tuple(dict.fromkeys(names)) for names in zip(*by_pair, strict=True))
        if missing := [(s, t) for s in sources for t in students if (s, t) not in by_pair]:
            raise ValueError(f"no gain of {missing[0][0]} for {missing[0][1]}")
        rows = [[by_pair[s, t] for t in students] for s in sources]
        relation = np.array([[p.relation for p in row] for row in rows])
        return cls(sources, students, relation, np.array([[_subsets(p) for p in row] for row in rows], float))

    @classmethod
    def unnamed(cls, gains: NDArray[np.float64], relation: NDArray[np.str_] | None = None) -> Self:
        """Of simulated models; relation [S, T] (default: all other)."""
        s, t, _ = gains.shape
        given = np.full((s, t), "other") if relation is None else relation
        return cls(_names("s", s), _names("t", t), given, gains)


def _subsets(pair: PairGain) -> Sequence[float | None]:
    return pair.subsets if pair.subsets is not None else (pair.gain.value,)


def _names(of: str, n: int) -> tuple[str, ...]:
    return tuple(f"{of}{i}" for i in range(n))
