"""The statistics of a matrix on simulated gains whose effects are known: error rates, coverage, power.

    python experiments/simulated_matrices.py --out results/simulations/matrix.json

Designs: those that were used (5 + 1 + 1 lab models with three subsets; 3 + 1 + 1 with two; 2 + 1 with one)
and a balanced one (three families of three, one subset). Gains in points: sources and students differ by a
standard deviation of 1, subsets by .66, runs by 1.72, as found in results/lab/compatibility; `pairs differ`
adds 1.4 for every pair, as found there within families.

Effects (points): none; students (their effects alone are large, 5); friends (4 between two models of
different lineages, both ways); affinity (2 of every pair of one lineage, self as well: no self effect);
self 1 and 2; lineage 1 and 2 (as affinity). Per design, effect and contrast, as often as the design
identifies it:
    p <= .05          of the permutation test
    students, runs    the 95% interval over students (jackknife, both effects removed), or over runs, holds
                      the true contrast (over runs: of these very pairs)
    within students   the t interval over within-student differences does
Where it is not identified, `shown anyway` says how often a test that ignores this would have p <= .05.
Besides, of decompositions: interaction (how often F has p < .05), share (how often its interval holds the
true share) and crossings (how often two sources are shown to cross though no interaction exists).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from simulations import arguments, begin, rates, write

from resurface import compatibility, progress
from resurface.compatibility import GainGrid, Lineages, contrasts, identify, power, variance
from resurface.compatibility.permutations import relabel

DESIGNS: dict[str, tuple[tuple[int, ...], int]] = {
    "7x7x3, 5+1+1": ((5, 1, 1), 3),
    "5x5x2, 3+1+1": ((3, 1, 1), 2),
    "3x3x1, 2+1": ((2, 1), 1),
    "9x9x1, 3+3+3": ((3, 3, 3), 1),
}
EFFECTS: dict[str, dict[str, float]] = {
    "none": {}, "students": {"students": 5}, "friends": {"friends": 4}, "affinity": {"near": 2},
    "self 1": {"own": 1}, "self 2": {"own": 2}, "lineage 1": {"near": 1}, "lineage 2": {"near": 2},
    "none, pairs differ": {"pairs": power.PAIR_SD},
    "self 2, pairs differ": {"own": 2, "pairs": power.PAIR_SD},
    "lineage 2, pairs differ": {"near": 2, "pairs": power.PAIR_SD},
}  # fmt: skip
TESTED = ("self_vs_same_lineage", "same_lineage_vs_other")
SHARES = (0.0, 0.25, 0.5, 0.75)


def models(sizes: tuple[int, ...]) -> Lineages:
    """As many models of each family, each as source and as student."""
    family = np.repeat(range(len(sizes)), sizes)
    relation = np.where(family[:, None] == family, "kin", "other").astype("<U7")
    np.fill_diagonal(relation, "self")
    names = tuple(f"m{i}" for i in range(len(family)))
    return Lineages(names, names, relation)


def main() -> None:
    args = arguments(__doc__)
    found: dict[str, Any] = begin(args) | {
        "run_sd": power.RUN_SD, "subset_sd": power.SUBSET_SD, "pair_sd": power.PAIR_SD, "designs": {},
    }  # fmt: skip
    with progress.task("simulate", len(DESIGNS), "designs") as bar:
        for name, (sizes, subsets) in DESIGNS.items():
            rng = np.random.default_rng([args.seed, *sizes, subsets])
            found["designs"][name] = design(models(sizes), subsets, args.simulations, rng)
            bar.advance()
    write(found, args.out)


def design(lineages: Lineages, subsets: int, n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Rates over n simulations of every effect."""
    found: dict[str, Any] = {"contrasts": {}, "effects": {}}
    tools = {}
    for name in TESTED:
        held = identify(lineages, name)
        row: dict[str, Any] = {"identified": held.identified, "reason": held.reason}
        try:
            test = relabel(lineages, name)
            tools[name] = held.identified, test, Intervals(lineages, name)
            row |= {"relabellings": len(test.weights), "smallest p": test.smallest_p}
        except ValueError as e:
            row["reason"] = str(e)
        found["contrasts"][name] = row
    for label, effect in EFFECTS.items():
        found["effects"][label] = of_effect(lineages, subsets, n, rng, tools, **effect)
    if subsets > 1:
        found["decomposition"] = of_decomposition((*lineages.relation.shape, subsets), n, rng)
    return found


