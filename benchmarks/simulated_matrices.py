"""The statistics of a matrix on simulated gains whose effects are known: error rates, coverage, power.

    python benchmarks/simulated_matrices.py --out results/simulations/matrix.json

Gains in points: sources and students differ by a standard deviation of 1, subsets by 0.3, runs by 0.7 (the
run noise of METHODS D). Per design:
    interaction   how often F has p < .05 without an interaction (should be .05)
    share         how often the 95% interval of the relational share holds the true one
    crossings     how often two sources are shown to cross though no interaction exists
    self          how often the permutation test of self-advantage has p <= .05 without one, and with 1 point
    lineage       likewise for kin against strangers, without self pairs
"""

from __future__ import annotations

from typing import Any

import numpy as np
from simulations import arguments, begin, rates, write

from resurface import compatibility, progress
from resurface.compatibility.power import simulate

RUN = 0.7
DESIGNS = ((5, 5, 3), (7, 7, 3), (6, 6, 2))
SHARES = (0.0, 0.25, 0.5, 0.75)


def main() -> None:
    args = arguments(__doc__)
    found: dict[str, Any] = begin(args) | {"designs": {}}
    with progress.task("simulate", len(DESIGNS) * args.simulations, "matrices") as bar:
        for shape in DESIGNS:
            rng = np.random.default_rng([args.seed, *shape])
            found["designs"]["x".join(map(str, shape))] = design(shape, args.simulations, rng, bar)
    write(found, args.out)


def design(shape: tuple[int, int, int], n: int, rng: np.random.Generator, bar: Any) -> dict[str, Any]:
    """Rates over n simulations, each effect on its own gains."""
    selves = np.eye(shape[0], dtype=bool)
    group = np.arange(shape[0]) * 2 // shape[0]  # two lineages, as equal as the number allows
    kin = group[:, None] == group[None, :]
    hits: dict[str, list[bool]] = {}

    def note(key: str, value: bool) -> None:
        hits.setdefault(key, []).append(bool(value))

    for _ in range(n):
        for share in SHARES:
            drawn = compatibility.decompose(simulate(rng, shape, RUN, share=share))
            interval = drawn["share"]
            held = interval["value"] is not None and interval["low"] <= share <= interval["high"]
            note(f"share {share}: interval holds it", held)
            note(f"share {share}: interaction p < .05", drawn["p"] < 0.05)
            if share == 0:
                note("share 0.0: a crossing is shown", bool(drawn["crossings"]["pairs"]))
        for points in (0.0, 1.0):
            plain = simulate(rng, shape, RUN).mean(2)
            own = compatibility.self_advantage(plain + points * selves, selves, most=1000)
            note(f"self {points}: p <= .05", own["p"] <= 0.05)
            related = compatibility.lineage_advantage(
                plain + points * (kin & ~selves), kin, selves, most=1000
            )
            note(f"lineage {points}: p <= .05", related["p"] <= 0.05)
        bar.advance()
    smallest = compatibility.lineage_advantage(np.zeros(selves.shape), kin, selves, most=1000)["smallest_p"]
    return rates(hits) | {"smallest p of lineage": smallest}


if __name__ == "__main__":
    main()
