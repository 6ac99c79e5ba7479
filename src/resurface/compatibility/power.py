"""What a design can detect, before it is run: power of the permutation tests of contrasts (METHODS D).

    G_stk = mu + alpha_s + beta_t + effect x [s, t of the nearer relation] + gamma_st + u_k(s) + e_stk

gamma_st ~ N(0, pair_sd^2) is what a pair has for itself, beyond any relation; e_stk ~ N(0, run_sd^2).
Sources, students and subsets have no part in it, for the tests take them out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.contrasts import CONTRASTS, Gains, identify
from resurface.compatibility.grid import Lineages
from resurface.compatibility.permutations import Relabellings, relabel
from resurface.compatibility.results import ContrastPower, Identification, Power
from resurface.stats.reasons import Reason, Unmeasured

SIMULATIONS = 2000
_AT_ONCE = 250  # of these, so that many relabellings take no memory
RUN_SD, SUBSET_SD, PAIR_SD = 1.72, 0.66, 1.4
"""Points; of runs, of a source's subsets, and of what pairs have for themselves beyond their families, as
found in the 7 x 7 matrix of lab models (results/lab/compatibility, `decomposition`; pairs include what few
items leave open)."""


def simulate(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    run_sd: float = RUN_SD,
    *,
    pair_sd: float = 0.0,
    subset_sd: float = SUBSET_SD,
) -> Gains:
    """Gains [S, T, K] in points whose sources and students differ by a standard deviation of 1."""
    s, t, k = shape
    effects = [
        (1.0, (s, 1, 1)), (1.0, (1, t, 1)), (pair_sd, (s, t, 1)), (subset_sd, (s, 1, k)), (run_sd, (s, t, k)),
    ]  # fmt: skip
    return np.asarray(sum(rng.normal(0, sd, size) for sd, size in effects))


def least_effects(
    test: Relabellings,
    effect: NDArray[np.bool_],
    noise_sd: float,
    *,
    alpha: float = 0.05,
    simulations: int = SIMULATIONS,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The effect above which a test has p <= alpha, in each of [simulations] experiments.

    effect [S, T]: the pairs that have it. noise_sd: of a pair's mean gain, in the units of the result.
    Infinite where no effect has. The power of an effect is the share that lies below it. A relabelling
    reaches the true one's contrast only up to an effect that is linear in both, so one draw of the noise
    serves all effects.
    """
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, noise_sd, (test.weights.shape[1], simulations))
    overlap = test.weights @ effect.ravel()
    gap = overlap[0] - overlap  # never below 0: what is relabelled keeps its length
    other = gap > 1e-9
    spare = int(alpha * len(gap) + 1e-9) - int((~other).sum())  # relabellings that may reach the true one's
    if spare < 0:
        return np.full(simulations, np.inf)
    if spare >= other.sum():
        return np.full(simulations, -np.inf)
    found = []
    for at in range(0, simulations, _AT_ONCE):
        value = test.weights @ noise[:, at : at + _AT_ONCE]
        reached = (value[other] - value[0]) / gap[other, None]
        found.append(-np.partition(-reached, spare, axis=0)[spare])
    return np.concatenate(found)


def design(
    lineages: Lineages,
    subsets: int,
    run_sd: float,
    pair_sd: float,
    *,
    seeds: int = 1,
    power: float = 0.8,
    alpha: float = 0.05,
    seed: int = 0,
) -> Power:
    """What a study can show at best, of every contrast; seeds: trainings of a pair on one subset.

    run_sd, pair_sd: points.
    """
    noise = run_sd / (subsets * seeds) ** 0.5
    both = float(np.hypot(noise, pair_sd))
    rows = {}
    for name, (nearer, _) in CONTRASTS.items():
        found = identify(lineages, name)
        row = ContrastPower(**{key: getattr(found, key) for key in Identification.model_fields})
        if found.identified:
            row = row.model_copy(update=_shown(lineages, name, nearer, (noise, both), power, alpha, seed))
        rows[name] = row
    return Power(run_sd=run_sd, pair_sd=pair_sd, alpha=alpha, power=power, contrasts=rows)


def _shown(
    lineages: Lineages,
    name: str,
    nearer: str,
    noise: tuple[float, float],
    power: float,
    alpha: float,
    seed: int,
) -> dict[str, float | str | None]:
    """Fields of `ContrastPower` that the test decides; noise: of runs alone, and with pairs."""
    try:
        test = relabel(lineages, name)
    except Unmeasured as e:
        return {"reason": str(e)}
    least: list[float | None] = []
    for sd in noise:
        seen = least_effects(test, lineages.relation == nearer, sd, alpha=alpha, seed=seed)
        effect = float(np.quantile(seen, power, method="higher"))
        least.append(effect if np.isfinite(effect) else None)
    why = None if least[0] is not None else Reason.NO_SUCH_P.about(f"{alpha}")
    return {
        "smallest_p": test.smallest_p,
        "detectable": least[0],
        "detectable_pairs": least[1],
        "reason": why,
    }
