"""What was measured becomes a result, and what is no number is null with a reason."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from made import extraction, overall, task
from resurface.report import controls as report
from resurface.results import (
    Capability,
    ControlComparison,
    MeanScore,
    MeanScoreChange,
    NoMeanScore,
    NoTaskScore,
    TaskScore,
    TaskScoreChange,
)
from resurface.stats.reasons import Reason
from resurface.workflows import run_summary, seeds
from resurface.workflows.measured import ArmMeasured, ArmSkipped, Measured

Items = dict[tuple[str, str], dict[int, float | None]]


def evaluated(name: str, items: Items) -> Any:
    """An evaluation that holds these items."""
    return SimpleNamespace(path=Path(name), held=items)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_summary, "items", lambda a: a.held)
    monkeypatch.setattr(run_summary, "headline_items", lambda a: {t: x for (t, _), x in a.held.items()})


@pytest.mark.usefixtures("read")
def test_every_score_has_the_form_of_what_is_known() -> None:
    half: Items = {
        ("a", "acc"): {0: 0.0, 1: 1.0}, ("b", "acc"): {0: None}, ("c", "gold"): {0: -1.0, 1: -math.inf},
    }  # fmt: skip
    base, model = evaluated("base", half), evaluated("model", half | {("a", "acc"): {0: 1.0, 1: 1.0}})
    alone, none, infinite = run_summary.scores(base, base)
    assert alone == TaskScore(task="a", metric="acc", n=2, mean=0.5)
    assert isinstance(none, NoTaskScore) and (none.n, none.reason) == (0, Reason.NO_SCORED_ITEMS)
    assert isinstance(infinite, NoTaskScore) and (infinite.n, infinite.reason) == (2, Reason.NOT_FINITE)
    changed, *_ = run_summary.scores(base, model)
    assert isinstance(changed, TaskScoreChange) and (changed.mean, changed.change.value) == (1.0, 0.5)
    with pytest.raises(ValueError, match="different tasks"):
        run_summary.scores(base, evaluated("other", {}))


@pytest.mark.usefixtures("read")
def test_a_mean_without_tasks_at_ceiling_is_given_where_there_are_both() -> None:
    able: Items = {("lab:facts", "acc"): dict.fromkeys(range(100), 0.0)}
    able["lab:facts", "acc"] |= dict.fromkeys(range(90), 1.0)
    full: Items = {("lab:agreement", "acc"): dict.fromkeys(range(100), 1.0)}
    base, model = evaluated("base", able | full), evaluated("model", able | full)
    assert run_summary.overall(base, base) == MeanScore(mean=0.95)
    both = run_summary.overall(base, model)
    assert isinstance(both, MeanScoreChange) and both.informative is not None
    alone = run_summary.overall(evaluated("base", able), evaluated("model", able))
    assert isinstance(alone, MeanScoreChange) and alone.informative is None
    assert run_summary.overall(evaluated("base", {}), model) == NoMeanScore(reason=Reason.NO_ACCURACY)


def test_a_loss_that_overflowed_is_null_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Capability(tasks={"t": task(0.1)}, overall=overall(0.1), informative=overall(0.1))
    monkeypatch.setattr(seeds, "capability", lambda *_: known)
    monkeypatch.setattr(seeds, "drops", lambda *_: extraction())
    monkeypatch.setattr(seeds, "_shared_items", lambda _: {})
    scores: Any = SimpleNamespace()

    def arm(loss: float | None) -> ArmMeasured:
        return ArmMeasured("noise", "noise", 1.0, 1.0, 2.0, loss, scores, None)

    skipped = ArmSkipped("shrink", Reason.NOT_MATCHED.about("to zero or beyond"))
    found = {}
    for name, losses in {"known": (3.0, 4.0), "overflowed": (3.0, math.inf), "none": (None, None)}.items():
        measured = [[arm(x), skipped] for x in losses]
        found[name] = seeds.arms(Measured("base", scores, None), measured, SimpleNamespace(margins=(1.0,)))
    for name, loss, why in (
        ("known", 3.5, None), ("overflowed", None, Reason.NOT_FINITE), ("none", None, None),
    ):  # fmt: skip
        (point,) = found[name].points
        assert (point.loss, point.loss_reason) == (loss, why)
        written = json.loads(json.dumps(found[name].as_json(), allow_nan=False))
        assert ControlComparison.from_json(written) == found[name]
        assert ("loss_reason" in written["points"][0]) == (why is not None)
        assert report.lines(found[name])[1:] == ["shrink is left out: to zero or beyond."]
