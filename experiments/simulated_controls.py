"""Do intervals over seeds and items hold the truth where a sweep has two to five seeds, and the comparison of
control arms with its many margins: does it find differences that are not there?

    python experiments/simulated_controls.py --out results/simulations/controls.json

crossed: how often the 95% interval of `statistics.crossed_mean` holds the truth, by seeds and by the share of
the variance that is theirs; beside it what Student's t with Satterthwaite's degrees of freedom would hold.
reach: the design of `lab-controls` (5 seeds, self-training and 8 arms at 9 interpolation strengths above 0,
margins of 1, 2 and 5 points) at the standard deviations between runs that were found, 1.3 and 1.7 points at
strength 1. All arms do the same in expectation: how often their intervals hold the true reach of the mean
path, and their differences 0; how often any of the 24 comparisons rejects after Holm over all of them; and
how far reach is off on average, of the mean path and as the mean of each seed's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student
from simulations import arguments, begin, rates, write

from resurface import progress
from resurface.controls import Path, compare_paths, largest_drop
from resurface.stats.intervals import crossed_mean, holm

SEEDS, ARMS, TASKS, ITEMS, WINDOWS = 5, 8, 4, 60, 110
STRENGTHS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
MARGINS = (1.0, 2.0, 5.0)
LOSSES = {"costs nothing": 0.0, "costs 1 point": -0.01, "costs 3 points": -0.03}
"""True change of capability at strength 1; it grows with the square of the strength."""
DESIGNS = (
    (0.017, "costs nothing"),
    (0.017, "costs 1 point"),
    (0.017, "costs 3 points"),
    (0.013, "costs 1 point"),
)
"""Standard deviation between runs at strength 1, a share; loss."""
RATE = 3.0  # of what is recited, exp(-RATE x strength) is left
ITEM_SE = 0.005
"""Standard error of a mean over tasks that the items give alone, at strength 1."""


def main() -> None:
    args = arguments(__doc__)
    found: dict[str, Any] = begin(args) | {"crossed": {}, "reach": {}}
    with progress.task("simulate", 3 + len(DESIGNS), "designs") as bar:
        for seeds in (2, 3, 5):
            rng = np.random.default_rng([args.seed, seeds])
            found["crossed"][f"{seeds} seeds"] = of_crossed(seeds, args.simulations, rng)
            bar.advance()
        for run, name in DESIGNS:
            rng = np.random.default_rng([args.seed, round(1000 * run), *name.encode()])
            key = f"run SD {100 * run:.1f} points, {name}"
            found["reach"][key] = of_reach(run, LOSSES[name], args.simulations, rng)
            bar.advance()
    write(found, args.out)


def of_crossed(seeds: int, simulations: int, rng: np.random.Generator) -> dict[str, Any]:
    """Per share of the mean's variance that seeds have: how often each interval holds the truth, 0."""
    out: dict[str, Any] = {}
    for share in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0):
        hits: dict[str, list[bool]] = {"crossed_mean": [], "satterthwaite": []}
        for _ in range(simulations):
            items = rng.normal(0, ((1 - share) * TASKS * ITEMS) ** 0.5, (TASKS, 1, ITEMS))
            of_seeds = rng.normal(0, (share * seeds) ** 0.5, (1, seeds, 1))
            tables = items + of_seeds
            mean, low, high = crossed_mean(list(tables))
            assert low is not None and high is not None
            hits["crossed_mean"].append(low <= 0 <= high)
            hits["satterthwaite"].append(abs(mean) <= _satterthwaite(tables))
        out[f"{share:.0%} of the variance is of seeds"] = rates(hits)
    return out


def _satterthwaite(tables: NDArray[np.float64]) -> float:
    """Half-width of the interval that this package had before."""
    parts = [(t.mean(0).var(ddof=1) / ITEMS / TASKS**2, ITEMS - 1) for t in tables]
    parts.append((tables.mean((0, 2)).var(ddof=1) / tables.shape[1], tables.shape[1] - 1))
    total = sum(v for v, _ in parts)
    df = total**2 / sum(v**2 / df for v, df in parts)
    return float(student.ppf(0.975, df) * total**0.5)


def of_reach(run: float, loss: float, simulations: int, rng: np.random.Generator) -> dict[str, Any]:
    strengths = np.array(STRENGTHS)
    capability, drop = loss * strengths**2, 1 - np.exp(-RATE * strengths)
    truth = {m: float(largest_drop(capability, drop, m / 100)) for m in MARGINS}
    hits: dict[str, list[bool]] = {"rejects anything (24 comparisons)": []}
    off: dict[str, list[float]] = {}
    for _ in range(simulations):
        arms = [simulated_arm(run, loss, rng) for _ in range(1 + ARMS)]
        before = np.ones(WINDOWS, bool)
        names = [str(w) for w in range(WINDOWS)]
        others = {str(j): arm for j, arm in enumerate(arms[1:])}
        rows = compare_paths(arms[0], others, before, names, MARGINS)
        ps = []
        for row in rows:
            m, own = row.margin, row.own.reach
            hits.setdefault(f"reach at {m:g}", []).append(own.known and not own.excludes(truth[m]))
            one = row.arms["0"]
            hits.setdefault(f"difference at {m:g}", []).append(
                one.difference.known and not one.difference.excludes(0)
            )
            off.setdefault(f"mean path at {m:g}", []).append(
                float("nan" if own.value is None else own.value - truth[m])
            )
            each = [
                float(largest_drop(np.mean([x.mean(1) for x in p.items], 0), 1 - p.hits.mean(1), m / 100))
                for p in arms[0]
            ]
            off.setdefault(f"mean of reaches at {m:g}", []).append(float(np.mean(each)) - truth[m])
            ps += [2 * min(r.p, 1 - r.p) for r in row.arms.values() if r.p is not None]
        hits["rejects anything (24 comparisons)"].append(bool(holm(ps).min() < 0.05))
    return {
        "true reach": truth,
        "rates": rates(hits),
        "off by, on average": {k: float(np.mean(v)) for k, v in off.items()},
    }


def simulated_arm(run: float, loss: float, rng: np.random.Generator) -> list[Path]:
    """A path per seed. What a seed does grows with the strength, as a straight line in weight space does."""
    strengths = np.array(STRENGTHS)[:, None]
    of_items = [rng.normal(0, ITEM_SE * (TASKS * ITEMS) ** 0.5, ITEMS) * strengths for _ in range(TASKS)]
    known = rng.random(WINDOWS)
    paths = []
    for _ in range(SEEDS):
        shift = loss * strengths**2 + rng.normal(0, run) * strengths
        rate = RATE * np.exp(rng.normal(0, 0.1))
        own = np.clip(known + rng.normal(0, 0.02, WINDOWS), 0, 1)
        items = tuple(x + shift for x in of_items)
        paths.append(Path(STRENGTHS, items, own < np.exp(-rate * strengths)))
    return paths


if __name__ == "__main__":
    main()
