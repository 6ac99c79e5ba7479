"""Gains of a source x student matrix, and whether they depend on the pair (METHODS D).

A gain is the student's score after training on the source's text minus its score before, paired by
item. Every task weighs the same, however many items it has. Intervals are percentile bootstraps over
items, nested in subsets: the same items are drawn for all cells, since all cells answer them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
Masks = tuple[NDArray[np.bool_], NDArray[np.bool_]]


@dataclass(frozen=True)
class Cell:
    """One source for one student.

    relation: self, kin, other, or unknown, which is neither kin nor other. differences: task -> [subsets,
    items], after minus before; the items of a task are the same in every cell.
    """

    source: str
    student: str
    relation: str
    differences: Mapping[str, NDArray[np.float64]]

    @property
    def gain(self) -> float:
        """Mean over tasks of the mean over subsets and items, in units of the score."""
        return float(np.mean([d.mean() for d in self.differences.values()]))


def cell(
    source: str,
    student: str,
    relation: str,
    before: Mapping[str, Mapping[int, float]],
    after: Sequence[Mapping[str, Mapping[int, float]]],
) -> Cell:
    """Pair the scores of one student before, and after each subset: task -> item -> score.

    Raises:
        ValueError: another set of tasks or items.
    """
    differences = {}
    for task, items in before.items():
        if any(scores.keys() != before.keys() or scores[task].keys() != items.keys() for scores in after):
            raise ValueError(f"{source} -> {student}: {task} was measured on other items")
        order = sorted(items)
        differences[task] = np.array([[scores[task][i] - items[i] for i in order] for scores in after])
    return Cell(source, student, relation, differences)


def _draws(cells: Sequence[Cell], seed: int) -> NDArray[np.float64]:
    """Bootstrap gains [DRAWS, cells]: subsets anew per cell, items in common."""
    rng = np.random.default_rng(seed)
    found = np.zeros((DRAWS, len(cells)))
    tasks = list(cells[0].differences)
    for draw in range(DRAWS):
        for task in tasks:
            n = cells[0].differences[task].shape[1]
            weights = rng.multinomial(n, np.full(n, 1 / n)) / n
            for c, one in enumerate(cells):
                d = one.differences[task]
                picks = rng.integers(len(d), size=len(d))
                found[draw, c] += float((d[picks] @ weights).mean()) / len(tasks)
    return found


def group_means(cells: Sequence[Cell], *, seed: int = 0) -> dict[str, Any]:
    """Every cell's gain and every relation's mean gain, each with a 95% interval.

    Returns {"cells": [{source, student, relation, gain, low, high}], "relations": {label: {mean, low,
    high, cells}}, "differences": {"self - kin": {mean, low, high}, ...}} in the order of first use.
    """
    draws = _draws(cells, seed)
    gains = np.array([c.gain for c in cells])
    labels = list(dict.fromkeys(c.relation for c in cells))
    member = {label: np.array([c.relation == label for c in cells]) for label in labels}

    def interval(values: NDArray[np.float64]) -> dict[str, float]:
        low, high = np.quantile(values, [0.025, 0.975])
        return {"low": float(low), "high": float(high)}

    return {
        "cells": [
            {"source": c.source, "student": c.student, "relation": c.relation, "gain": c.gain}
            | interval(draws[:, i])
            for i, c in enumerate(cells)
        ],
        "relations": {
            label: {"mean": float(gains[m].mean()), "cells": int(m.sum())} | interval(draws[:, m].mean(1))
            for label, m in member.items()
        },
        "differences": {
            f"{a} - {b}": {"mean": float(gains[member[a]].mean() - gains[member[b]].mean())}
            | interval(draws[:, member[a]].mean(1) - draws[:, member[b]].mean(1))
            for a, b in itertools.combinations(labels, 2)
            if "unknown" not in (a, b) or "self" in (a, b)  # it may be either of kin and other
        },
    }


def self_advantage(
    gains: NDArray[np.float64], selves: NDArray[np.bool_], *, most: int = 100_000, seed: int = 0
) -> dict[str, Any]:
    """Is a source better for itself than for others? Exact permutation over which source is which.

    gains, selves: [sources, students]. The statistic is the mean of the self pairs after source
    means (quality) and student means (headroom) are taken out, so neither can pass for it; under
    the null any source could have been any other: rows of `selves` are permuted. See `_test`.

    Raises:
        ValueError: no pair is self, or every pair is.
    """
    return _test(
        gains,
        np.ones_like(selves),
        lambda order: (selves[order], ~selves[order]),
        len(gains),
        most=most,
        seed=seed,
    )


def lineage_advantage(
    gains: NDArray[np.float64],
    kin: NDArray[np.bool_],
    selves: NDArray[np.bool_],
    unknown: NDArray[np.bool_] | None = None,
    *,
    most: int = 100_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Beyond self: are kin better than strangers? QAP, i.e. all models are relabelled at once.

    gains, kin, selves, unknown: [models, models], the same models in both roles and in one order. Self
    pairs are left out of everything, pairs of `unknown` lineage (default: none) are neither kin nor
    strangers. Source and student means are taken out as in `self_advantage`.

    Raises:
        ValueError: not square with self on the diagonal; no other pair is kin, or all are.
    """
    if gains.shape[0] != gains.shape[1] or not np.array_equal(selves, np.eye(len(gains), dtype=bool)):
        raise ValueError("lineage beyond self needs the same models as sources and as students")
    near = kin & ~selves
    far = ~kin & ~selves if unknown is None else ~kin & ~selves & ~unknown

    def relabel(order: NDArray[np.int64]) -> Masks:
        at = np.ix_(order, order)
        return near[at], far[at]

    return _test(gains, ~selves, relabel, len(gains), most=most, seed=seed)


