"""`resurface.results`: what is on disk comes back as it was, and nonsense is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from made import overall, sweep_point, task
from resurface.artifacts import provenance
from resurface.artifacts.provenance import Code, Provenance
from resurface.artifacts.records import StageRecord
from resurface.compatibility.lineage import LineageResult
from resurface.compatibility.prediction import Ranking
from resurface.compatibility.results import StudyResult
from resurface.controls import ArmDrop, AtMargin
from resurface.models.start_tokens import StartTokens
from resurface.results import (
    ControlComparison,
    DemoResult,
    NoChange,
    NoTaskChange,
    NoTaskScore,
    Pooled,
    RunSummary,
    StartRecord,
    SweepPoint,
    SweepResult,
    TaskChange,
    TaskScore,
    TaskScoreChange,
)
from resurface.stats.estimate import Estimate
from resurface.stats.reasons import Reason
from resurface.stats.result import Result

RESULTS = Path(__file__).parents[2] / "results"
TYPES: dict[str, type[Result]] = {
    "sweep.json": SweepResult,
    "summary.json": RunSummary,
    "pooled.json": Pooled,
    "demo.json": DemoResult,
    "lineage.json": LineageResult,
    "predict.json": Ranking,
}
STORED = sorted(p for p in RESULTS.rglob("*.json") if p.name in TYPES)


def stored(name: str) -> Any:
    return json.loads((RESULTS / name).read_text())


def test_there_is_one_of_each() -> None:
    assert {p.name for p in STORED} == set(TYPES)


@pytest.mark.parametrize("file", STORED, ids=lambda p: p.relative_to(RESULTS).as_posix())
def test_a_stored_result_is_read_and_written_as_it_was(file: Path) -> None:
    found = json.loads(file.read_text())
    kind = TYPES[file.name]
    read = kind.from_json(found)
    assert json.loads(json.dumps(read.as_json())) == found
    assert kind.from_json(read.as_json()) == read


@pytest.mark.parametrize("name", ["lab/compatibility", "smollm2-matrix"])
def test_a_stored_study_is_written_as_it_was_but_for_older_evaluations(name: str) -> None:
    """Those had keys of intervals beside held-out errors; see tests/compatibility/test_result_types.py."""
    found = stored(f"{name}/matrix.json")
    again = json.loads(json.dumps(StudyResult.from_json(found).as_json()))
    assert found.pop("judged") and again.pop("judged")
    assert again == found


@pytest.mark.parametrize("file", sorted(RESULTS.rglob("verdict.json")), ids=lambda p: p.parent.name)
def test_who_made_a_verdict_and_its_arms_are_read_as_well(file: Path) -> None:
    found = json.loads(file.read_text())
    if "provenance" in found:
        assert Provenance.from_json(found["provenance"]).as_json() == found["provenance"]
    if (arms := found.get("controls")) is not None:
        assert json.loads(json.dumps(ControlComparison.from_json(arms).as_json())) == arms


def test_every_missing_thing_differs_from_one_that_is_there() -> None:
    """The forms of one row differ by what they have."""
    (point,) = SweepResult.from_json(stored("lab/controls/sweep.json")).points
    assert all(isinstance(t, TaskChange) for t in point.tasks.values())
    none = {"n": 0, "change": None, "reason": Reason.NO_ITEMS_IN_COMMON}
    overall = {k: v for k, v in none.items() if k != "n"}
    again = SweepPoint.from_json(point.as_json() | {"tasks": {"a": none}, "overall": overall})
    assert again.tasks == {"a": NoTaskChange(n=0, reason=Reason.NO_ITEMS_IN_COMMON)}
    assert isinstance(again.overall, NoChange) and again.as_json()["tasks"]["a"] == none
    summary = RunSummary.from_json(stored("demo/demo.json")["self_training"])
    assert {type(s) for s in summary.base.scores} == {TaskScore}
    assert {type(s) for s in summary.models[1].scores} == {TaskScoreChange}
    row = {"task": "t", "metric": "acc", "n": 0, "mean": None, "change": None, "reason": "no_scored_items"}
    base = summary.base.as_json() | {"scores": [row]}
    (read,) = type(summary.base).from_json(base).scores
    assert isinstance(read, NoTaskScore) and read.as_json() == row


def test_without_an_interval_the_reason_is_written_and_read() -> None:
    alone = task(0.1).model_copy(update={"change": Estimate(0.1, reason=Reason.ONE_SEED_AND_ITEM)})
    written = alone.as_json()
    assert (written["low"], written["high"], written["reason"]) == (None, None, "one_seed_and_item")
    assert TaskChange.from_json(written) == alone and "reason" not in task(0.1).as_json()


def no_reason(arms: dict[str, Any]) -> None:
    arms["margins"] = None


def no_self(arms: dict[str, Any]) -> None:
    del arms["margins"][0]["self"]


def outside(arms: dict[str, Any]) -> None:
    arms["margins"][0]["arms"]["fresh"]["p"] = 1.5


def unknown_kind(arms: dict[str, Any]) -> None:
    arms["points"][0]["kind"] = "pruned"


def negative(arms: dict[str, Any]) -> None:
    arms["points"][0]["l2_distance"] = -1.0


def empty(arms: dict[str, Any]) -> None:
    arms["margins"] = []


def half(arms: dict[str, Any]) -> None:
    arms["margins"][0]["self"]["low"] = None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (no_reason, "either there are margins, or a reason"),
        (no_self, r"margins\.0\.self"),
        (outside, r"margins\.0\.arms\.fresh\.p"),
        (unknown_kind, r"points\.0\.kind"),
        (negative, r"points\.0\.l2_distance"),
        (half, "two ends"),
        (empty, "has a margin"),
    ],
)
def test_arms_that_cannot_be_are_refused(change: Callable[[dict[str, Any]], None], said: str) -> None:
    arms = stored("lab/controls/sweep.json")["points"][0]["controls"]
    change(arms)
    with pytest.raises(ValidationError, match=said):
        ControlComparison.from_json(arms)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: task(0.1, n=0), "n"),
        (lambda: overall(0.1, each=()), "each"),
        (lambda: overall(0.1, item_variance=-1.0), "item_variance"),
        (lambda: overall(float("nan")), "finite"),
        (lambda: overall(0.1, 0.2, 0.3), "inside its interval"),
        (lambda: sweep_point(overall(0.1), seeds=()), "seeds"),
        (lambda: SweepResult.from_json(stored("lab/seeds/sweep.json") | {"points": []}), "points"),
        (lambda: StageRecord(label="x", artifact="x", wall_time_s=-1, counts={}), "wall_time_s"),
        (lambda: AtMargin.from_json({"margin": -1, "self": {}, "arms": {}}), "margin"),
        (lambda: ArmDrop.from_json({"reach": 1.0, "low": 0.5, "high": 1.0}), "difference is missing"),
    ],
)
def test_nonsense_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=said):
        make()


def test_a_run_tells_all_of_its_start() -> None:
    assert list(StartRecord.model_fields) == [f.name for f in fields(StartTokens)]


def test_provenance_has_the_command_or_leaves_it_to_the_result() -> None:
    found = provenance.collect()
    assert "command" in found.as_json() and "command" not in found.without_command().as_json()
    for made in (found, found.without_command()):
        assert Provenance.from_json(made.as_json()) == made
    assert "reason" not in Code(commit="x", dirty=False).as_json()
    older = stored("smollm2-cpu/summary.json")["provenance"]
    assert "threads" not in Provenance.from_json(older).as_json()["machine"]
