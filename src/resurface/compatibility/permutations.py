"""Exact tests of contrasts by relabelling models, with their families respected (METHODS D).

    self against same lineage   sources are permuted inside families: which of them is the student's own?
    same lineage against other  family labels are permuted jointly over models, in both roles
    self against other          where no two models are of one lineage: all sources are permuted

Under the null any relabelling would have been as likely. Source and student effects are out of the statistic,
and a relabelling keeps them out. One-sided: the nearer text is better.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.contrasts import Gains, weights
from resurface.compatibility.grid import Lineages
from resurface.stats.reasons import Reason, Unmeasured

MOST = 40_000
"""Relabellings that are all taken; of more, DRAWN are taken at random."""
DRAWN = 5_000
TESTED = ("self_vs_same_lineage", "same_lineage_vs_other", "self_vs_other")


@dataclass(frozen=True)
class Relabellings:
    """The weights of a contrast under every relabelling."""

    weights: Gains
    """[relabellings, S x T]; the first as the models are."""
    exact: bool
    """Whether these are all, each once."""

    def p(self, gains: Gains) -> float:
        """Share of relabellings whose contrast is at least as large; gains [S, T]."""
        found = self.weights @ gains.ravel()
        rounding = 1e-12 * float(np.abs(self.weights[0]).sum() * np.abs(gains).max())
        return float((found >= found[0] - rounding).mean())

    @property
    def smallest_p(self) -> float:
        """The least that any gains can reach."""
        return float((np.abs(self.weights - self.weights[0]).max(1) < 1e-9).mean())


def relabel(lineages: Lineages, name: str, *, most: int = MOST, seed: int = 0) -> Relabellings:
    """Every distinct relabelling that the contrast is tested by; DRAWN random ones where there are
    more than `most`.

    Raises:
        Unmeasured: the contrast cannot be estimated, or nothing can be exchanged.
    """
    w = weights(lineages, name)
    if w is None:
        raise Unmeasured(Reason.CONFOUNDED)
    rng = np.random.default_rng(seed)
    if name == "same_lineage_vs_other":
        orders, exact = _joint(lineages, most, rng)
        moved = np.array([w[np.ix_(rows, columns)].ravel() for rows, columns in orders])
    else:
        groups = _exchangeable(lineages, name)
        if not any(len(g) > 1 for g in groups):
            raise Unmeasured(Reason.NOTHING_TO_EXCHANGE)
        sources, exact = _inside(groups, most, rng)
        moved = w[sources].reshape(len(sources), -1)
    if exact:  # relabellings that change nothing come up together: each is counted once
        _, first = np.unique(np.round(moved / np.abs(w).max(), 9), axis=0, return_index=True)
        moved = moved[np.sort(first)]
    return Relabellings(moved, exact)


def _exchangeable(lineages: Lineages, name: str) -> list[list[int]]:
    """Sources by what they are to all students, where self counts as the relation that it is compared
    with."""
    if name == "self_vs_other" and (lineages.relation == "kin").any():
        raise Unmeasured(Reason.ONE_LINEAGE_TO_EXCHANGE)
    near = "kin" if name == "self_vs_same_lineage" else "other"
    groups: dict[tuple[str, ...], list[int]] = {}
    for s, row in enumerate(np.where(lineages.relation == "self", near, lineages.relation)):
        groups.setdefault(tuple(row.tolist()), []).append(s)
    return list(groups.values())


def _inside(
    groups: Sequence[Sequence[int]], most: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], bool]:
    """Orders of the sources [orders, S] that keep every group in its places, the identity first."""
    n = sum(map(len, groups))

    def order(parts: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        found = np.zeros(n, np.int64)
        for places, part in zip(groups, parts, strict=True):
            found[list(places)] = part
        return found

    if math.prod(math.factorial(len(g)) for g in groups) <= most:
        every = itertools.product(*(itertools.permutations(g) for g in groups))
        return np.array([order(parts) for parts in every]), True
    drawn = [order([rng.permutation(g).tolist() for g in groups]) for _ in range(min(most, DRAWN))]
    return np.array([np.arange(n), *drawn]), False


Order = tuple[NDArray[np.int64], NDArray[np.int64]]


def _joint(lineages: Lineages, most: int, rng: np.random.Generator) -> tuple[list[Order], bool]:
    """Relabellings of the models of each role (source, student, both), as orders of sources and students.

    Models that can be exchanged without changing any relation (those of one family, those alone) make one
    class; only assignments of classes to places are distinguished.
    """
    models = list(dict.fromkeys((*lineages.sources, *lineages.students)))
    row = {m: i for i, m in enumerate(lineages.sources)}
    column = {m: i for i, m in enumerate(lineages.students)}
    whole = np.full((len(models), len(models)), "-", dtype=object)
    for (i, a), (j, b) in itertools.product(enumerate(models), repeat=2):
        if a in row and b in column:
            whole[i, j] = lineages.relation[row[a], column[b]]
    roles: dict[tuple[bool, bool], list[int]] = {}
    for i, m in enumerate(models):
        roles.setdefault((m in row, m in column), []).append(i)
    classes = _classes(whole, roles.values())

    def as_order(of: NDArray[np.int64]) -> Order:
        return (
            np.array([row[models[of[models.index(s)]]] for s in lineages.sources]),
            np.array([column[models[of[models.index(t)]]] for t in lineages.students]),
        )

    labels = [[classes[i] for i in group] for group in roles.values()]
    count = math.prod(
        math.factorial(len(x)) // math.prod(map(math.factorial, Counter(x).values())) for x in labels
    )
    found = []
    if count <= most:
        for parts in itertools.product(*(_arrangements(x) for x in labels)):
            of = np.zeros(len(models), np.int64)
            for places, part in zip(roles.values(), parts, strict=True):
                stock = {c: iter([i for i in places if classes[i] == c]) for c in set(part)}
                of[places] = [next(stock[c]) for c in part]
            found.append(as_order(of))
        return found, True
    identity = np.arange(len(models))
    found.append(as_order(identity))
    for _ in range(min(most, DRAWN)):
        of = identity.copy()
        for places in roles.values():
            of[places] = rng.permutation(places)
        found.append(as_order(of))
    return found, False


def _classes(whole: NDArray[np.object_], roles: Iterable[Sequence[int]]) -> list[int]:
    """A class per model: of one class are models whose exchange changes nothing."""
    found = [-1] * len(whole)
    for group in roles:
        for i in group:
            if found[i] < 0:
                found[i] = i
            for j in group:
                if found[j] < 0 and _alike(whole, i, j):
                    found[j] = found[i]
    return found


def _alike(whole: NDArray[np.object_], i: int, j: int) -> bool:
    order = np.arange(len(whole))
    order[[i, j]] = order[[j, i]]
    return bool((whole[np.ix_(order, order)] == whole).all())


def _arrangements(labels: Sequence[int]) -> Iterator[list[int]]:
    """Distinct orders of labels, the given one first."""
    if not labels:
        yield []
        return
    for first in dict.fromkeys(labels):
        left = list(labels)
        left.remove(first)
        for rest in _arrangements(left):
            yield [first, *rest]
