"""Statistics of how a predictor's values agree with gains, over a matrix of sources and students (METHODS D).

All matrices are [sources, students] and complete; signs are fixed, so that agreement is above 0. Intervals:
delete-one jackknife over sources and over students, variances added (both are drawn; t with the smaller
number of degrees of freedom). Tests relabel the sources jointly for all students, and are one-sided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.gains import interaction, relabellings
from resurface.compatibility.grid import GainGrid, Matrix
from resurface.compatibility.rank_tests import ORDERS, standard_ranks
from resurface.compatibility.results import Ceiling, Tested
from resurface.stats.estimate import Estimate
from resurface.stats.reasons import Reason

Parts = tuple[Matrix, Matrix] | None


Statistic = Callable[[Matrix, GainGrid], float]


def within_student(v: Matrix, truth: GainGrid) -> float:
    """Mean over students of Spearman's correlation over sources."""
    return _agreement(ranks(v, truth))


def off_diagonal(v: Matrix, truth: GainGrid) -> float:
    """As `within_student`, without a student's own text."""
    return _agreement(ranks(v, truth, truth.relation != "self"))


def partial(v: Matrix, truth: GainGrid) -> float:
    """As `within_student`, of what the lineage label leaves of the ranks."""
    return _agreement(ranks_beyond_label(v, truth))


def interaction_correlation(v: Matrix, truth: GainGrid) -> float:
    """Correlation of what source and student means leave of values and of gains."""
    return _agreement(residuals(v, truth))


def off_diagonal_interaction(v: Matrix, truth: GainGrid) -> float:
    """As `interaction_correlation`, without a student's own text."""
    return _agreement(residuals(v, truth, truth.relation != "self"))


# Each of these is an agreement: two matrices [S, columns], of which the mean over columns of the inner
# products is the statistic. So relabelling the sources is a permutation of rows, and costs next to nothing.


def _agreement(parts: Parts) -> float:
    return float("nan") if parts is None else float((parts[0] * parts[1]).sum() / parts[0].shape[1])


def ranks(v: Matrix, truth: GainGrid, usable: NDArray[np.bool_] | None = None) -> Parts:
    usable = np.ones(v.shape, bool) if usable is None else usable
    columns = []
    for t, u in enumerate(usable.T):
        one, other = standard_ranks(v[u, t]), standard_ranks(truth.mean[u, t])
        if one is not None and other is not None:
            pair = np.zeros((2, len(v)))
            pair[:, u] = one, other
            columns.append(pair)
    return _stacked(columns)


def ranks_beyond_label(v: Matrix, truth: GainGrid) -> Parts:
    columns = []
    for x, y, labels in zip(v.T, truth.mean.T, truth.relation.T, strict=True):
        pair = [_beyond_label(x, labels), _beyond_label(y, labels)]
        if pair[0] is not None and pair[1] is not None:
            columns.append(np.array(pair))
    return _stacked(columns)


def _beyond_label(x: NDArray[np.float64], labels: NDArray[np.str_]) -> NDArray[np.float64] | None:
    ranks = standard_ranks(x)
    if ranks is None:
        return None
    left = ranks - np.array([ranks[labels == label].mean() for label in labels])
    length = float(np.linalg.norm(left))
    return left / length if length > 1e-9 else None


def _stacked(columns: list[Matrix]) -> Parts:
    return (np.array([c[0] for c in columns]).T, np.array([c[1] for c in columns]).T) if columns else None


def residuals(v: Matrix, truth: GainGrid, usable: NDArray[np.bool_] | None = None) -> Parts:
    usable = np.ones(v.shape, bool) if usable is None else usable
    a, b = interaction(v, usable), interaction(truth.mean, usable)
    # a sum of source and student effects leaves rounding errors, which are no interaction
    flat = np.linalg.norm(a) <= 1e-9 * float(np.linalg.norm(v[usable]))
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return None if flat or not scale else (a * v.shape[1] / scale, b)


def regret(v: Matrix, truth: GainGrid) -> float:
    """Gain lost by the source that the predictor likes best, against the best one, mean over students.

    The best is chosen on the other subsets and scored on the one that is left, as is the pick: with the
    same subset for both, noise would pass for skill.
    """
    return regret_of(v, truth)


