"""What a verdict says of membership inference: intervals, several models, what is missing and why."""

from __future__ import annotations

from typing import Any

import numpy as np

from resurface.memorization import ScoresOf, membership
from resurface.report.verdict.membership import line, tables


def scores(gap: float, *, nll: float = 3.0, windows: int = 400, seed: int = 0) -> ScoresOf:
    """A model that gives the first half of the windows `gap` nats per token more."""
    rng = np.random.default_rng(seed)
    inside = (np.arange(windows) < windows // 2)[:, None]
    logprob = -nll + gap * inside + rng.normal(0, 1, (windows, 20))
    return ScoresOf(logprob, np.full(logprob.shape, -nll), np.ones(logprob.shape))


def found(*after: ScoresOf, windows: int = 400, documents: int = 4, **options: Any) -> dict[str, Any]:
    before = scores(0.3, windows=windows)
    how: Any = {
        "texts": [f"window {i} of some text" for i in range(windows)],
        "members": np.arange(windows) < windows // 2,
        "clusters": [f"document {i // documents}" for i in range(windows)],
        "reference_logprob": before.logprob,
        "draws": 100,
    }
    tables = [membership(before, a, **(how | options)) for a in after]
    return {"membership": tables, "scorecard": {"floor_rate": None}}


def row(found: dict[str, Any], attack: str, model: str) -> list[str]:
    (one,) = (r for r in tables(found["membership"])[0][2] if r[:2] == [attack, model])
    return one


def test_one_model_is_told_with_intervals_and_its_change() -> None:
    of = found(scores(0.1, seed=1))
    rows = {r["attack"]: r for r in of["membership"][0]["rows"]}
    best = max(rows.values(), key=lambda r: abs((r["before"]["auc"] or 0.5) - 0.5))
    b, a, c = best["before"], best["after"], best["change"]
    said = line(of)
    assert f"{best['attack']}, has AUC {b['auc']:.3f} [{b['low']:.3f}, {b['high']:.3f}], and " in said
    assert f"and {a['auc']:.3f} [{a['low']:.3f}, {a['high']:.3f}] (change {c['auc']:+.3f} " in said
    assert f"[{c['low']:+.3f}, {c['high']:+.3f}]) after" in said


def test_several_models_are_told_by_mean_and_range() -> None:
    of = found(*(scores(gap, seed=i) for i, gap in enumerate((0.0, 0.1, 0.2), 1)))
    best = line(of).split(", ")[1]
    areas = [r["after"]["auc"] for m in of["membership"] for r in m["rows"] if r["attack"] == best]
    mean = sum(areas) / 3
    assert f"{mean:.3f} (mean of 3 models, from {min(areas):.3f} to {max(areas):.3f}) after" in line(of)
    assert "change" not in line(of)


def test_the_table_has_every_model_s_tpr_and_interval() -> None:
    of = found(scores(0.1, seed=1), scores(0.2, seed=2))
    (title, header, rows), *_ = tables(of["membership"])
    assert title == "Membership inference" and header[-1] == "TPR at 1% FPR"
    assert len(rows) == 5 * 3
    side = of["membership"][1]["rows"][0]["after"]
    low, high = side["tpr_low"], side["tpr_high"]
    assert row(of, "loss", "treated 2")[-1] == f"{side['tpr']:.1%} [{low:.1%}, {high:.1%}]"
    assert row(of, "loss", "base")[3] == "" and row(of, "loss", "treated 1")[3].startswith("-")


def test_what_is_missing_is_no_zero_and_its_reason_stands_once() -> None:
    of = found(scores(0.1, windows=80, seed=1), windows=80)
    assert row(of, "reference", "base")[2] == row(of, "loss", "treated 1")[-1] == "n/a"
    remarks = tables(of["membership"])[1][2]
    assert len({r[0] for r in remarks}) == len(remarks)
    (few,) = (r for r in remarks if "40 non-members" in r[0])
    assert few[1] == "TPR: loss, zlib, min_k, min_k_plus_plus (all models), reference (all treated)"
    (same,) = (r for r in remarks if "this very model" in r[0])
    assert same[1] == "AUC, TPR: reference (base); change: reference (all treated)"


def test_without_an_interval_the_sentence_says_why() -> None:
    lone = ["a"] * 200 + [f"document {i}" for i in range(200)]
    assert "(no interval: one document on a side" in line(found(scores(0.1, seed=1), clusters=lone))


def test_notes_are_told_of_the_attack_that_they_are_about() -> None:
    remarks = tables(found(scores(0.1, seed=1), scores(-0.5, seed=2))["membership"])[1][2]
    assert any("turned round" in r[0] and r[1] == "AUC: loss (treated 2)" for r in remarks)


def test_warnings_of_all_models_are_told() -> None:
    broken = [scores(0.0, nll=nll, seed=i) for i, nll in enumerate((3.4, 3.0, 3.8), 1)]
    of = found(*broken)
    rises = [m["utility"]["rise"] for m in of["membership"]]
    said = line(of)
    assert "Of treated 1, 3: the treated model is worse" in said
    assert f"costs {rises[0]:.2f} to {rises[2]:.2f} [" in said
    assert "nats per token more than before (margin 0.1)" in said
    assert said.count("no privacy") == 1 and "forgetting" not in said
    of["scorecard"]["floor_rate"] = {"before": {"low": 0.01}}
    assert line(of).endswith("so that may be forgetting.)")
    alone = line(found(broken[0]))
    assert (
        f"The treated model is worse as a model: text it was never trained on costs {rises[0]:.2f}" in alone
    )
    assert "worse" not in line(found(broken[1]))


def test_warnings_of_other_kinds_stay_apart() -> None:
    of = found(scores(0.0, nll=3.4, seed=1), scores(0.0, nll=3.4, seed=2))
    of["membership"][1]["warning"] = "Something else is wrong."
    assert "Of treated 1: the" in line(of) and "Of treated 2: something else is wrong." in line(of)
