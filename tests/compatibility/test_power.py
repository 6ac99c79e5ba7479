"""Power of a design: closed cases, and the permutation tests themselves on the same noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from resurface.compatibility import Lineages, contrasts
from resurface.compatibility.permutations import relabel
from resurface.compatibility.power import design, least_effects
from resurface.report.reasons import said
from resurface.stats.reasons import Reason

SELF, SAME, TOTAL = "self_vs_same_lineage", "same_lineage_vs_other", "self_vs_other"


def models(*sizes):
    family = np.repeat(range(len(sizes)), sizes)
    relation = np.where(family[:, None] == family, "kin", "other").astype("<U7")
    np.fill_diagonal(relation, "self")
    names = tuple(f"m{i}" for i in range(len(family)))
    return Lineages(names, names, relation)


def rate(lineages, name, sd, effect, **options):
    near = lineages.relation == contrasts.CONTRASTS[name][0]
    return float((least_effects(relabel(lineages, name), near, sd, **options) < effect).mean())


@pytest.mark.parametrize(("sizes", "name"), [((5, 1, 1), SELF), ((3, 3, 3), SAME), ((1, 1, 1, 1, 1), TOTAL)])
def test_no_effect_is_seen_as_often_as_alpha_says_and_a_huge_one_always(sizes, name):
    lineages = models(*sizes)
    orders = len(relabel(lineages, name).weights)
    reachable = math.floor(0.05 * orders) / orders  # p comes in steps
    assert rate(lineages, name, 0.7, 0.0) == pytest.approx(reachable, abs=4 * math.sqrt(0.05 / 2000))
    assert rate(lineages, name, 0.7, 50.0) == 1
    assert rate(lineages, name, 0.7, -50.0) == 0


def test_power_is_near_that_of_a_normal_contrast():
    """The standard error of a contrast is that of its weights; few relabellings cost some of the power."""
    for sizes, name in (((3, 3, 3), SAME), ((3, 3, 3), SELF), ((5, 1, 1), SELF)):
        lineages = models(*sizes)
        error = 1.72 * math.sqrt((contrasts.weights(lineages, name) ** 2).sum())
        for effect in (1.0, 2.0):
            exact = float(norm.cdf(effect / error - norm.isf(0.05)))
            assert exact - 0.09 < rate(lineages, name, 1.72, effect) < exact + 0.03


def test_the_balanced_design_sees_two_points_of_lineage():
    """81 cells, one subset each, at the noise of runs and of pairs that was found."""
    lineages = models(3, 3, 3)
    assert rate(lineages, SAME, 1.72, 2.0) > 0.97
    assert rate(lineages, SAME, math.hypot(1.72, 1.4), 2.0) == pytest.approx(0.94, abs=0.03)


@pytest.mark.parametrize(("sizes", "name"), [((3, 2), SELF), ((2, 2, 2), SAME)])
def test_it_is_the_permutation_test_on_the_same_noise(sizes, name):
    lineages = models(*sizes)
    test, n = relabel(lineages, name), sum(sizes)
    near = lineages.relation == contrasts.CONTRASTS[name][0]
    alpha = 2 / len(test.weights)  # these few relabellings do not reach .05
    least = least_effects(test, near, 0.7, alpha=alpha, simulations=25, seed=4)
    noise = np.random.default_rng(4).normal(0, 0.7, (n * n, 25)).T.reshape(25, n, n)
    for bound, gains in zip(least, noise, strict=True):
        above, below = (test.p(gains + (bound + d) * near) for d in (1e-6, -1e-6))
        assert above <= alpha + 1e-9 < below


def test_a_design_says_what_it_cannot_show():
    found = design(models(3, 3, 3), 3, 0.7, 0.0)
    assert found == design(models(3, 3, 3), 3, 0.7, 0.0)  # seeded
    row = found.contrasts[SAME]
    assert row.identified and row.smallest_p == pytest.approx(1 / 280) and row.students == 9
    effect = row.detectable
    assert effect == row.detectable_pairs
    assert rate(models(3, 3, 3), SAME, 0.7 / 3**0.5, effect + 1e-9) >= 0.8
    assert rate(models(3, 3, 3), SAME, 0.7 / 3**0.5, effect - 0.02) < 0.8
    assert design(models(3, 3, 3), 3, 1.4, 0.0).contrasts[SAME].detectable == pytest.approx(2 * effect)
    pairs = design(models(3, 3, 3), 3, 0.7, 3**0.5 * 0.7 / 3**0.5).contrasts[SAME].detectable_pairs
    assert pairs == pytest.approx(2 * effect)  # a variance of 1 + 3 parts
    assert found.contrasts[TOTAL].smallest_p is None
    assert found.contrasts[TOTAL].reason == Reason.ONE_LINEAGE_TO_EXCHANGE
    lab = design(models(5, 1, 1), 3, 1.72, 1.4).contrasts
    assert lab[SELF].smallest_p == pytest.approx(1 / 120) and 1 < lab[SELF].detectable < 2
    assert not lab[SAME].identified and lab[SAME].rests_on == ("m5 <-> m6",)
    assert lab[SAME].smallest_p is lab[SAME].detectable is None
    few = design(models(3, 1, 1), 2, 1.72, 1.4).contrasts[SELF]
    assert few.smallest_p == pytest.approx(1 / 6) and few.detectable is None
    assert said(few.reason) == "no p of this design is at most 0.05"


def test_four_seeds_halve_the_effect_that_is_seen():
    lineages = models(1, 1, 1, 1, 1)
    one, four = (design(lineages, 2, 0.7, 0.0, seeds=n).contrasts[TOTAL].detectable for n in (1, 4))
    assert four == pytest.approx(one / 2, rel=1e-6)
