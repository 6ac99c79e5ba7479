"""Does a proxy rank sources as their gains do? (METHODS D, evaluating a predictor)

The mean over students of Spearman's rank correlation over sources, within each student; so neither
a student's headroom nor the level of its proxy counts. Its null distribution permutes the labels of
the sources, jointly for all students: the students share the sources, and are no replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.gains import relabellings
from resurface.compatibility.grid import GainGrid, Matrix
from resurface.compatibility.results import Correlations, Proxies, ProxyCorrelation
from resurface.stats.reasons import Reason

ORDERS = 5040  # 7!: up to seven sources the test is exact
LEAST = 3  # sources: of two, a rank correlation is a coin


def within_student(
    grid: GainGrid,
    proxies: Sequence[Proxies],
    reasons: Mapping[str, str] | None = None,
    *,
    most: int = ORDERS,
    seed: int = 0,
) -> dict[str, ProxyCorrelation]:
    """Per proxy: rank correlation with the gain over sources, its mean over students, and a p of that.

    proxies: of every pair, with the same names; None where a value was not measured, and then `reasons` has
    proxy -> why. Sources that have the proxy for every student count; others are left out. p is two-sided;
    smallest_p is the least that relabelling these very values reaches. A student whose proxies or gains are
    all equal has None and is not in the mean.
    """
    found = {}
    for name in proxies[0].values if proxies else ():
        x = grid.filled({(p.source, p.student): p.values[name] for p in proxies})
        whole = np.isfinite(x).all(1)
        x, y, other = x[whole], grid.mean[whole], grid.relation[whole] != "self"
        why = (reasons or {}).get(name) if not whole.any() else None
        every = _correlations(x, y, np.ones(x.shape, bool), grid.students, why)
        found[name] = ProxyCorrelation(
            **dict(every),
            **(asdict(test) if (test := _test(x, y, most=most, seed=seed)) else {}),
            sources=int(whole.sum()),
            off_diagonal=_correlations(x, y, other, grid.students, why),
        )
    return found


def _correlations(
    x: Matrix, y: Matrix, usable: NDArray[np.bool_], students: Sequence[str], why: str | None
) -> Correlations:
    """Spearman of the usable entries of each column, and the mean of those that exist.

    why: reason where nothing was measured.
    """
    each: dict[str, float | None] = {}
    for t, student in enumerate(students):
        a, b = standard_ranks(x[usable[:, t], t]), standard_ranks(y[usable[:, t], t])
        each[student] = None if a is None or b is None else float(a @ b)
    known = [v for v in each.values() if v is not None]
    if known:
        return Correlations(mean=float(np.mean(known)), students=each)
    few = not len(usable) or usable.sum(0).max() < LEAST
    seen = Reason.FEW_SOURCES.about(str(LEAST)) if few else Reason.ALL_EQUAL
    return Correlations(mean=None, students=each, reason=why or seen)


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


@dataclass(frozen=True)
class _Tested:
    """Fields of `ProxyCorrelation`."""

    p: float
    smallest_p: float
    permutations: int
    exact: bool


def _test(x: Matrix, y: Matrix, *, most: int, seed: int) -> _Tested | None:
    """Two-sided p of the mean correlation when sources are relabelled.

    x, y: [sources, students].
    """
    ranked = [(standard_ranks(a), standard_ranks(b)) for a, b in zip(x.T, y.T, strict=True)]
    columns = [(a, b) for a, b in ranked if a is not None and b is not None]
    if not columns:
        return None
    # [i, j]: what source i's proxies are worth at the place of source j's gains
    worth = np.mean([np.outer(a, b) for a, b in columns], axis=0)
    orders, exact = relabellings(len(x), most, seed)
    reached = np.abs(worth[orders, np.arange(len(x))].sum(1))
    return _Tested(
        p=float((reached >= reached[0] - 1e-12).mean()),  # the first order is the identity
        smallest_p=float((reached >= reached.max() - 1e-12).mean()),
        permutations=len(orders),
        exact=exact,
    )