def _test(
    gains: NDArray[np.float64],
    usable: NDArray[np.bool_],
    relabel: Callable[[NDArray[np.int64]], Masks],
    n: int,
    *,
    most: int,
    seed: int,
) -> dict[str, Any]:
    """One-sided permutation test that matched pairs gain more: every order of n, or `most` random ones.

    relabel: an order -> matched and unmatched pairs, all of them usable; gains that are not are left out.
    Returns advantage (mean of matched minus mean of unmatched pairs, raw gains), p, smallest_p
    (the least that this design can reach), permutations, exact.
    """
    matched, unmatched = relabel(np.arange(n))
    if not matched.any() or not unmatched.any():
        raise ValueError("a contrast needs matched and unmatched pairs")
    residual = interaction(gains, usable)
    orders, exact = relabellings(n, most, seed)
    labels = [relabel(order) for order in orders]
    values = np.array([residual[m].mean() - residual[u].mean() for m, u in labels])
    reached = values >= values[0] - 1e-12  # the first order is the identity: it counts itself
    same = sum(np.array_equal(m, matched) and np.array_equal(u, unmatched) for m, u in labels)
    return {
        "advantage": float(gains[matched].mean() - gains[unmatched].mean()),
        "p": float(reached.mean()),
        "smallest_p": same / len(orders),
        "permutations": len(orders),
        "exact": exact,
    }


def relabellings(n: int, most: int, seed: int) -> tuple[NDArray[np.int64], bool]:
    """Orders of n labels [orders, n], the identity first, and whether these are all orders.

    If there are more than `most`, it is the identity and `most` random ones.
    """
    exact = math.factorial(n) <= most
    if exact:
        return np.array(list(itertools.permutations(range(n)))), exact
    rng = np.random.default_rng(seed)
    return np.array([range(n), *(rng.permutation(n) for _ in range(most))]), exact


def interaction(gains: NDArray[np.float64], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What a sum of a source effect and a student effect leaves of the usable cells (least squares)."""
    rows, columns = np.nonzero(usable)
    design = np.zeros((len(rows), sum(gains.shape)))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), gains.shape[0] + columns] = 1
    effects = np.linalg.lstsq(design, gains[usable], rcond=None)[0]
    residual = np.zeros_like(gains)
    residual[usable] = gains[usable] - design @ effects
    return residual
