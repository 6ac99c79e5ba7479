"""How much of the gains belongs to the pair: variance decomposition of a matrix (METHODS D).

    G_stk = mu + alpha_s + beta_t + gamma_st + u_k(s) + v_k(s)t

Source s, student t, and subset k, which is nested in its source and shared by all students. What a run
adds by itself is part of v. All in units of the score; gains [S, T, K].
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.grid import GainGrid
from resurface.compatibility.results import (
    Crossing,
    Crossings,
    Decomposition,
    Families,
    FamilyPart,
    Headroom,
    MeanSquare,
    MeanSquares,
    Share,
    Variances,
)
from resurface.stats.intervals import holm
from resurface.stats.reasons import Reason, Unmeasured

DRAWS = 4000
Gains = NDArray[np.float64]
Number = TypeVar("Number", float, NDArray[np.float64])


def decompose(grid: GainGrid, *, level: float = 0.95, seed: int = 0) -> Decomposition:
    """Mean squares, the test of interaction, variance components and the relational share.

    The share is var_gamma / (var_alpha + var_gamma), components below 0 taken as 0; None where both are. Its
    interval is a generalized one (Weerahandi, Exact Statistical Methods for Data Analysis, 1995): mean
    squares are drawn as scaled inverse chi-squares. It is for new sources, students and subsets; the items
    are those of the study, so their noise, which all subsets of a pair share, counts as interaction.

    Raises:
        Unmeasured: fewer than two sources, students or subsets.
    """
    gains = grid.gains
    _check(gains)
    squares, df = mean_squares(gains)
    ms = {name: squares[name] / df[name] for name in squares}
    parts = _variances(_Squares.of(ms), gains.shape)
    rng = np.random.default_rng(seed)
    drawn = _Squares.of({name: squares[name] / rng.chisquare(df[name], DRAWS) for name in squares})
    f, p = _f_test(ms["interaction"], ms["residual"], df["interaction"], df["residual"])
    return Decomposition(
        mean_squares=MeanSquares(**{name: MeanSquare(ms=ms[name], df=df[name]) for name in ms}),
        f=f,
        p=p,
        variances=Variances(**asdict(parts)),
        share=_estimated(_share(parts), _share(_variances(drawn, gains.shape)), level),
        headroom=headroom(gains),
        crossings=crossings(grid, level=level),
    )


def _estimated(value: NDArray[np.float64], drawn: NDArray[np.float64], level: float) -> Share:
    """A share with quantiles of what was drawn of it; NaN is what does not exist."""
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(known):
        return Share.missing(Reason.SOURCES_ALIKE)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Share(float(value), float(low), float(high), level)


def mean_squares(gains: Gains) -> tuple[dict[str, float], dict[str, int]]:
    """Sums of squares and degrees of freedom of the nested design; the sums add up to the total."""
    s, t, k = gains.shape
    grand, of_s, of_t = gains.mean(), gains.mean((1, 2)), gains.mean((0, 2))
    of_st, of_sk = gains.mean(2), gains.mean(1)
    inside = gains - of_st[:, :, None] - of_sk[:, None, :] + of_s[:, None, None]
    squares = {
        "source": t * k * ((of_s - grand) ** 2).sum(),
        "student": s * k * ((of_t - grand) ** 2).sum(),
        "interaction": k * (_interaction(of_st) ** 2).sum(),
        "subset": t * ((of_sk - of_s[:, None]) ** 2).sum(),
        "residual": (inside**2).sum(),
    }
    df = {
        "source": s - 1,
        "student": t - 1,
        "interaction": (s - 1) * (t - 1),
        "subset": s * (k - 1),
        "residual": s * (k - 1) * (t - 1),
    }
    return {name: float(v) for name, v in squares.items()}, df


def between_families(
    grid: GainGrid,
    squares: MeanSquares,
    subsets: int,
    *,
    families: tuple[Sequence[str], Sequence[str]] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Families:
    """The interaction, and its relational share, between families of models and within them.

    squares: of `decompose`; subsets: of a source, which the gains are means over. families: a label per
    source and per student (default: as they are related). Between: what a cell for every pair of a source's
    and a student's family takes out beyond source and student effects; within: what it leaves. Each mean
    square is tested against the residual, and its share has the interval of `decompose`.
    """
    sums = _by_family(grid.mean, families or grid.families())
    free = {name: df for name, (_, df) in sums.items()}
    ms = {name: subsets * total / df for name, (total, df) in sums.items() if df}
    whole: dict[str, MeanSquare] = dict(squares)
    given = ms | {name: row.ms for name, row in whole.items()}
    rng = np.random.default_rng(seed)
    drawn = {
        name: given[name] * df / rng.chisquare(df, DRAWS)
        for name, df in (free | {name: row.df for name, row in whole.items()}).items()
        if df
    }
    shape = (*grid.relation.shape, subsets)
    shares, of_draws = (
        _parts({n: np.asarray(x) for n, x in given.items()}, free, shape),
        _parts(drawn, free, shape),
    )
    found = {}
    for name, df in free.items():
        f, p = _f_test(ms[name], squares.residual.ms, df, squares.residual.df) if df else (None, None)
        share = _estimated(shares[name], of_draws[name], level)
        found[name] = FamilyPart(ms=ms.get(name), df=df, f=f, p=p, share=share)
    return Families(**found)


def _by_family(
    means: NDArray[np.float64], families: tuple[Sequence[str], Sequence[str]]
) -> dict[str, tuple[float, int]]:
    """Sums of squares and degrees of freedom of the interaction of mean gains: between, and within."""
    s, t = means.shape
    rows, columns = np.indices(means.shape)
    pairs = np.array([[f"{a} {b}" for b in families[1]] for a in families[0]])
    kinds = np.unique(pairs)
    additive = np.hstack([np.eye(s)[rows.ravel()], np.eye(t)[columns.ravel()]])
    whole = np.hstack([additive, pairs.ravel()[:, None] == kinds[None]])
    left, rank = [], []
    for design in (additive, whole):
        rest = means.ravel() - design @ np.linalg.lstsq(design, means.ravel(), rcond=None)[0]
        left.append(float(rest @ rest))
        rank.append(int(np.linalg.matrix_rank(design)))
    return {
        "between": (max(left[0] - left[1], 0.0), rank[1] - rank[0]),
        "within": (left[1] if s * t > rank[1] else 0.0, s * t - rank[1]),
    }


def _parts(
    ms: Mapping[str, NDArray[np.float64]], free: Mapping[str, int], shape: tuple[int, int, int]
) -> dict[str, NDArray[np.float64]]:
    """Share of what sources differ by that is interaction between families, and within.

    free: degrees of freedom of the two.
    """
    every = sum(free.values())
    both = np.sum([df * ms[name] for name, df in free.items() if df], axis=0) / every
    gamma = {
        name: np.maximum(df / every * (ms[name] - ms["residual"]) / shape[2], 0.0)
        for name, df in free.items()
        if df
    }
    alpha = np.maximum(_variances(_Squares.of({**ms, "interaction": both}), shape).source, 0.0)
    total = alpha + sum(gamma.values())
    return {
        name: np.where(total > 0, gamma.get(name, 0.0) / np.where(total > 0, total, 1.0), np.nan)
        for name in free
    }


def headroom(gains: Gains) -> Headroom:
    """Is the interaction no more than headroom, gamma = lambda alpha beta? Tukey (Biometrics 5, 1949).

    gains [S, T, K]. Against the residual; None where the design leaves no degree of freedom, or nothing
    varies.
    """
    _check(gains)
    squares, df = mean_squares(gains)
    of_st, k = gains.mean(2), gains.shape[2]
    alpha, beta = of_st.mean(1) - of_st.mean(), of_st.mean(0) - of_st.mean()
    scale = float((alpha**2).sum() * (beta**2).sum())
    left = df["interaction"] - 1
    if not scale or not left:
        return Headroom(p=None, beyond_p=None, reason=Reason.NO_MAIN_EFFECTS)
    slope = float(alpha @ of_st @ beta) / scale
    explained = k * slope**2 * scale
    rest = max(squares["interaction"] - explained, 0.0) / left
    return Headroom(
        slope=slope,
        p=_f_test(explained, rest, 1, left)[1],
        beyond_p=_f_test(rest, squares["residual"] / df["residual"], left, df["residual"])[1],
    )


def crossings(grid: GainGrid, *, level: float = 0.95) -> Crossings:
    """Pairs of sources of which one is better for one student and the other for another, both shown.

    Two sources are compared for one student by a t test over subsets, with the variance within cells
    pooled over the matrix; Holm over all comparisons.
    """
    from scipy.stats import t as student_t

    gains, sources, students = grid.gains, grid.sources, grid.students
    _check(gains)
    s, _, k = gains.shape
    within = float(gains.var(2, ddof=1).mean())
    df = s * (k - 1)  # a source's subsets are shared by the students: they count once
    pairs = list(itertools.combinations(range(s), 2))
    means = gains.mean(2)
    differences = np.array([means[a] - means[b] for a, b in pairs])  # [pairs, students]
    if not within:
        adjusted = np.where(differences == 0, 1.0, 0.0)
    else:
        p = 2 * student_t.sf(np.abs(differences) / np.sqrt(2 * within / k), df)
        adjusted = holm(p.ravel()).reshape(p.shape)
    shown = np.where(adjusted < 1 - level, differences, 0.0)
    found = [
        Crossing(
            better=sources[a],
            worse=sources[b],
            student=students[int(row.argmax())],
            other=students[int(row.argmin())],
        )
        for (a, b), row in zip(pairs, shown, strict=True)
        if row.max() > 0 > row.min()
    ]
    return Crossings(pairs=tuple(found), of=len(pairs))


def _check(gains: Gains) -> None:
    for n, what in zip(gains.shape, ("source", "student", "subset"), strict=True):
        if n < 2:
            raise Unmeasured(Reason.FEW_TO_DECOMPOSE.about(what))


def _interaction(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(means - means.mean(1, keepdims=True) - means.mean(0, keepdims=True) + means.mean())


@dataclass(frozen=True)
class _Squares(Generic[Number]):
    """Mean squares of what varies, or the components that follow: a number each, or draws of it [draws]."""

    source: Number
    interaction: Number
    subset: Number
    residual: Number

    @classmethod
    def of(cls, named: Mapping[str, Number]) -> _Squares[Number]:
        """Of these among others, by name."""
        return cls(**{f.name: named[f.name] for f in fields(cls)})


def _variances(ms: _Squares[Number], shape: tuple[int, ...]) -> _Squares[Number]:
    """Components from expected mean squares; an estimate may be below 0."""
    _, t, k = shape
    return _Squares(
        source=(ms.source - ms.interaction - ms.subset + ms.residual) / (t * k),
        interaction=(ms.interaction - ms.residual) / k,
        subset=(ms.subset - ms.residual) / t,
        residual=ms.residual,
    )


def _share(parts: _Squares[Number]) -> NDArray[np.float64]:
    gamma, alpha = np.maximum(parts.interaction, 0.0), np.maximum(parts.source, 0.0)
    total = gamma + alpha
    return np.asarray(np.where(total > 0, gamma / np.where(total > 0, total, 1.0), np.nan))


def _f_test(top: float, bottom: float, df_top: int, df_bottom: int) -> tuple[float | None, float | None]:
    from scipy.stats import f

    if not bottom > 0:
        return None, None
    return float(top / bottom), float(f.sf(top / bottom, df_top, df_bottom))
