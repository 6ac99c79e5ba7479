"""Subsets hold exactly what was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resurface.errors import UserError
from resurface.subsets import SubsetConfig, choose

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=60)


@settings(deadline=None)
@given(lengths, st.integers(1, 400), st.integers(1, 4), st.booleans(), st.booleans(), st.integers(0, 9))
def test_budget_is_exact_or_refused(lengths, tokens, count, disjoint, replace, seed):
    cfg = SubsetConfig(tokens=tokens, count=count, disjoint=disjoint, with_replacement=replace, seed=seed)
    try:
        chosen = choose(lengths, cfg)
    except UserError as e:
        assert not replace
        assert tokens * (count if disjoint else 1) > sum(lengths) or (disjoint and count > 1)
        assert "sample" in e.remedy
        return
    assert len(chosen) == count
    for picks in chosen:
        assert sum(n for _, n in picks) == tokens
        assert all(0 < n <= lengths[i] for i, n in picks)
        assert all(n == lengths[i] for i, n in picks[:-1])  # only the last document is cut
        if not replace:
            assert len({i for i, _ in picks}) == len(picks)
    if disjoint and not replace:
        used = [i for picks in chosen for i, _ in picks]
        assert len(set(used)) == len(used)


def test_a_seed_is_a_choice():
    a, b, c = (choose([10] * 50, SubsetConfig(tokens=95, count=2, seed=s)) for s in (0, 0, 1))
    assert a == b != c


def test_too_large_a_budget_names_both_numbers():
    with pytest.raises(UserError, match=r"1,000 tokens is larger than the corpus of 500"):
        choose([10] * 50, SubsetConfig(tokens=1000, count=1))