class Intervals:
    """The intervals of `contrasts`, for many gains at once: their weights are taken once."""

    def __init__(self, lineages: Lineages, name: str) -> None:
        weights = contrasts.weights(lineages, name)
        assert weights is not None
        self.weights = weights
        self.left = []
        for t in range(len(lineages.students)):
            part = contrasts.weights(lineages.of_student(t), name) if len(lineages.students) > 2 else None
            self.left.append(None if part is None else np.insert(part, t, 0.0, axis=1))
        one, other = ((lineages.relation == label) for label in contrasts.CONTRASTS[name])
        self.both = np.flatnonzero(one.any(0) & other.any(0))
        self.each = np.array(
            [one[:, t] / one[:, t].sum() - other[:, t] / other[:, t].sum() for t in self.both]
        )

    def held(self, gains: np.ndarray, true: float, of_these: np.ndarray) -> dict[str, bool]:
        """gains [S, T, K]; which intervals hold the true contrast, over runs that of these pairs [S, T]."""
        from scipy.stats import t as student_t

        mean, (_, students, k) = gains.mean(2), gains.shape
        value, found = float((self.weights * mean).sum()), {}

        def note(key: str, at: float, variance: float, df: int, true: float = true) -> None:
            found[key] = bool(abs(at - true) <= float(student_t.ppf(0.975, df)) * variance**0.5)

        if all(part is not None for part in self.left):
            left = np.array([float((part * mean).sum()) for part in self.left])
            note("students", value, (students - 1) * float(left.var()), students - 1)
        if k > 1:
            squares, df = variance.mean_squares(gains)
            ms = squares["residual"] / df["residual"]
            these = float((self.weights * of_these).sum())
            note("runs", value, float((self.weights**2).sum()) * ms / k, df["residual"], these)
        if len(self.both) > 1:
            own = (self.each * mean[:, self.both].T).sum(1)
            note("within students", float(own.mean()), float(own.var(ddof=1)) / len(own), len(own) - 1)
        return found


def of_effect(
    lineages: Lineages,
    subsets: int,
    n: int,
    rng: np.random.Generator,
    tools: dict[str, Any],
    *,
    students: float = 1.0,
    friends: float = 0.0,
    near: float = 0.0,
    own: float = 0.0,
    pairs: float = 0.0,
) -> dict[str, Any]:
    size = len(lineages.students)
    pattern = near * (lineages.relation != "other") + own * (lineages.relation == "self")
    strangers = np.argwhere(lineages.relation == "other")[-1]  # the last two of different lineages
    pattern[strangers[0], strangers[1]] += friends
    pattern[strangers[1], strangers[0]] += friends
    true = {"self_vs_same_lineage": own, "same_lineage_vs_other": near}
    hits: dict[str, dict[str, list[bool]]] = {name: {} for name in tools}
    for _ in range(n):
        expected = pattern + pairs * rng.normal(size=(size, size))
        gains = power.simulate(rng, (size, size, subsets)) + expected[:, :, None]
        gains += np.sqrt(students**2 - 1) * rng.normal(size=(1, size, 1))
        mean = gains.mean(2)
        for name, (identified, test, intervals) in tools.items():
            rows = hits[name]
            rows.setdefault("p <= .05" if identified else "shown anyway", []).append(test.p(mean) <= 0.05)
            for key, held in (intervals.held(gains, true[name], expected) if identified else {}).items():
                rows.setdefault(key, []).append(held)
    return {name: rates(rows) for name, rows in hits.items()}


def of_decomposition(shape: tuple[int, int, int], n: int, rng: np.random.Generator) -> dict[str, Any]:
    hits: dict[str, list[bool]] = {}

    def note(key: str, value: bool) -> None:
        hits.setdefault(key, []).append(bool(value))

    for _ in range(n):
        for share in SHARES:
            pair = (share / (1 - share)) ** 0.5  # sources differ by 1
            drawn = compatibility.decompose(GainGrid.unnamed(power.simulate(rng, shape, pair_sd=pair)))
            held = drawn.share.known and not drawn.share.excludes(share)
            note(f"share {share}: interval holds it", held)
            note(f"share {share}: interaction p < .05", drawn.p is not None and drawn.p < 0.05)
            if share == 0:
                note("share 0.0: a crossing is shown", bool(drawn.crossings.pairs))
    return rates(hits)


if __name__ == "__main__":
    main()
