"""Does a proxy rank sources as their gains do? (METHODS D, judging a predictor)

The mean over students of Spearman's rank correlation over sources, within each student; so neither
a student's headroom nor the level of its proxy counts. Its null distribution permutes the labels of
the sources, jointly for all students: the students share the sources, and are no replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.gains import relabellings

ORDERS = 5040  # 7!: up to seven sources the test is exact
LEAST = 3  # sources: of two, a rank correlation is a coin


def within_student(
    cells: Sequence[Mapping[str, Any]],
    proxies: Sequence[Mapping[str, Any]],
    reasons: Mapping[str, str] | None = None,
    *,
    most: int = ORDERS,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Per proxy: rank correlation with the gain over sources, its mean over students, and a p of that.

    cells: {source, student, relation, gain}. proxies: {source, student, proxy: value or None}, for
    the same pairs. reasons: proxy -> why it was not measured. A proxy that ranks sources right for
    every student has mean 1 (or -1, for NLL, where less is better).

    Returns proxy -> {mean, students: {student: correlation}, sources, p, smallest_p, permutations,
    exact, off_diagonal: {mean, students}}. sources: how many have a value for every student; others
    are left out. p is two-sided; smallest_p is the least that relabelling these very values reaches.
    off_diagonal leaves out a student's own text. A student whose proxies or gains are all equal has
    None and is not in the mean. Where a mean is None, so is p, and `reason` says why.
    """
    names = [k for k in (proxies[0] if proxies else {}) if k not in ("source", "student")]
    students = list(dict.fromkeys(p["student"] for p in proxies))
    by_pair = {(c["source"], c["student"]): c for c in cells}
    found = {}
    for name in names:
        values = {(p["source"], p["student"]): p[name] for p in proxies}
        sources = [
            s
            for s in dict.fromkeys(p["source"] for p in proxies)
            if all(values[s, t] is not None for t in students)
        ]
        shape = len(sources), len(students)
        pairs = [(s, t) for s in sources for t in students]
        x = np.array([values[p] for p in pairs], np.float64).reshape(shape)
        y = np.array([by_pair[p]["gain"] for p in pairs], np.float64).reshape(shape)
        other = np.array([by_pair[p]["relation"] != "self" for p in pairs], bool).reshape(shape)
        row = _correlations(x, y, np.ones(shape, bool), students) | {"sources": len(sources)}
        row |= _test(x, y, most=most, seed=seed)
        row["off_diagonal"] = _correlations(x, y, other, students)
        if reasons and name in reasons and not sources:
            row["reason"] = row["off_diagonal"]["reason"] = reasons[name]
        found[name] = row
    return found


def _correlations(
    x: NDArray[np.float64], y: NDArray[np.float64], usable: NDArray[np.bool_], students: Sequence[str]
) -> dict[str, Any]:
    """Spearman of the usable entries of each column, and the mean of those that exist."""
    each: dict[str, float | None] = {}
    for t, student in enumerate(students):
        a, b = standard_ranks(x[usable[:, t], t]), standard_ranks(y[usable[:, t], t])
        each[student] = None if a is None or b is None else float(a @ b)
    known = [v for v in each.values() if v is not None]
    if known:
        return {"mean": float(np.mean(known)), "students": each}
    few = not len(usable) or usable.sum(0).max() < LEAST
    why = f"fewer than {LEAST} sources" if few else "all proxies or all gains of a student are equal"
    return {"mean": None, "students": each, "reason": why}


def standard_ranks(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Mid-ranks, centred, of length 1: their product with another's is Spearman's coefficient.

    None: too few, or all equal.
    """
    from scipy.stats import rankdata

    if len(values) < LEAST or (values == values[0]).all():
        return None
    ranks = rankdata(values)
    ranks -= ranks.mean()
    return np.asarray(ranks / np.linalg.norm(ranks))


def _test(x: NDArray[np.float64], y: NDArray[np.float64], *, most: int, seed: int) -> dict[str, Any]:
    """Two-sided p of the mean correlation when sources are relabelled; x, y: [sources, students]."""
    ranked = [(standard_ranks(a), standard_ranks(b)) for a, b in zip(x.T, y.T, strict=True)]
    columns = [(a, b) for a, b in ranked if a is not None and b is not None]
    if not columns:
        return {"p": None, "smallest_p": None, "permutations": 0, "exact": None}
    # [i, j]: what source i's proxies are worth at the place of source j's gains
    worth = np.mean([np.outer(a, b) for a, b in columns], axis=0)
    orders, exact = relabellings(len(x), most, seed)
    reached = np.abs(worth[orders, np.arange(len(x))].sum(1))
    return {
        "p": float((reached >= reached[0] - 1e-12).mean()),  # the first order is the identity
        "smallest_p": float((reached >= reached.max() - 1e-12).mean()),
        "permutations": len(orders),
        "exact": exact,
    }
