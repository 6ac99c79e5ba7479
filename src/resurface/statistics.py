"""Intervals for differences, in pure numpy and scipy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def paired_bootstrap(
    before: ArrayLike, after: ArrayLike, *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of (after - before) over items with its percentile-bootstrap interval (Efron 1979).

    before, after: one value per item [n], same items in the same order.
    Returns (mean, low, high).

    Raises:
        ValueError: different lengths, or no items.
    """
    a, b = np.asarray(before, float), np.asarray(after, float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"need two equal, non-empty series, not {a.shape} and {b.shape}")
    diff = b - a
    rng = np.random.default_rng(seed)
    # multinomial counts: resampling n items of n without an index array of draws x n at once
    means = np.concatenate(
        [
            rng.multinomial(len(diff), np.full(len(diff), 1 / len(diff)), size=min(1000, draws - i)) @ diff
            for i in range(0, draws, 1000)
        ]
    ) / len(diff)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(diff.mean()), float(low), float(high)
