"""Gains of a source x student matrix, each with its interval (METHODS D).

A gain is the student's score after training on the source's text minus its score before, paired by
item. Every task weighs the same, however many items it has. Intervals are bootstraps over items
and subsets: the same items are drawn for all cells, since all cells answer them, and the same
subsets of a source for all students, since all are trained on them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.results import PairGain, RunSd
from resurface.stats.estimate import Estimate
from resurface.stats.reasons import Reason

DRAWS = 2000


@dataclass(frozen=True)
class Cell:
    """One source for one student.

    relation: self, kin (same lineage), other, or unknown. differences: task -> [subsets,
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

    @property
    def by_subset(self) -> NDArray[np.float64]:
        """[subsets]: as `gain`, on each."""
        return np.asarray(np.mean([d.mean(1) for d in self.differences.values()], 0))


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


def run_sd(cells: Sequence[Cell]) -> RunSd:
    """Standard deviation of a gain between training seeds, pooled over pairs and subsets, as a share.

    On the study's items: it is no error of a mean over other items. The interval is that of chi-square.
    """
    from scipy.stats import chi2

    runs = [c.runs for c in cells if c.runs is not None]
    if not runs:
        return RunSd.missing(Reason.ONE_TRAINING_SEED)
    df = sum(r.shape[0] * (r.shape[1] - 1) for r in runs)
    squares = float(sum(((r - r.mean(1, keepdims=True)) ** 2).sum() for r in runs))
    low, high = (float((squares / chi2.ppf(q, df)) ** 0.5) for q in (0.975, 0.025))
    return RunSd((squares / df) ** 0.5, low, high, df=df)


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


def _interval(one: Cell, drawn: NDArray[np.float64]) -> Estimate:
    """A gain with its 95% interval: that of t, whose degrees of freedom are few where the variance is that of
    few subsets (Satterthwaite). drawn: of `_draws`, this cell's."""
    from scipy.stats import t

    variance = float(drawn.var(ddof=1))
    k = len(one.by_subset)
    part = float(one.by_subset.var(ddof=1)) / k if k > 1 else 0.0
    fourth = part**2 / max(1, k - 1)
    df = max(k - 1.0, variance**2 / fourth) if fourth > 0 else np.inf
    half = float(t.ppf(0.975, df)) * variance**0.5
    return Estimate(one.gain, one.gain - half, one.gain + half)


def cell_intervals(cells: Sequence[Cell], *, seed: int = 0) -> list[PairGain]:
    """Every cell's gain with its 95% interval, over items and subsets, in the order of the cells."""
    draws = _draws(cells, seed)
    return [
        PairGain(
            source=c.source,
            student=c.student,
            relation=c.relation,
            gain=_interval(c, drawn),
            subsets=tuple(map(float, c.by_subset)),
        )
        for c, drawn in zip(cells, draws.T, strict=True)
    ]


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
