"""The words of a verdict on what is and what is not shown."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from resurface.report.markdown import markdown
from resurface.report.terminal import show
from resurface.report.verdict import sentences as report
from resurface.report.verdict.document import document
from resurface.results import Verdict
from verdicts import line


@pytest.fixture
def found(made: Any) -> dict[str, Any]:
    return copy.deepcopy(json.loads(made[0].file("verdict.json").read_text()))


@pytest.mark.parametrize(
    ("low", "high", "answer"), [(0.02, 0.2, "yes"), (-0.01, 0.04, "no."), (-0.02, 0.2, "not shown")]
)
def test_recovery_is_yes_no_or_not_shown(found: Any, low: float, high: float, answer: str) -> None:
    budget(found, 1, -0.01, 0.03)
    budget(found, -1, low, high)
    assert line(found, "Recovers").startswith(f"Recovers under relearning: {answer}")


def test_recovery_at_another_budget_counts_if_shown_for_all_of_them(found: Any) -> None:
    budget(found, -1, -0.01, 0.04)
    budget(found, 1, 0.01, 0.2)
    found["relearning"]["curve"][1]["together"]["low"] = -0.001
    assert "relearning: not shown." in line(found, "Recovers")  # nor a no: 0.2 is not ruled out
    budget(found, 1, 0.01, 0.2)
    said = line(found, "Recovers")
    assert "relearning: yes." in said and "After 1 step it was +10.5 points [+1.0, +20.0] (97.5%" in said


def budget(found: Any, i: int, low: float, high: float) -> None:
    """Another interval of what comes back, where all was gone and the attack learned its own windows."""
    found["relearning"]["gone"] = 1.0
    row = found["relearning"]["curve"][i]
    row |= {"recovered": (low + high) / 2, "low": low, "high": high, "learned": 0.9}
    row["together"] |= {"low": low, "high": high}


def test_few_baseline_hits_claim_no_95_percent(found: Any) -> None:
    drop = {"before": 80, "effective_before": 20, "near_duplicates": 60, "clusters": 9, "after": 0.0}
    drop |= {"clusters_before": 20}
    found["scorecard"]["drop"] |= drop | {"relative_drop": 1.0, "low": 0.83, "high": 1.0}
    assert "60 of the windows are near-duplicates of others" in line(found, "Dropped")
    assert "Too few to claim -95%" in line(found, "Dropped") and "-86% is the most" in line(found, "Dropped")
    found["scorecard"]["drop"] |= dict.fromkeys(("before", "effective_before", "clusters_before"), 60)
    found["scorecard"]["drop"]["near_duplicates"] = 0
    assert "Too few" not in line(found, "Dropped") and "near-duplicates" not in line(found, "Dropped")


def test_what_is_left_is_compared_with_non_members(found: Any) -> None:
    card = found["scorecard"]
    card["above_floor"]["after"] = {"excess": 0.02, "low": -0.004, "high": 0.05}
    assert "+2.0 points [-0.4, +5.0] above that: not distinguishable from chance" in line(
        found, "Non-members"
    )
    card["above_floor"]["after"]["low"] = 0.004
    assert "still more than chance gives" in line(found, "Non-members")
    assert "was seen after all" not in line(found, "Non-members")
    card["floor_rate"]["before"] = {"rate": 0.02, "low": 0.005, "high": 0.05, "each": [0.02]}
    assert "2.0% [0.5%, 5.0%] are extracted before" in line(found, "Non-members")
    assert "were seen after all" in line(found, "Non-members")


def test_sampling_and_likelihood_have_intervals_and_the_best_decoding(found: Any) -> None:
    card = found["scorecard"]
    row = {"before": 0.9, "after": 0.4, "change": -0.5, "low": -0.6, "high": -0.4, "level": 0.975}
    n = len(card["curve"]["members"]["n"])
    card["curve"]["members"] |= {k: [x] * n for k, x in row.items()}
    plain, cut = card["decodings"]
    assert (plain["top_k"], cut["top_k"]) == (0, 40)
    plain["members"], cut["members"] = row, row | {"after": 0.45, "change": -0.45}
    said = line(found, "Sampling")
    assert "40.0% after: -50.0 points [-60.0, -40.0]" in said
    assert (
        "from the 40 likeliest tokens: 90.0% before, 45.0% after, -45.0 points [-60.0, -40.0] (97.5%)" in said
    )
    assert "[" in line(found, "Likelihood") and "(99.3%)" in line(found, "Likelihood")


def test_intervals_are_explained_and_a_rise_is_no_negative_drop(found: Any) -> None:
    assert line(found, "Intervals are 95%")
    found["scorecard"]["drop"] |= {
        "before": 4,
        "after": 6.0,
        "relative_drop": -0.5,
        "low": -0.9,
        "high": -0.1,
    }
    said = line(found, "Dropped")
    assert "4 before, 6 after, 50.0% more [10.0%, 90.0%]" in said and "Too few" not in said


def test_relearning_that_taught_nothing_rules_nothing_out(found: Any) -> None:
    for i in (1, -1):
        budget(found, i, -0.01, 0.01)
    last = found["relearning"]["curve"][-1]
    assert "relearning: no." in line(found, "Recovers")
    last["learned"] = 0.3
    said = line(found, "Recovers")
    assert "not shown, and not ruled out: the attacker is weak" in said
    assert "An attacker that regains 30% of the" in said and "trained on that had been gone regains" in said
    last["learned"] = None
    assert "not shown, and not ruled out: the attacker is weak" in line(found, "Recovers")
    assert "of which none had been gone, regains" in line(found, "Recovers")


def test_what_was_not_gone_cannot_come_back(found: Any) -> None:
    for i in (1, -1):
        budget(found, i, -0.01, 0.01)
    assert "relearning: no." in line(found, "Recovers")
    found["relearning"]["gone"] = 0.1  # a tenth of these may be back
    assert "relearning: not shown." in line(found, "Recovers")
    found["relearning"]["gone"] = 0.0
    assert "cannot be determined, none of the held-back windows had been gone." in line(found, "Recovers")


def test_a_never_saw_model_that_saw_it_is_no_measure(found: Any) -> None:
    budget(found, -1, 0.1, 0.2)
    assert "relearning: yes." in line(found, "Recovers")
    found["relearning"]["curve"][0]["never"] = 0.9
    assert "cannot be determined, 90.0% of the held-back windows are extracted from the never-saw" in line(
        found, "Recovers"
    )


def test_raw_shares_are_told_without_anything_to_compare_with(found: Any) -> None:
    for row in found["relearning"]["curve"]:
        row |= {"recovered": None, "low": None, "high": None, "reason": "neither"}
        row["together"] |= {"low": None, "high": None}
    said = line(found, "Recovers")
    assert (
        "relearning: cannot be determined, neither. An attacker that" in said
        and "After the last budget" in said
    )
    assert said.endswith("had been gone and are back.") and "more than" not in said


def test_windows_left_out_and_disagreeing_generation_are_told(found: Any) -> None:
    found["windows"] |= {"duplicates_dropped": 3}
    found["confirmed"] = {s: {"generated": 64, "disagreements": d} for s, d in (("before", 0), ("after", 2))}
    said = line(found, "Windows")
    assert "3 whose tokens were there before" in said and "64 of 64 before and 62 of 64 after" in said
    found["relearning"]["windows"]["v_sharing_ngram"] = 5
    assert "5 of the held-back share an n-gram" in line(found, "Recovers")


def test_a_swept_prefix_of_the_windows_own_length_is_no_further_prefix(found: Any) -> None:
    before = line(found, "Prefix attacks")
    own = dict(found["probes"]["variants"][0], variant=f"prefix {found['settings']['prefix']}")
    found["probes"]["variants"].append(own)
    assert line(found, "Prefix attacks") == before


def test_names_from_a_file_command_neither_a_terminal_nor_a_report(
    found: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "of non-members x\x1b[2J\ny<img src=x> there is nothing"
    found["scorecard"] |= {"floor_rate": None, "floor_reason": why}
    del found["scorecard"]["curve"]["floor"]
    said = line(found, "Non-members")
    assert "y<img" in said
    report_of = document(Verdict.from_json(found))
    text = markdown(report_of)
    assert "\x1b" not in text and "y\\<img" in text and "y<img" not in text
    show(report_of)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "y<img" in shown


def test_what_is_missing_is_said_with_its_reason(found: Any) -> None:
    found["scorecard"] |= {"floor_rate": None, "floor_reason": "none was given"}
    del found["scorecard"]["curve"]["floor"]
    found |= {
        "probes": None,
        "probes_reason": "left out",
        "membership": None,
        "membership_reason": "no non-members",
    }
    found |= {"relearning": None, "relearning_reason": "windows of 1 are extracted from the base"}
    said = "\n".join(report.lines(Verdict.from_json(found)))
    for why in ("none was given", "(left out)", "no non-members", "windows of 1", "no run with control arms"):
        assert why in said
    found["scorecard"]["drop"] |= {
        "relative_drop": None,
        "low": None,
        "high": None,
        "reason": "no baseline hits",
    }
    assert "cannot be determined, no baseline hits" in line(found, "Dropped")


@pytest.mark.parametrize("against", ["floor", None])
def test_what_comes_back_is_beyond_what_there_is(found: Any, against: str | None) -> None:
    found["relearning"]["against"] = against
    text = markdown(document(Verdict.from_json(found)))
    assert ("back, beyond the non-members" in text) == (against is not None)
    assert "None" not in text and "floor" not in text
