"""Do a study's intervals hold the truth, and do its tests of predictors err as often as they say?

    python experiments/simulated_intervals.py --out results/simulations/intervals.json

gains: how often 95% intervals of `cell_intervals` hold the true gain of a cell, where items decide (many
errors of single answers), where both do, where subsets decide. (Intervals of contrasts:
simulated_matrices.py.) predictors: sources, students and pairs are drawn anew, with a predictor that knows
something of each. How often do the jackknife intervals hold the expected statistic, and how often has a
predictor that knows nothing p <= .05?
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simulations import arguments, begin, rates, write

from resurface import compatibility, progress
from resurface.compatibility import Cell, GainGrid, gains, power, predictor_statistics, results

SHAPES = ((5, 5, 3), (7, 7, 3))
TASKS = 2
RUN = power.RUN_SD / 100  # standard deviation of a pair's gain between runs, as a share
ITEMS: dict[str, dict[str, float]] = {
    "items decide": {"items": 300, "answer": 0.3, "item": 0.05, "subset": 0.003},
    "both decide": {"items": 300, "answer": 0.15, "item": 0.3, "subset": 0.003},
    "subsets decide": {"items": 1000, "answer": 0.1, "item": 0.1, "subset": 0.01},
}
"""Standard deviations of an answer, of an item over all sources of a student, of a source's subsets."""
KNOWS: dict[str, tuple[float, float, float]] = {
    "nothing": (0, 0, 0), "lineage": (0, 0, 1), "quality": (1, 0, 0), "pairs": (0, 1, 0), "all": (1, 1, 1),
}  # fmt: skip
"""Weights of source effect, pair effect and lineage in a predictor's value, beside noise of weight 1."""
LINEAGE = {"self": 2.0, "kin": 1.0, "other": 0.0}
DRAWS = 400  # of the bootstrap; a study takes gains.DRAWS
Tested = Callable[[NDArray[np.float64], GainGrid], results.Tested]
STATISTICS: dict[str, tuple[predictor_statistics.Statistic, Tested]] = {
    "within_student": (
        predictor_statistics.within_student,
        partial(predictor_statistics.tested, predictor_statistics.ranks),
    ),
    "interaction": (
        predictor_statistics.interaction_correlation,
        partial(predictor_statistics.tested, predictor_statistics.residuals),
    ),
    "partial": (predictor_statistics.partial, predictor_statistics.tested_partial),
}


def main() -> None:
    args = arguments(__doc__)
    gains.DRAWS = DRAWS
    found: dict[str, Any] = begin(args) | {"gains": {}, "predictors": {}}
    with progress.task("simulate", 2 * len(SHAPES), "designs") as bar:
        for shape in SHAPES:
            rng = np.random.default_rng([args.seed, *shape])
            name = "x".join(map(str, shape))
            found["gains"][name] = {k: of_gains(shape, args.simulations, rng, **v) for k, v in ITEMS.items()}
            bar.advance()
            found["predictors"][name] = of_predictors(shape, args.simulations, rng)
            bar.advance()
    write(found, args.out)


# ------------------------------------------------------------------------------ gains


def relation(s: int, t: int) -> str:
    return "self" if s == t else "kin" if s // 2 == t // 2 else "other"


def study(
    shape: tuple[int, int, int],
    rng: np.random.Generator,
    items: float,
    answer: float,
    item: float,
    subset: float,
) -> tuple[NDArray[np.float64], list[Cell]]:
    """True gains [S, T], and what a study would see of them."""
    s, t, k = shape
    true = 0.01 * (rng.normal(size=(s, 1)) + rng.normal(size=(1, t)) + rng.normal(size=(s, t)))
    level = true[:, :, None] + subset * rng.normal(size=(s, 1, k)) + RUN * rng.normal(size=shape)
    n = int(items)
    easy = item * rng.normal(size=(TASKS, t, n))
    cells = [
        Cell(
            f"s{i}", f"m{j}", relation(i, j),
            {
                f"task {x}": level[i, j][:, None] + easy[x, j] + answer * rng.normal(size=(k, n))
                for x in range(TASKS)
            },
        )
        for j, i in itertools.product(range(t), range(s))
    ]  # fmt: skip
    return true, cells


def of_gains(
    shape: tuple[int, int, int], n: int, rng: np.random.Generator, **setting: float
) -> dict[str, dict[str, float]]:
    hits: dict[str, list[bool]] = {"cell": []}
    for _ in range(n):
        true, cells = study(shape, rng, **setting)
        found = compatibility.cell_intervals(cells[:1])[0]
        hits["cell"].append(not found.gain.excludes(true[0, 0]))
    return rates(hits)


# ------------------------------------------------------------------------------ predictors


def worlds(
    shape: tuple[int, int, int], n: int, rng: np.random.Generator, knows: tuple[float, float, float]
) -> Iterator[tuple[NDArray[np.float64], GainGrid]]:
    s, t, _ = shape
    labels = np.array([[relation(i, j) for j in range(t)] for i in range(s)])
    related = np.vectorize(LINEAGE.get, otypes=[float])(labels)
    for _ in range(n):
        source, pair = rng.normal(size=(s, 1)), rng.normal(size=(s, t))
        level = source + rng.normal(size=(1, t)) + pair + related
        values = knows[0] * source + knows[1] * pair + knows[2] * related + rng.normal(size=(s, t))
        yield values, GainGrid.unnamed(level[:, :, None] + 100 * RUN * rng.normal(size=shape), labels)


def of_predictors(shape: tuple[int, int, int], n: int, rng: np.random.Generator) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, knows in KNOWS.items():
        expected: dict[str, list[float]] = {key: [] for key in STATISTICS}
        for v, truth in worlds(shape, 5 * n, rng, knows):
            for key, (statistic, _) in STATISTICS.items():
                expected[key].append(statistic(v, truth))
        mean = {key: float(np.nanmean(values)) for key, values in expected.items()}
        hits: dict[str, list[bool]] = {}
        for v, truth in worlds(shape, n, rng, knows):
            for key, (_, test) in STATISTICS.items():
                row = test(v, truth)
                if row.known:
                    hits.setdefault(f"{key}: interval holds it", []).append(not row.excludes(mean[key]))
                hits.setdefault(f"{key}: p <= .05", []).append(row.p is not None and row.p <= 0.05)
        found[name] = {"expected": mean} | rates(hits)
    return found


if __name__ == "__main__":
    main()
