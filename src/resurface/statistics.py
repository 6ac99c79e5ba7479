"""Intervals for differences, in pure numpy and scipy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    means = paired_bootstrap_draws(diff, draws, seed)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(diff.mean()), float(low), float(high)


def mean_change(
    differences: Sequence[ArrayLike], *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over tasks of the mean paired difference over a task's items: (mean, low, high).

    differences: one series per task, after minus before [n_task]; every task weighs the same, and
    its items are resampled within it (stratified percentile bootstrap).

    Raises:
        ValueError: no tasks.
    """
    if not differences:
        raise ValueError("no tasks")
    drawn = [paired_bootstrap_draws(np.asarray(d, float), draws, seed + i) for i, d in enumerate(differences)]
    mean = float(np.mean([np.asarray(d, float).mean() for d in differences]))
    low, high = np.quantile(np.mean(drawn, 0), [(1 - level) / 2, (1 + level) / 2])
    return mean, float(low), float(high)


def paired_bootstrap_draws(diff: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    """Bootstrap means [draws] of one series [n]."""
    rng = np.random.default_rng(seed)
    # multinomial counts: resampling n items of n without an index array of draws x n at once
    return np.concatenate(
        [
            rng.multinomial(len(diff), np.full(len(diff), 1 / len(diff)), size=min(1000, draws - i)) @ diff
            for i in range(0, draws, 1000)
        ]
    ) / len(diff)


def clustered_bootstrap(
    diff: ArrayLike, clusters: Sequence[str], *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of paired differences [n] with an interval that resamples whole clusters (documents).

    Items of one document move together, so treating them as independent would be too sure of itself.
    Returns (mean, low, high); with a single cluster the interval is (nan, nan): it cannot be told.

    Raises:
        ValueError: different lengths, or nothing given.
    """
    d = np.asarray(diff, float)
    if len(d) != len(clusters) or not len(d):
        raise ValueError(f"need one cluster per difference, not {len(d)} and {len(clusters)}")
    names, member = np.unique(np.asarray(clusters, object).astype(str), return_inverse=True)
    sums, sizes = np.bincount(member, d), np.bincount(member)
    if len(names) == 1:
        return float(d.mean()), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    low, high = np.quantile(weights @ sums / (weights @ sizes), [(1 - level) / 2, (1 + level) / 2])
    return float(d.mean()), float(low), float(high)
