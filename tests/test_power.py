"""Power of a design: closed cases, and the permutation test itself on the same noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from resurface import compatibility
from resurface.compatibility.power import design, least_effects, simulate


def rate(selves, subsets, run_sd, effect, **options):
    return float((least_effects(selves, subsets, run_sd, **options) < effect).mean())


@pytest.mark.parametrize("n", [4, 5, 6])
def test_no_effect_is_seen_as_often_as_alpha_says_and_a_huge_one_always(n):
    own = np.eye(n, dtype=bool)
    reachable = math.floor(0.05 * math.factorial(n)) / math.factorial(n)  # p comes in steps
    assert rate(own, 2, 0.7, 0.0) == pytest.approx(reachable, abs=4 * math.sqrt(0.05 / 2000))
    assert rate(own, 2, 0.7, 50.0) == 1
    assert rate(own, 2, 0.7, -50.0) == 0


@pytest.mark.parametrize(("n", "subsets"), [(5, 1), (6, 1), (7, 1), (7, 3)])
def test_power_is_near_that_of_a_normal_contrast(n, subsets):
    """Self pairs stand out of a two-way table with a standard error of sd / sqrt(K (n - 1)). For 5 x 5 and
    cells of SD 0.7, a point is seen with .89 by that; few relabellings cost some of it."""
    own, error = np.eye(n, dtype=bool), 0.7 / math.sqrt(subsets * (n - 1))
    for effect in (0.5, 1.0):
        exact = float(norm.cdf(effect / error - norm.isf(0.05)))
        assert exact - 0.07 < rate(own, subsets, 0.7, effect) < exact + 0.02
    assert norm.cdf(1 / (0.7 / 2) - norm.isf(0.05)) == pytest.approx(0.89, abs=0.005)


@pytest.mark.parametrize("shape", [(5, 5), (4, 6)])
def test_it_is_the_test_of_self_advantage_on_the_same_noise(shape):
    own = np.zeros(shape, bool)
    own[np.arange(4), np.arange(4)] = True
    least = least_effects(own, 3, 0.7, simulations=25, seed=4)
    rng = np.random.default_rng(4)
    for bound in least:
        noise = simulate(rng, (*shape, 3), 0.7).mean(2)
        above, below = (
            compatibility.self_advantage(noise + (bound + d) * own, own)["p"] for d in (1e-6, -1e-6)
        )
        assert above <= 0.05 < below


def test_a_design_says_what_it_cannot_show():
    own = np.eye(5, dtype=bool)
    kin = (np.array([0, 0, 0, 1, 1])[:, None] == [0, 0, 0, 1, 1]) & ~own
    none = np.zeros((5, 5), bool)
    found = design(own, kin, none, 3, 0.7)
    assert found == design(own, kin, none, 3, 0.7)  # seeded
    effect = found["self"]["detectable"]
    assert rate(own, 3, 0.7, effect + 1e-9) >= 0.8 > rate(own, 3, 0.7, effect - 0.02)
    assert design(own, kin, none, 3, 1.4)["self"]["detectable"] == pytest.approx(2 * effect)
    assert design(own, kin, none, 12, 1.4)["self"]["detectable"] == pytest.approx(effect, rel=0.1)
    assert found["self"]["smallest_p"] == pytest.approx(1 / 120)
    assert found["lineage"]["smallest_p"] == pytest.approx(0.1)
    small = design(np.eye(3, dtype=bool), np.zeros((3, 3), bool), np.zeros((3, 3), bool), 3, 0.7)
    why = "no p of this design is at most 0.05"
    assert small["self"] == {"detectable": None, "smallest_p": pytest.approx(1 / 6), "reason": why}
    assert small["lineage"]["smallest_p"] is None and "matched" in small["lineage"]["reason"]
    strangers = design(np.zeros((3, 3), bool), none[:3, :3], none[:3, :3], 3, 0.7)
    assert strangers["self"]["smallest_p"] is strangers["self"]["detectable"] is None
    assert "matched" in strangers["self"]["reason"]


def test_four_seeds_halve_the_effect_that_is_seen():
    own = np.eye(5, dtype=bool)
    nothing = np.zeros_like(own)
    one, four = (design(own, nothing, nothing, 2, 0.7, seeds=n)["self"]["detectable"] for n in (1, 4))
    assert four == pytest.approx(one / 2, rel=1e-6)
