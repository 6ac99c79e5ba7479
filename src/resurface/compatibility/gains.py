"""Gains of a source x student matrix, and whether they depend on the pair (METHODS D).

A gain is the student's score after training on the source's text minus its score before, paired by
item. Every task weighs the same, however many items it has. Intervals are bootstraps over items
and subsets: the same items are drawn for all cells, since all cells answer them, and the same
subsets of a source for all students, since all are trained on them.
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
    items], after minus before, mean over training seeds; the items of a task are the same in every cell.
    runs: [subsets, seeds], the gain of every single training, where there were several seeds.
    """

    source: str
    student: str
    relation: str
    differences: Mapping[str, NDArray[np.float64]]
    runs: NDArray[np.float64] | None = None

    @property
    def gain(self) -> float:
        """Mean over tasks of the mean over subsets and items, in units of the score."""
        return float(np.mean([d.mean() for d in self.differences.values()]))


def cell(
    source: str,
    student: str,
    relation: str,
    before: Mapping[str, Mapping[int, float]],
    after: Sequence[Sequence[Mapping[str, Mapping[int, float]]]],
) -> Cell:
    """Pair the scores of one student before, and after each subset and seed: task -> item -> score.

    Raises:
        ValueError: another set of tasks or items.
    """
    differences = {}  # task -> [subsets, seeds, items]
    for task, items in before.items():
        every = [scores for of_subset in after for scores in of_subset]
        if any(scores.keys() != before.keys() or scores[task].keys() != items.keys() for scores in every):
            raise ValueError(f"{source} -> {student}: {task} was measured on other items")
        order = sorted(items)
        differences[task] = np.array(
            [[[scores[task][i] - items[i] for i in order] for scores in of_subset] for of_subset in after]
        )
    runs = np.mean([d.mean(2) for d in differences.values()], 0)
    means = {task: d.mean(1) for task, d in differences.items()}
    return Cell(source, student, relation, means, runs if runs.shape[1] > 1 else None)


def run_sd(cells: Sequence[Cell]) -> dict[str, Any]:
    """Standard deviation of a gain between training seeds, pooled over pairs and subsets, as a share.

    On the study's items: it is no error of a mean over other items. Returns {value, low, high, df, reason};
    the interval is that of chi-square. None, with the reason, where there is one seed.
    """
    from scipy.stats import chi2

    runs = [c.runs for c in cells if c.runs is not None]
    if not runs:
        return {"value": None, "low": None, "high": None, "df": 0, "reason": "one training seed"}
    df = sum(r.shape[0] * (r.shape[1] - 1) for r in runs)
    squares = float(sum(((r - r.mean(1, keepdims=True)) ** 2).sum() for r in runs))
    low, high = (float((squares / chi2.ppf(q, df)) ** 0.5) for q in (0.975, 0.025))
    return {"value": (squares / df) ** 0.5, "low": low, "high": high, "df": df, "reason": None}


def _draws(cells: Sequence[Cell], seed: int) -> NDArray[np.float64]:
    """Bootstrap gains [DRAWS, cells]: items in common, subsets anew per source, the same for all students.

    Of K subsets K - 1 are drawn, so that the variance of so few is not underestimated (Rao & Wu 1988).
    """
    rng = np.random.default_rng(seed)
    found = np.zeros((DRAWS, len(cells)))
    tasks = cells[0].differences
    k = len(next(iter(tasks.values())))
    sources = dict.fromkeys(c.source for c in cells)
    picks = {s: rng.integers(k, size=(max(1, k - 1), DRAWS)) for s in sources}
    for task in tasks:
        n = tasks[task].shape[1]
        for at in range(0, DRAWS, 250):  # weights of large benchmarks are large
            some = slice(at, at + 250)
            weights = rng.multinomial(n, np.full(n, 1 / n), size=len(found[some])).T / n
            for c, one in enumerate(cells):
                means = np.take_along_axis(one.differences[task] @ weights, picks[one.source][:, some], 0)
                found[some, c] += means.mean(0) / len(tasks)
    return found


def _interval(
    weights: NDArray[np.float64], cells: Sequence[Cell], draws: NDArray[np.float64]
) -> dict[str, float]:
    """95% interval of a weighted sum of gains: that of t, whose degrees of freedom are few where the
    variance is that of few subsets (Satterthwaite). weights: [cells]; draws: of `_draws`."""
    from scipy.stats import t

    value = float(weights @ [c.gain for c in cells])
    variance = float((draws @ weights).var(ddof=1))
    subsets: dict[str, NDArray[np.float64]] = {}  # source -> its share of the sum, by subset
    for w, c in zip(weights, cells, strict=True):
        of = w * np.mean([d.mean(1) for d in c.differences.values()], 0)
        subsets[c.source] = subsets.get(c.source, 0.0) + of
    k = len(next(iter(subsets.values())))
    parts = [float(x.var(ddof=1)) / k for x in subsets.values()] if k > 1 else []
    fourth = sum(p**2 for p in parts) / max(1, k - 1)
    df = max(k - 1.0, variance**2 / fourth) if fourth > 0 else np.inf
    half = float(t.ppf(0.975, df)) * variance**0.5
    return {"low": value - half, "high": value + half}


def group_means(cells: Sequence[Cell], *, seed: int = 0) -> dict[str, Any]:
    """Every cell's gain and every relation's mean gain, each with a 95% interval.

    Returns {"cells": [{source, student, relation, gain, low, high}], "relations": {label: {mean, low,
    high, cells}}, "differences": {"self - kin": {mean, low, high}, ...}} in the order of first use.
    """
    draws = _draws(cells, seed)
    gains = np.array([c.gain for c in cells])
    labels = list(dict.fromkeys(c.relation for c in cells))
    member = {label: np.array([c.relation == label for c in cells]) for label in labels}
    mean = {label: m / m.sum() for label, m in member.items()}

    def found(weights: NDArray[np.float64], key: str = "mean") -> dict[str, float]:
        return {key: float(weights @ gains)} | _interval(weights, cells, draws)

    return {
        "cells": [
            {"source": c.source, "student": c.student, "relation": c.relation} | found(one, "gain")
            for c, one in zip(cells, np.eye(len(cells)), strict=True)
        ],
        "relations": {label: found(mean[label]) | {"cells": int(m.sum())} for label, m in member.items()},
        "differences": {
            f"{a} - {b}": found(mean[a] - mean[b])
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