def regret_of(v: Matrix | None, truth: GainGrid) -> float:
    k = truth.gains.shape[2]
    if k < 2:
        return float("nan")
    lost = []
    for i in range(k):
        scored, seen = truth.gains[:, :, i], np.delete(truth.gains, i, axis=2).mean(2)
        best = np.take_along_axis(scored, seen.argmax(0)[None], 0)[0]
        pick = scored.mean(0) if v is None else np.take_along_axis(scored, v.argmax(0)[None], 0)[0]
        lost.append(best - pick)
    return float(np.mean(lost))


def mean(found: Any) -> float:
    known = [x for x in found if np.isfinite(x)]
    return float(np.mean(known)) if known else float("nan")


# ------------------------------------------------------------------------------ intervals and tests


def interval(statistic: Statistic, v: Matrix, truth: GainGrid, *, level: float = 0.95) -> Estimate:
    """The statistic with its two-way jackknife interval."""
    from scipy.stats import t as student_t

    value = statistic(v, truth)
    if not np.isfinite(value):
        return Estimate.missing(Reason.FEW_SOURCES_OR_SUBSETS)
    variance = 0.0
    for axis, n in enumerate(v.shape):
        left = []
        for i in range(n):
            keep = [np.arange(m) for m in v.shape]
            keep[axis] = np.delete(keep[axis], i)
            left.append(statistic(v[np.ix_(*keep)], truth.part(*keep)))
        if not np.isfinite(left).all():
            return Estimate(value, reason=Reason.FEW_SOURCES_OR_STUDENTS)
        variance += (n - 1) / n * float(((np.array(left) - np.mean(left)) ** 2).sum())
    half = float(student_t.ppf(0.5 + level / 2, min(v.shape) - 1)) * variance**0.5
    return Estimate(value, value - half, value + half, level)


def untested(found: Estimate) -> Tested:
    """An agreement for which there is no relabelling."""
    return Tested(found.value, found.low, found.high, found.level, found.reason)


def tested(parts: Callable[[Matrix, GainGrid], Parts], v: Matrix, truth: GainGrid) -> Tested:
    """An agreement with the one-sided p of relabelling the sources, jointly for all students."""
    found = untested(interval(lambda x, t: _agreement(parts(x, t)), v, truth))
    aligned = parts(v, truth)
    if aligned is None:
        return found
    # [i, j]: what source i's values are worth at the place of source j's gains
    worth = aligned[0] @ aligned[1].T / aligned[0].shape[1]
    orders, _ = relabellings(len(v), ORDERS, 0)
    return _with_p(found, worth[orders, np.arange(len(v))].sum(1))


def tested_partial(v: Matrix, truth: GainGrid) -> Tested:
    """`partial` with the one-sided p of relabelling the sources of the values.

    The labels stay where they are, and what they leave is taken anew for each order (Draper & Stoneman
    1966): what is left of a label's only source is 0, and has to stay so, or p would be too small.
    """
    found = untested(interval(partial, v, truth))
    columns = []
    orders, _ = relabellings(len(v), ORDERS, 0)
    for x, y, labels in zip(v.T, truth.mean.T, truth.relation.T, strict=True):
        of_values, left = standard_ranks(x), _beyond_label(y, labels)
        if of_values is None or left is None or _beyond_label(x, labels) is None:
            continue
        same = labels[:, None] == labels[None, :]
        beyond = of_values[orders] @ (np.eye(len(x)) - same / same.sum(1))
        length = np.linalg.norm(beyond, axis=1)
        columns.append(beyond @ left / np.where(length > 1e-9, length, np.inf))
    return _with_p(found, np.mean(columns, 0)) if columns else found


def _with_p(found: Tested, reached: NDArray[np.float64]) -> Tested:
    """reached: the statistic for every order, of which the first is the identity."""
    p, smallest_p = (float((reached >= x - 1e-12).mean()) for x in (reached[0], reached.max()))
    return replace(found, p=p, smallest_p=smallest_p)


def ceiling(gains: NDArray[np.float64]) -> Ceiling:
    """What a perfect predictor can reach: the root of the gains' own split-half reliability.

    Mean correlation of two subsets, stepped up to all K (Spearman-Brown). Subsets share their items, so
    it is for these items. gains [S, T, K].
    """
    k = gains.shape[2]

    def reach(of: Statistic) -> float | None:
        # the gains of one subset as a predictor of another's
        pairs = [of(gains[:, :, i], GainGrid.unnamed(gains[:, :, [j]])) for i in range(k) for j in range(i)]
        r = mean(pairs)
        return (k * r / (1 + (k - 1) * r)) ** 0.5 if r > 0 else None

    return Ceiling(within_student=reach(within_student), interaction=reach(interaction_correlation))
