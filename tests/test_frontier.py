"""Arms are compared at equal cost, by intervals that hold what they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm as normal
from scipy.stats import t as t_distribution

from resurface import statistics
from resurface.controls import Path as ArmPath
from resurface.controls import compare_paths, frontier, reach
from resurface.exact import clopper_pearson
from resurface.statistics import holm, replicate_interval

# ------------------------------------------------------------------------------ reach


def one(capability, drop, margin):
    return float(reach(np.array(capability, float), np.array(drop, float), margin))


def test_reach_in_closed_form():
    assert one([-0.04], [0.8], 0.01) == pytest.approx(0.2)  # a quarter of the way to the only dose
    assert one([-0.005, -0.015], [0.5, 0.9], 0.01) == pytest.approx(0.7)  # half way between two
    assert one([0.02, -0.01], [0.6, 0.4], 0.01) == 0.6  # the best is not the last
    assert one([-0.1, 0.0], [0.5, 0.9], 0.05) == 0.9  # beyond the margin and back
    assert one([-0.5], [-0.3], 0.05) == 0  # worse than nothing: stay at the base
    assert one([-0.5], [1.0], 0.0) == 0


@given(
    st.lists(st.tuples(st.integers(-30, 10), st.integers(-50, 100)), min_size=1, max_size=4),
    st.integers(0, 20),
)
def test_reach_is_the_best_of_a_densely_sampled_path(places, margin):
    c, d = ([0.0, *(p[i] / 100 for p in places)] for i in (0, 1))
    best, steps = 0.0, 400
    for i in range(len(places)):
        for t in np.linspace(0, 1, steps + 1):
            if (1 - t) * c[i] + t * c[i + 1] >= -margin / 100:
                best = max(best, (1 - t) * d[i] + t * d[i + 1])
    found = one(c[1:], d[1:], margin / 100)
    widest = max(abs(b - a) for a, b in itertools.pairwise(d))
    assert best - 1e-9 <= found <= best + widest / steps + 1e-9


# ------------------------------------------------------------------------------ paths


BEFORE = np.ones(50, bool)
DOCUMENTS = [f"d{i}" for i in range(50)]


def arm(rng, left, count=3):
    """A path per seed: doses lose 3 and 6 points of 60 items; of 50 windows a share stays, or twice that.

    Seeds differ little: they answer the same items and know the same windows.
    """
    answers, known = rng.normal(0, 0.1, (2, 60)), rng.random((2, 50))
    paths = []
    for _ in range(count):
        items = answers - np.array([[0.03], [0.06]]) + rng.normal(0, 0.02, (2, 60))
        hits = known + rng.normal(0, 0.01, (2, 50)) < np.array([[2 * left], [left]])
        paths.append(ArmPath((0.5, 1.0), (items,), hits))
    return paths


def compared(seed, left, other):
    rng = np.random.default_rng(seed)
    found = compare_paths(
        arm(rng, left), {"other": arm(rng, other)}, BEFORE, DOCUMENTS, [5.0], draws=200, seed=seed
    )
    return found["margins"][0]["arms"]["other"]


def test_arms_that_do_the_same_are_told_apart_in_one_of_twenty_comparisons():
    rows = [compared(seed, 0.2, 0.2) for seed in range(100)]
    covered = sum(r["difference_low"] <= 0 <= r["difference_high"] for r in rows)
    assert covered >= 88  # 95 expected, with a standard deviation of 2.2
    assert abs(np.mean([r["difference"] for r in rows])) < 0.06


def test_a_clear_difference_is_found_with_its_sign():
    for seed in range(10):
        better, worse = compared(seed, 0.02, 0.48), compared(seed, 0.48, 0.02)
        assert better["difference_low"] > 0 and better["p"] < 0.025
        assert worse["difference_high"] < 0 and worse["p"] > 0.975
        assert 0 <= better["low"] <= better["reach"] <= better["high"] <= 1


def test_a_comparison_begins_with_the_data_and_leaves_out_doses_below_0():
    rng = np.random.default_rng(0)
    own, other = arm(rng, 0.1, 1), arm(rng, 0.3, 1)
    row = compare_paths(own, {"b": other}, BEFORE, DOCUMENTS, [1.0, 5.0], draws=50)["margins"][1]
    by_hand = {}
    for name, (path,) in (("self", own), ("b", other)):
        by_hand[name] = one(path.items[0].mean(1), 1 - path.hits.mean(1), 0.05)
    assert row["self"]["reach"] == pytest.approx(by_hand["self"])
    assert row["arms"]["b"]["difference"] == pytest.approx(by_hand["self"] - by_hand["b"])
    # a dose below 0 that is better than anything
    away = ArmPath((-1.0, 0.5, 1.0), (np.vstack([np.ones(60), own[0].items[0]]),),
                   np.vstack([np.zeros(50, bool), own[0].hits]))  # fmt: skip
    again = compare_paths([away], {"b": other}, BEFORE, DOCUMENTS, [1.0, 5.0], draws=50)["margins"][1]
    assert again == row


def test_intervals_end_where_values_do():
    free = np.random.default_rng(0).normal(0, 0.01, (1, 60))
    gone, kept = (ArmPath((1.0,), (free,), np.full((1, 50), left)) for left in (False, True))
    row = compare_paths([gone, kept], {"b": [kept, gone]}, BEFORE, DOCUMENTS, [5.0], draws=9)["margins"][0]
    assert (row["self"]["reach"], row["self"]["low"], row["self"]["high"]) == (0.5, 0, 1)
    b = row["arms"]["b"]
    assert (b["difference"], b["difference_low"], b["difference_high"]) == (0, -1, 1)


def test_a_missing_interval_has_its_reason():
    rng = np.random.default_rng(0)
    one_document = compare_paths(
        arm(rng, 0.1, 1), {"b": arm(rng, 0.3, 1)}, BEFORE, ["d"] * 50, [5.0], draws=9
    )
    row = one_document["margins"][0]
    assert row["self"]["low"] is None and row["self"]["reason"] == "one cluster of documents"
    assert row["arms"]["b"]["p"] is None and "one cluster" in row["arms"]["b"]["difference_reason"]
    several = compare_paths(arm(rng, 0.1), {"b": arm(rng, 0.3)}, BEFORE, ["d"] * 50, [5.0], draws=9)
    assert several["margins"][0]["self"]["low"] is None  # seeds say nothing of other documents
    same = arm(rng, 0.1)
    row = compare_paths(same, {"b": same}, BEFORE, DOCUMENTS, [5.0], draws=9)["margins"][0]["arms"]["b"]
    assert row["difference"] == 0 and row["difference_low"] is None
    assert row["difference_reason"] == "nothing varies over seeds and draws"
    assert row["low"] is not None and "reason" not in row


def test_an_arm_that_leaves_nothing_has_the_exact_bound_of_its_baseline():
    rng = np.random.default_rng(0)
    free = rng.normal(0, 0.01, (1, 60))
    gone, kept = (ArmPath((1.0,), (free,), np.full((1, 50), left)) for left in (False, True))
    unseen = clopper_pearson(0, 50)[1]

    def rows(own, **others):
        return compare_paths([own] * 3, {k: [v] * 3 for k, v in others.items()}, BEFORE, DOCUMENTS, [5.0])[
            "margins"
        ][0]

    found = rows(gone, gone=gone, kept=kept)
    assert (found["self"]["low"], found["self"]["high"]) == (pytest.approx(1 - unseen), 1)
    same, other = found["arms"]["gone"], found["arms"]["kept"]
    ends = ["difference", "difference_low", "difference_high"]
    both = math.sqrt(2) * unseen
    assert [same[k] for k in ends] == pytest.approx([0, -unseen, unseen]) and same["p"] == 0.5
    assert (other["low"], other["high"]) == (0, pytest.approx(unseen)) and "reason" not in other
    assert [other[k] for k in ends] == pytest.approx([1, 1 - both, 1]) and "difference_reason" not in other
    assert other["p"] == pytest.approx(normal.sf(normal.ppf(0.975) / both))
    # what varies is added to it, and the bound of the other arm widens one end alone
    half = arm(rng, 0.3)
    alone = compare_paths(half, {"kept": half[::-1], "gone": [gone] * 3}, BEFORE, DOCUMENTS, [5.0])[
        "margins"
    ][0]
    mine, b = alone["self"], alone["arms"]["gone"]
    shift = mine["low"] - 1
    assert b["difference_low"] == pytest.approx(shift)
    assert b["difference_high"] == pytest.approx(
        b["difference"] + math.hypot(mine["high"] - mine["reach"], unseen)
    )


@pytest.mark.parametrize("hits", [2, 6])
def test_few_baseline_hits_bound_what_an_arm_leaves_however_draws_vary(hits):
    """Draws without any of them say nothing, and those that cross the margin nothing of windows."""
    rng = np.random.default_rng(0)
    before = np.arange(50) < hits
    near = rng.normal(0, 0.05, (1, 60))
    gone = ArmPath((1.0,), (near - near.mean() - 0.049,), np.zeros((1, 50), bool))
    some = ArmPath((1.0,), (near * 0,), (before & (np.arange(50) >= 2))[None])
    row = compare_paths([gone], {"some": [some]}, before, DOCUMENTS, [5.0])["margins"][0]
    assert row["self"]["reach"] == 1 and row["self"]["low"] <= 1 - clopper_pearson(0, hits)[1]
    b = row["arms"]["some"]
    assert b["difference_low"] <= b["difference"] - clopper_pearson(0, hits)[1] and b["p"] > 0.0025


def test_draws_in_blocks_are_the_draws_at_once(monkeypatch):
    values = np.random.default_rng(0).normal(size=(40, 3))
    whole = frontier._drawn(values, 100, 7)
    counts = np.random.default_rng(7).multinomial(40, np.full(40, 1 / 40), size=100)
    assert np.allclose(whole, np.concatenate([values.sum(0)[None], counts @ values]))
    monkeypatch.setattr(statistics, "CELLS", 40 * 8)
    assert (frontier._drawn(values, 100, 7) == whole).all()


# ------------------------------------------------------------------------------ statistics


def test_the_interval_over_replicates_adds_both_variances():
    drawn = np.random.default_rng(0).normal(1, 1, (3, 41))
    over_seeds = drawn[:, 0].var(ddof=1) / 3
    over_items = drawn[:, 1:].mean(0).var(ddof=1)
    df = (over_seeds + over_items) ** 2 / (over_seeds**2 / 2 + over_items**2 / 39)
    error = math.sqrt(over_seeds + over_items)
    found = replicate_interval(drawn)
    assert found["mean"] == pytest.approx(drawn[:, 0].mean())
    assert found["high"] - found["mean"] == pytest.approx(t_distribution.ppf(0.975, df) * error)
    assert found["mean"] - found["low"] == pytest.approx(t_distribution.ppf(0.975, df) * error)
    assert found["p"] == pytest.approx(t_distribution.sf(found["mean"] / error, df))
    single = replicate_interval(drawn[0])
    assert single["high"] - single["mean"] == pytest.approx(
        t_distribution.ppf(0.975, 39) * drawn[0, 1:].std(ddof=1)
    )


@pytest.mark.parametrize("value", [0.1, 54 / 130, 1 / 3])
def test_rounding_is_no_variance(value):
    nothing = replicate_interval(np.full((3, 2001), value))
    assert nothing["mean"] == pytest.approx(value)
    assert nothing["low"] is nothing["high"] is nothing["p"] is None
    with pytest.raises(ValueError, match="at least two draws"):
        replicate_interval(np.ones((3, 2)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_by_its_definition(ps):
    """The level at which the step-down procedure comes to reject a hypothesis."""
    ordered = sorted(range(len(ps)), key=lambda i: ps[i])
    expected = [0.0] * len(ps)
    for rank, i in enumerate(ordered):
        steps = [(len(ps) - k) * ps[j] for k, j in enumerate(ordered[: rank + 1])]
        expected[i] = min(1.0, max(steps))
    assert holm(ps).tolist() == pytest.approx(expected)
