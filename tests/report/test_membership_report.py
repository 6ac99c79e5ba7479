"""What a verdict says of membership inference: intervals, several models, what is missing and why."""

from __future__ import annotations

from typing import Any

import numpy as np

from resurface.memorization import ScoresOf, membership
from resurface.memorization.results import AttackRow, Capability, Membership
from resurface.report.verdict.membership import sentence, tables
from resurface.stats.estimate import Estimate
from resurface.stats.reasons import Reason


def scores(gap: float, *, nll: float = 3.0, windows: int = 400, seed: int = 0) -> ScoresOf:
    """A model that gives the first half of the windows `gap` nats per token more."""
    rng = np.random.default_rng(seed)
    inside = (np.arange(windows) < windows // 2)[:, None]
    logprob = -nll + gap * inside + rng.normal(0, 1, (windows, 20))
    return ScoresOf(logprob, np.full(logprob.shape, -nll), np.ones(logprob.shape))


def found(*after: ScoresOf, windows: int = 400, documents: int = 4, **options: Any) -> list[Membership]:
    before = scores(0.3, windows=windows)
    how: Any = {
        "texts": [f"window {i} of some text" for i in range(windows)],
        "members": np.arange(windows) < windows // 2,
        "clusters": [f"document {i // documents}" for i in range(windows)],
        "reference_logprob": before.logprob,
        "draws": 100,
    }
    return [membership(before, a, **(how | options)) for a in after]


def line(tables: list[Membership], *, floor: bool = False) -> str:
    return sentence(tables, knows_non_members=floor)


def row(found: list[Membership], attack: str, model: str) -> list[str]:
    (one,) = (r for r in tables(found)[0][1][1] if r[:2] == [attack, model])
    return one


def test_one_model_is_told_with_intervals_and_its_change() -> None:
    of = found(scores(0.1, seed=1))

    def apart(row: AttackRow) -> float:
        return abs((row.before.auc.value or 0.5) - 0.5)

    best = max(of[0].rows, key=apart)
    assert best.after is not None and best.change is not None
    b, a, c = best.before.auc, best.after.auc, best.change.auc
    said = line(of)
    assert f"{best.attack}, has AUC {b.value:.3f} [{b.low:.3f}, {b.high:.3f}], and " in said
    assert f"and {a.value:.3f} [{a.low:.3f}, {a.high:.3f}] (change {c.value:+.3f} " in said
    assert f"[{c.low:+.3f}, {c.high:+.3f}]) after" in said


def test_several_models_are_told_by_mean_and_range() -> None:
    of = found(*(scores(gap, seed=i) for i, gap in enumerate((0.0, 0.1, 0.2), 1)))
    best = line(of).split(", ")[1]
    areas = [side.auc.value for m in of if (side := m.of(best).after) is not None]
    mean = sum(areas) / 3
    assert f"{mean:.3f} (mean of 3 models, from {min(areas):.3f} to {max(areas):.3f}) after" in line(of)
    assert "change" not in line(of)


def test_the_table_has_every_model_s_tpr_and_interval() -> None:
    of = found(scores(0.1, seed=1), scores(0.2, seed=2))
    (title, (header, rows)), *_ = tables(of)
    assert title == "Membership inference" and header[-1] == "TPR at 1% FPR"
    assert len(rows) == 5 * 3
    side = of[1].rows[0].after
    assert side is not None
    shown = f"{side.tpr.value:.1%} [{side.tpr.low:.1%}, {side.tpr.high:.1%}]"
    assert row(of, "loss", "treated 2")[-1] == shown
    assert row(of, "loss", "base")[3] == "" and row(of, "loss", "treated 1")[3].startswith("-")


def test_what_is_missing_is_no_zero_and_its_reason_stands_once() -> None:
    of = found(scores(0.1, windows=80, seed=1), windows=80)
    assert row(of, "reference", "base")[2] == row(of, "loss", "treated 1")[-1] == "n/a"
    remarks = tables(of)[1][1][1]
    assert len({r[0] for r in remarks}) == len(remarks)
    (few,) = (r for r in remarks if "40 non-members" in r[0])
    assert few[1] == "TPR: loss, zlib, min_k, min_k_plus_plus (all models), reference (all treated)"
    (same,) = (r for r in remarks if "this very model" in r[0])
    assert same[1] == "AUC, TPR: reference (base); change: reference (all treated)"


def test_without_an_interval_the_sentence_says_why() -> None:
    lone = ["a"] * 200 + [f"document {i}" for i in range(200)]
    assert "(no interval: one document on a side" in line(found(scores(0.1, seed=1), clusters=lone))


def test_notes_are_told_of_the_attack_that_they_are_about() -> None:
    remarks = tables(found(scores(0.1, seed=1), scores(-0.5, seed=2)))[1][1][1]
    assert any("turned round" in r[0] and r[1] == "AUC: loss (treated 2)" for r in remarks)


def test_warnings_of_all_models_are_told() -> None:
    broken = [scores(0.0, nll=nll, seed=i) for i, nll in enumerate((3.4, 3.0, 3.8), 1)]
    of = found(*broken)
    rises = [m.utility.rise.value for m in of if m.utility is not None]
    said = line(of)
    assert "Of treated 1, 3: the treated model is worse" in said
    assert f"costs {rises[0]:.2f} to {rises[2]:.2f} [" in said
    assert "nats per token more than before (margin 0.1)" in said
    assert said.count("no privacy") == 1 and "forgetting" not in said
    assert line(of, floor=True).endswith("so that may be forgetting.)")
    alone = line(found(broken[0]))
    assert (
        f"The treated model is worse as a model: text it was never trained on costs {rises[0]:.2f}" in alone
    )
    assert "worse" not in line(found(broken[1]))


def test_warnings_of_other_kinds_stay_apart() -> None:
    of = found(scores(0.0, nll=3.4, seed=1), scores(0.0, nll=3.4, seed=2))
    other = of[1].model_copy(update={"warnings": ("Something {else} is wrong.",)})  # an older result's words
    said = line([of[0], other])
    assert "Of treated 1: the" in said and "Of treated 2: something {else} is wrong." in said
    fell = [
        found(scores(0.0, nll=nll, seed=1), capability=Capability(change=change, margin=1.0))[0]
        for nll, change in (
            (3.4, Estimate(-3.0, -4.0, -2.0)),
            (3.0, Estimate(-3.0, -4.0, -2.0)),
            (3.0, Estimate(-5.0, -6.0, -4.5)),
            (3.0, Estimate(-5.0, reason=Reason.ONE_ITEM)),
        )
    ]
    said = line(fell)
    assert "nats per token more than before (margin 0.1) and capability changed by -3.0 [-4.0, -2.0]" in said
    assert (
        "Of treated 2, 3: the treated model is worse as a model: capability changed by -5.0 to -3.0 " in said
    )
    assert "[-6.0 to -4.0, -4.5 to -2.0] points (margin 1). A low AUC" in said
    assert (
        "Of treated 4: the treated model is worse as a model: capability changed by -5.0 [no interval]"
        in said
    )
