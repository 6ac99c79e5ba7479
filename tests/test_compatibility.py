"""Gains, contrasts and proxies against slow oracles and simulated matrices with known effects."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resurface import compatibility
from resurface.compatibility import Cell, gains
from resurface.compatibility.proxies import Text


def made(effect, *, items=200, subsets=2, seed=0):
    """Cells of a 3x3 design; effect[s][t] is the true gain, items flip with that probability."""
    rng = np.random.default_rng(seed)
    cells = []
    for s, t in itertools.product(range(3), range(3)):
        d = (rng.random((subsets, items)) < abs(effect[s][t])) * np.sign(effect[s][t])
        relation = "self" if s == t else "other"
        cells.append(Cell(f"s{s}", f"m{t}", relation, {"x": d, "y": d[:, : items // 4]}))
    return cells


def test_a_cell_pairs_items_and_weighs_tasks_alike():
    before = {"x": {0: 1.0, 1: 0.0}, "y": {5: 0.0}}
    after = [{"x": {1: 1.0, 0: 1.0}, "y": {5: 1.0}}, {"x": {0: 0.0, 1: 0.0}, "y": {5: 1.0}}]
    c = compatibility.cell("s", "t", "self", before, after)
    np.testing.assert_array_equal(c.differences["x"], [[0, 1], [-1, 0]])
    assert c.gain == pytest.approx((0.0 + 1.0) / 2)
    with pytest.raises(ValueError, match="other items"):
        compatibility.cell("s", "t", "self", before, [{"x": {0: 1.0}, "y": {5: 1.0}}])


def test_groups_and_their_intervals():
    effect = [[0.3 if s == t else 0.05 for t in range(3)] for s in range(3)]
    found = compatibility.group_means(made(effect))
    own, other = found["relations"]["self"], found["relations"]["other"]
    assert own["cells"] == 3 and other["cells"] == 6
    assert own["low"] < 0.3 < own["high"] and own["mean"] == pytest.approx(0.3, abs=0.06)
    difference = found["differences"]["self - other"]
    assert 0 < difference["low"] < 0.25 < difference["high"]
    assert difference["mean"] == pytest.approx(own["mean"] - other["mean"])
    assert compatibility.group_means(made(effect)) == found  # seeded


def slow_p(g, matched):
    """The definition: every order of the sources, residuals of a two-way fit by means."""
    r = g - g.mean(0) - g.mean(1, keepdims=True) + g.mean()
    seen = [r[matched[list(o)]].mean() for o in itertools.permutations(range(len(g)))]
    return np.mean([v >= seen[0] - 1e-12 for v in seen])


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_self_advantage_equals_its_definition(n, seed):
    g = np.random.default_rng(seed).normal(size=(n, n))
    found = compatibility.self_advantage(g, np.eye(n, dtype=bool))
    assert found["exact"] and found["permutations"] == math.factorial(n)
    assert found["p"] == pytest.approx(slow_p(g, np.eye(n, dtype=bool)))
    assert found["smallest_p"] == pytest.approx(1 / math.factorial(n))


def test_source_and_student_effects_are_no_self_advantage():
    g = np.add.outer(np.arange(5.0), [0.0, 9, 1, 4, 2])  # better sources, roomier students, no pairs
    assert compatibility.self_advantage(g, np.eye(5, dtype=bool))["p"] == 1
    g[np.eye(5, dtype=bool)] += 1
    found = compatibility.self_advantage(g, np.eye(5, dtype=bool))
    assert found["p"] == found["smallest_p"] == 1 / 120


def test_false_positive_rates_are_as_stated():
    rng = np.random.default_rng(0)
    family = np.array([0, 0, 0, 1, 1])
    kin = (family[:, None] == family) & ~np.eye(5, dtype=bool)
    own = np.eye(5, dtype=bool)
    p_self, p_kin = [], []
    for _ in range(400):
        g = rng.normal(size=(5, 5)) + rng.normal(size=5) + rng.normal(size=(5, 1))
        p_self.append(compatibility.self_advantage(g, own)["p"])
        p_kin.append(compatibility.lineage_advantage(g, kin, own)["p"])
    for p in (p_self, p_kin):
        assert np.mean(np.array(p) <= 0.1) < 0.1 + 3 * math.sqrt(0.09 / 400)


def test_lineage_is_seen_and_never_through_the_diagonal():
    family = np.array([0, 0, 0, 1, 1])
    kin = (family[:, None] == family) & ~np.eye(5, dtype=bool)
    own = np.eye(5, dtype=bool)
    rng = np.random.default_rng(1)
    g = rng.normal(size=(5, 5)) * 0.1 + kin
    found = compatibility.lineage_advantage(g, kin, own)
    assert found["p"] == found["smallest_p"] == pytest.approx(0.1)  # 12 of 120 relabellings are the same
    np.testing.assert_allclose(
        compatibility.lineage_advantage(g + 99 * own, kin, own)["advantage"], found["advantage"]
    )
    with pytest.raises(ValueError, match="same models"):
        compatibility.lineage_advantage(g[:4], kin[:4], own[:4])
    with pytest.raises(ValueError, match="matched and unmatched"):
        compatibility.lineage_advantage(g, np.zeros_like(kin), own)


def test_residuals_of_missing_cells_are_a_least_squares_fit():
    usable = ~np.eye(4, dtype=bool)
    g = np.add.outer(np.arange(4.0), np.arange(4.0) ** 2)
    assert np.abs(gains._interaction(g, usable)).max() < 1e-9


class Fixed:
    """An engine whose every token costs one nat."""

    def score(self, sequences):
        from types import SimpleNamespace

        return [SimpleNamespace(logprob=np.full(len(s) - 1, -1.0, np.float32)) for s in sequences]


class Letters:
    def __call__(self, texts, **_):
        return {"input_ids": [[ord(c) for c in t] for t in texts]}


def test_mean_nll_counts_tokens_and_bytes():
    found = compatibility.mean_nll(Fixed(), Text(["abc", "é", ""], Letters(), [0]))
    assert found == {"nll_per_token": pytest.approx(1), "nll_per_byte": pytest.approx(4 / 5)}


def test_rank_correlation_is_within_students():
    cells = [{"source": s, "student": t, "gain": g} for t, row in enumerate([[1, 2, 3], [30, 20, 10]])
             for s, g in enumerate(row)]  # fmt: skip
    proxies = [{"source": s, "student": t, "p": s, "flat": 1} for s in range(3) for t in range(2)]
    found = compatibility.within_student(cells, proxies)
    assert found["p"]["students"] == {0: pytest.approx(1), 1: pytest.approx(-1)}
    assert found["p"]["mean"] == pytest.approx(0) and found["flat"]["mean"] is None
