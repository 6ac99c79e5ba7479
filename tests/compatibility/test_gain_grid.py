"""`compatibility.grid`: a matrix of gains is built once, whatever order its pairs are in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from resurface.compatibility import GainGrid
from resurface.compatibility.results import PairGain
from resurface.stats.estimate import Estimate


def pairs(subsets=2):
    """Three sources, two students; the first student is the second source."""
    rng = np.random.default_rng(0)
    found = []
    for t, s in itertools.product(("b", "x"), "abc"):
        gains = rng.normal(size=subsets)
        gain = Estimate(gains.mean(), gains.mean() - 1, gains.mean() + 1)
        relation = "self" if s == t else "kin" if {s, t} == {"a", "b"} else "other"
        found.append(PairGain(source=s, student=t, relation=relation, gain=gain, subsets=tuple(gains)))
    return found


def test_every_pair_is_at_its_place_whatever_the_order():
    rows = pairs()
    grid = GainGrid.of(rows)
    assert grid.sources == ("a", "b", "c") and grid.students == ("b", "x")
    assert grid.gains.shape == (3, 2, 2)
    for row in rows:
        s, t = grid.sources.index(row.source), grid.students.index(row.student)
        np.testing.assert_array_equal(grid.gains[s, t], row.subsets)
        assert grid.mean[s, t] == pytest.approx(row.gain.value) and grid.relation[s, t] == row.relation
    turned = GainGrid.of(rows[::-1])
    assert turned.mean[turned.sources.index("c"), turned.students.index("b")] == grid.mean[2, 0]
    assert grid.families() == (["a", "a", "c"], ["a", "x"])


def test_without_subsets_there_is_the_mean():
    rows = [p.model_copy(update={"subsets": None}) for p in pairs()]
    grid = GainGrid.of(rows)
    assert grid.gains.shape == (3, 2, 1) and grid.mean[1, 0] == rows[1].gain.value


def test_a_part_keeps_names_relations_and_gains():
    grid = GainGrid.of(pairs())
    part = grid.part(np.array([2, 0]), np.array([1]))
    assert (part.sources, part.students) == (("c", "a"), ("x",))
    np.testing.assert_array_equal(part.gains, grid.gains[[2, 0]][:, [1]])
    np.testing.assert_array_equal(part.relation, grid.relation[[2, 0]][:, [1]])


def test_a_hole_and_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="no gain of c for x"):
        GainGrid.of(pairs()[:-1])
    with pytest.raises(ValueError, match="pairs, but"):
        GainGrid(("a",), ("b",), np.array([["self"]]), np.zeros((1, 1)))


def test_values_of_pairs_fill_a_matrix_and_what_lacks_is_nan():
    filled = GainGrid.of(pairs()).filled({("b", "x"): 2.0, ("a", "b"): None})
    assert filled[1, 1] == 2.0 and np.isnan(filled).sum() == 5


@pytest.mark.parametrize("row", pairs() + [p.model_copy(update={"subsets": None}) for p in pairs()])
def test_a_gain_on_disk_is_flat_and_comes_back(row):
    found = row.as_json()
    keys = ["source", "student", "relation", "gain", "low", "high", *(["subsets"] if row.subsets else [])]
    assert list(found) == keys and found["gain"] == row.gain.value
    assert PairGain.from_json(found) == row


def test_an_unknown_gain_keeps_its_reason():
    row = pairs()[0].model_copy(update={"gain": Estimate.missing("no items")})
    assert row.as_json()["reason"] == "no items" and PairGain.from_json(row.as_json()) == row
