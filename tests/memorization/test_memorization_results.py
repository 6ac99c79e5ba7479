"""`memorization.results`: what is on disk comes back as it was, field by field; nonsense is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from resurface.memorization.results import (
    Drop,
    KindPairedDrop,
    Membership,
    Metric,
    PairedComparison,
    PairedDrop,
    PrefixAttacks,
    ReplicateDrops,
    StratumPairedDrop,
)
from resurface.memorization.results.membership import Warned
from resurface.report.reasons import noted
from resurface.results import Verdict
from resurface.stats.estimate import Estimate
from resurface.stats.reasons import Reason

RESULTS = Path(__file__).parents[2] / "results"
OLD = "lab/relearning-dev/"
"""Development files of a format that was never released: they lack what a verdict has to have."""
FILES = sorted(p.relative_to(RESULTS).as_posix() for p in RESULTS.rglob("*.json"))
VERDICTS = [f for f in FILES if f.endswith("verdict.json")]


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text())


def again(found: Any, kind: Any) -> Any:
    return json.loads(json.dumps(kind.from_json(found).as_json()))


def parts(found: Any, *keys: str) -> Iterator[dict[str, Any]]:
    """Every object in `found` that has these keys."""
    if isinstance(found, dict):
        if all(k in found for k in keys):
            yield found
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            yield from parts(one, *keys)


@pytest.mark.parametrize("name", [v for v in VERDICTS if not v.startswith(OLD)])
def test_a_stored_verdict_is_read_and_written_without_loss(name: str) -> None:
    found = read(name)
    assert again(found, Verdict) == found
    assert Verdict.from_json(again(found, Verdict)) == Verdict.from_json(found)


@pytest.mark.parametrize("name", [v for v in VERDICTS if v.startswith(OLD)])
def test_drops_of_development_are_read_and_written_without_loss(name: str) -> None:
    found = read(name)
    drop = found["scorecard"]["drop"]
    assert again(drop, Drop) == drop


@pytest.mark.parametrize("name", FILES)
def test_stored_drops_are_read_and_written_without_loss(name: str) -> None:
    found = read(name)
    for kind, keys in (
        (ReplicateDrops, ("all", "held_out", "strata")),
        (PairedComparison, ("token_accuracy", "documents", "strata")),
        (PairedDrop, ("relative_drop", "retained_share", "minimum")),
        (PrefixAttacks, ("variants", "any_variant")),
        (Membership, ("member_documents", "rows")),
    ):
        for part in parts(found, *keys):
            if kind is PairedDrop and "documents" in part:
                continue
            named = {"stratum": StratumPairedDrop, "kind": KindPairedDrop} if kind is PairedDrop else {}
            (one,) = [of for key, of in named.items() if key in part] or [kind]
            assert again(part, one) == part


def test_a_key_that_nobody_knows_is_refused() -> None:
    found = read(PLANTED)
    found["scorecard"]["drop"]["windws"] = 3
    with pytest.raises(ValidationError, match=r"drop\.windws"):
        Verdict.from_json(found)


def test_there_are_sweeps_summaries_and_verdicts_to_read() -> None:
    assert sum(1 for f in FILES for _ in parts(read(f), "all", "held_out", "strata")) > 20
    assert sum(1 for f in FILES for _ in parts(read(f), "token_accuracy", "documents")) >= 3
    assert len(VERDICTS) >= 3


PLANTED = "lab/verdict-replanted/verdict.json"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v["scorecard"]["drop"].pop("before"), r"drop\.before"),
        (lambda v: v["scorecard"]["drop"].pop("low"), "low is missing"),
        (lambda v: v["scorecard"]["drop"].update(low=0.99, high=1.0), "inside its interval"),
        (lambda v: v["scorecard"]["drop"].update(relative_drop=None, low=None, high=None), "needs a reason"),
        (lambda v: v["scorecard"]["drop"].update(windows=-1), "greater than or equal to 0"),
        (lambda v: v["scorecard"].update(floor_rate=None), "missing non-members need a reason"),
        (lambda v: v["scorecard"]["groups"]["members"]["metrics"][0].update(metric="x"), "is called 'x'"),
        (lambda v: v["scorecard"]["curve"]["members"]["before"].pop(), "zip"),
        (lambda v: v["scorecard"]["curve"]["members"]["after_each"][0].pop(), "one value a point"),
        (lambda v: v["relearning"]["curve"][1].pop("recovered"), "recovered is missing"),
        (lambda v: v["relearning"]["curve"][1]["together"].update(low=0.9), "inside its interval"),
        (lambda v: v["relearning"]["genre"].update(reason=None), "needs a value or a reason"),
        (lambda v: v["relearning"].update(curve=[]), "at least 1"),
        (lambda v: v["relearning"].update(gone=1.5), "less than or equal to 1"),
        (lambda v: v["membership"][0]["rows"][0]["before"].update(tpr=2.0, tpr_reason=None), "reason"),
        (lambda v: v["membership"][0].update(warning=Warned.CAPABILITY_FELL), "one that is known"),
        (lambda v: v["lineage"][0].update(reason=None), "lineage that is not known"),
        (lambda v: v.update(membership=[]), "of every treated model"),
        (lambda v: v.update(membership=None), "membership is missing and needs a reason"),
        (lambda v: v.pop("held_out_reason"), "held_out is missing and needs a reason"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(change: Any, said: str) -> None:
    found = read(PLANTED)
    change(found)
    with pytest.raises(ValidationError, match=said):
        Verdict.from_json(found)


def test_results_are_frozen() -> None:
    found = Verdict.from_json(read(PLANTED))
    with pytest.raises(ValidationError, match="frozen"):
        found.scorecard.drop.windows = 3


def test_metrics_are_found_by_id() -> None:
    group = Verdict.from_json(read(PLANTED)).scorecard.groups.members
    assert group is not None
    assert [m.id for m in group.metrics] == list(Metric)
    assert group.of(Metric.NLL_PER_TOKEN).metric == "NLL, nats per token"
    with pytest.raises(LookupError):
        group.model_copy(update={"metrics": ()}).of(Metric.NLL_PER_TOKEN)


def test_percentiles_that_miss_their_value_are_read_as_an_interval_that_holds_it() -> None:
    found = copy.deepcopy(read(PLANTED)["membership"][0])
    side = found["rows"][0]["before"]
    side.update(tpr=0.4, tpr_low=0.41, tpr_high=0.5, tpr_reason=None)
    assert Membership.from_json(found).rows[0].before.tpr == Estimate(0.4, 0.4, 0.5)


def test_notes_are_codes_that_a_report_puts_into_words() -> None:
    drop = {
        "windows": 9, "before": 0, "after": 0, "retained": 0, "new": 0, "relative_drop": None, "low": None,
        "high": None, "retained_share": None, "retained_low": None, "retained_high": None, "minimum": 60,
        "none_left_upper": None, "reason": Reason.NO_BASELINE_HITS,
    }  # fmt: skip
    few = Reason.FEW_HITS.about("30", "60", "30", "90%")
    both = {**drop, "note": f"{few}; {Reason.THESE_WINDOWS_ALONE}"}
    found = PairedDrop.from_json(both)
    assert found.notes == (few, Reason.THESE_WINDOWS_ALONE) and found.as_json() == both
    assert noted(found.notes).startswith(
        "not enough baseline hits to claim -95%: 30 of at least 60 (the most that 30 can show is -90%, one-"
        "sided 95%); all windows are of one cluster of documents: the interval"
    )
    sentence = {**drop, "note": "not enough; as an older result says"}
    assert PairedDrop.from_json(sentence).as_json() == sentence
    assert PairedDrop.from_json(sentence).notes == ("not enough; as an older result says",)
