"""From predictors' values to a gain: a least-squares fit over the pairs of a study, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resurface.stats.estimate import Estimate

FEWEST = 8  # pairs that a fit of one value is made of


@dataclass(frozen=True)
class Predicted(Estimate):
    """Gain of a new pair as a share of the score, with its prediction interval."""

    p_positive: float | None = None
    """Chance of a gain above 0."""
    extrapolated: bool | None = None
    """Whether a value is outside of those fitted."""


@dataclass(frozen=True)
class Fit:
    """gain = intercept + slopes . (values - centre) over `pairs` pairs; one slope per predictor, p of them.

    spread: standard deviation of the residuals; within: the same about each student's mean residual, which
    is what distinguishes candidates for one student; inverse: of the values' scatter matrix [p, p]; low,
    high: the range of the values.
    """

    intercept: float
    slopes: tuple[float, ...]
    centre: tuple[float, ...]
    spread: float
    within: float
    inverse: tuple[tuple[float, ...], ...]
    pairs: int
    low: tuple[float, ...]
    high: tuple[float, ...]

    def predict(self, values: ArrayLike, noise: ArrayLike = 0.0, *, level: float = 0.95) -> Predicted:
        """Gain of a new pair of these values [p]; noise: their standard errors."""
        from scipy.stats import t

        x, slopes = np.atleast_1d(np.asarray(values, np.float64)), np.array(self.slopes)
        d = x - np.array(self.centre)
        gain = self.intercept + float(slopes @ d)
        lever = 1 / self.pairs + float(d @ np.array(self.inverse) @ d)
        measured = float(((slopes * np.asarray(noise, np.float64)) ** 2).sum())
        error = (self.spread**2 * (1 + lever) + measured) ** 0.5
        df = self.pairs - 1 - len(slopes)
        half = float(t.ppf(0.5 + level / 2, df)) * error
        return Predicted(
            gain,
            gain - half,
            gain + half,
            level,
            p_positive=float(t.cdf(gain / error, df)) if error else float(gain > 0),
            extrapolated=bool((x < np.array(self.low)).any() or (x > np.array(self.high)).any()),
        )


def fit(values: ArrayLike, gains: ArrayLike, students: ArrayLike | None = None) -> Fit:
    """Least squares over pairs: values [n] or [n, p], gains [n]; a value that never varies has slope 0.

    students: a label per pair; without, pairs count as of one student.

    Raises:
        ValueError: fewer than FEWEST pairs for one value, or as many more for each further one.
    """
    y = np.asarray(gains, np.float64)
    x = np.asarray(values, np.float64).reshape(len(y), -1)
    if len(x) < FEWEST - 1 + x.shape[1]:
        raise ValueError(f"a calibration needs {FEWEST - 1 + x.shape[1]} pairs or more, not {len(x)}")
    d = x - x.mean(0)
    inverse = np.linalg.pinv(d.T @ d, hermitian=True)
    slopes = inverse @ (d.T @ y)
    rest = y - y.mean() - d @ slopes
    df = len(y) - 1 - x.shape[1]
    labels = np.zeros(len(y)) if students is None else np.asarray(students)
    own = [rest[labels == t] - rest[labels == t].mean() for t in np.unique(labels)]
    return Fit(
        intercept=float(y.mean()),
        slopes=tuple(map(float, slopes)),
        centre=tuple(map(float, x.mean(0))),
        spread=float(np.sqrt(rest @ rest / df)),
        within=float(np.sqrt(sum(r @ r for r in own) / max(1, df + 1 - len(own)))),
        inverse=tuple(tuple(map(float, row)) for row in inverse),
        pairs=len(y),
        low=tuple(map(float, x.min(0))),
        high=tuple(map(float, x.max(0))),
    )


def chances(
    gains: ArrayLike, errors: ArrayLike, *, draws: int = 20_000, seed: int = 0
) -> NDArray[np.float64]:
    """How likely each of these candidates for one student is the best of them [n]: normal errors, drawn."""
    mean, error = np.asarray(gains, np.float64), np.asarray(errors, np.float64)
    drawn = mean + error * np.random.default_rng(seed).standard_normal((draws, len(mean)))
    return np.bincount(drawn.argmax(1), minlength=len(mean)) / draws


def cross_validated(
    values: NDArray[np.float64], gains: NDArray[np.float64], groups: tuple[ArrayLike, ArrayLike]
) -> NDArray[np.float64]:
    """Predictions of every pair from pairs that share neither its source's nor its student's group.

    values: [sources, students] or [sources, students, p]; gains: [sources, students]; groups: a label per
    source and one per student (the same label in both roles is the same). Returns [sources, students, 4]:
    gain, low, high, P(gain > 0); NaN where a value is, or where too few pairs are left.
    """
    rows, columns = (np.asarray(g) for g in groups)
    values = values.reshape(*gains.shape, -1)
    found = np.full((*gains.shape, 4), np.nan)
    known = np.isfinite(values).all(2)
    for s, t in np.argwhere(known):
        out = np.isin(rows, [rows[s], columns[t]])[:, None] | np.isin(columns, [rows[s], columns[t]])[None]
        left = known & ~out
        if left.sum() >= FEWEST - 1 + values.shape[2]:
            p = fit(values[left], gains[left]).predict(values[s, t])
            found[s, t] = p.value, p.low, p.high, p.p_positive
    return found
