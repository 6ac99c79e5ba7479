"""Exact intervals of counts, also where some of what is counted says the same (pure numpy and scipy)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def effective_size(groups: NDArray[Any]) -> float:
    """Independent windows among n, of which those of one group say the same: n^2 / sum of squared group sizes
    (Kish, Survey Sampling, 1965). n without near-duplicates, n / k if each is there k times; 0 of none."""
    _, sizes = np.unique(groups, return_counts=True)
    return len(groups) ** 2 / int((sizes**2).sum()) if len(groups) else 0.0


def exact_share(hits: float, groups: NDArray[Any], *, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of hits / n, with n = len(groups) > 0 windows of these near-duplicate groups.

    As in a clustered survey (Korn and Graubard, Survey Methodology 24, 1998): the share is kept, and n is the
    effective one.
    """
    n = effective_size(groups)
    # an interval of all or of none ends at 1 or 0 only if rounding leaves the counts equal
    return clopper_pearson(n if hits == len(groups) else hits * n / len(groups), n, level=level)


def clopper_pearson(hits: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided binomial interval (Clopper and Pearson 1934). Needs 0 <= hits <= n, n > 0.

    Counts need not be whole: effective ones are not.
    """
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def none_left(n: float) -> float:
    """95% upper bound, one-sided, on the share that is left where none of n > 0 is; 1 minus it is the largest
    drop that so many can show. Counts need not be whole."""
    return float(1 - 0.05 ** (1 / n))


def poisson_interval(count: float, *, level: float) -> tuple[float, float]:
    """Exact two-sided interval of a Poisson mean (Garwood 1936); count > 0."""
    from scipy.stats import chi2

    tail = (1 - level) / 2
    return float(chi2.ppf(tail, 2 * count) / 2), float(chi2.ppf(1 - tail, 2 * count + 2) / 2)


def mcnemar(one: int, other: int) -> float:
    """Exact two-sided p of McNemar's test (Psychometrika 12, 1947): that either way is as likely.

    one, other: pairs that changed one way, and the other way. Twice the smaller binomial tail at 1/2, at
    most 1; 1 where nothing changed. The sum is of whole numbers, and right to the last digit.
    """
    n, term, tail = one + other, 1, 1
    for k in range(min(one, other)):
        term = term * (n - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / 2**n)
