"""What a design can see, told before it is run: power of the test of self-advantage (METHODS D).

    G_stk = mu + alpha_s + beta_t + effect x [s = t] + u_k(s) + e_stk,   e ~ N(0, run_sd^2)

Nothing else belongs to the pair: interaction besides the effect would be noise here, and lower the power.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.gains import lineage_advantage, relabellings, self_advantage

SIMULATIONS = 2000
ORDERS = 5040  # 7!: more sources are relabelled at random
SUBSET_SD = 0.3
"""Of what subsets of one source differ by, points; no power depends on it, for all students share it."""


def simulate(
    rng: np.random.Generator, shape: tuple[int, int, int], run_sd: float, *, share: float = 0.0
) -> NDArray[np.float64]:
    """Gains [S, T, K] in points whose sources and students differ by a standard deviation of 1.

    share: below 1; of the variance between sources, what belongs to pairs (the relational share).
    """
    s, t, k = shape
    pair = share / (1 - share)
    effects = [
        (1.0, (s, 1, 1)), (1.0, (1, t, 1)), (pair, (s, t, 1)),
        (SUBSET_SD**2, (s, 1, k)), (run_sd**2, (s, t, k)),
    ]  # fmt: skip
    return np.asarray(sum(rng.normal(0, variance**0.5, size) for variance, size in effects))


def least_effects(
    selves: NDArray[np.bool_],
    subsets: int,
    run_sd: float,
    *,
    alpha: float = 0.05,
    simulations: int = SIMULATIONS,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The effect above which `self_advantage` has p <= alpha, in each of [simulations] experiments.

    Units of run_sd; infinite where no effect has. The power of an effect is the share that lies below it.
    An order of the sources reaches the true one's statistic only up to an effect that is linear in both,
    so one draw of the noise serves all effects.
    """
    rng = np.random.default_rng(seed)
    shape = (*selves.shape, subsets)
    gains = np.array([simulate(rng, shape, run_sd).mean(2) for _ in range(simulations)])
    noise = gains - gains.mean(1, keepdims=True) - gains.mean(2, keepdims=True)
    orders, _ = relabellings(len(selves), ORDERS, seed)
    masks = selves[orders].reshape(len(orders), -1) / selves.sum()
    centred = selves - selves.mean(0) - selves.mean(1, keepdims=True) + selves.mean()
    overlap = masks @ centred.ravel()
    gap = overlap[0] - overlap  # never below 0: all orders' masks are of one length once centred
    value = masks @ noise.reshape(simulations, -1).T  # [orders, simulations]
    other = gap > 1e-12
    spare = int(alpha * len(orders) + 1e-9) - int((~other).sum())  # orders that may reach the true one's
    if spare < 0:
        return np.full(simulations, np.inf)
    reached = np.sort((value[other] - value[0]) / gap[other, None], axis=0)[::-1]
    return reached[spare] if spare < len(reached) else np.full(simulations, -np.inf)


def design(
    selves: NDArray[np.bool_],
    kin: NDArray[np.bool_],
    unknown: NDArray[np.bool_],
    subsets: int,
    run_sd: float,
    *,
    seeds: int = 1,
    power: float = 0.8,
    alpha: float = 0.05,
    seed: int = 0,
) -> dict[str, Any]:
    """What the tests of a study can show at best; selves, kin, unknown: [sources, students].

    seeds: trainings of a pair on one subset, whose mean its gain is.

    Returns {run_sd, alpha, power, self: {detectable, smallest_p}, lineage: {smallest_p}}. detectable: the
    self-advantage in points that is shown with that power. What cannot be is None, with a reason.
    """
    nothing = np.zeros(selves.shape)
    own: dict[str, Any] = {"detectable": None, "smallest_p": None}
    related: dict[str, Any] = {"smallest_p": None}
    try:
        own["smallest_p"] = self_advantage(nothing, selves)["smallest_p"]
        effect = np.quantile(
            least_effects(selves, subsets, run_sd / seeds**0.5, alpha=alpha, seed=seed),
            power,
            method="higher",
        )
        if np.isfinite(effect):
            own["detectable"] = float(effect)
        else:
            own["reason"] = f"no p of this design is at most {alpha}"
    except ValueError as e:
        own["reason"] = str(e)
    try:
        related["smallest_p"] = lineage_advantage(nothing, kin, selves, unknown)["smallest_p"]
    except ValueError as e:
        related["reason"] = str(e)
    return {"run_sd": run_sd, "alpha": alpha, "power": power, "self": own, "lineage": related}
