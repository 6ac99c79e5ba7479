"""The scorecard: groups of windows, before and after, non-members, sampling curve, against plain loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loaded import Held
from memorizers import KNOWN, OTHER, prose, tiny
from resurface import memorization
from resurface.artifacts.parquet import read_parquet
from resurface.data.texts import Document
from resurface.errors import UserError
from resurface.memorization import ExtractConfig, metrics, positions, scorecard
from resurface.memorization.comparison.scorecard import _SHARES, METRICS, NS, _changed
from resurface.memorization.near_duplicates import of_documents
from resurface.memorization.results import Metric
from resurface.report.reasons import said
from resurface.stats.exact import clopper_pearson
from resurface.stats.intervals import crossed_ratio
from resurface.stats.reasons import Reason


@pytest.fixture(scope="module")
def extracted(memorizing_model: Any, tokenizer: Any, tmp_path_factory: Any) -> Any:
    """The memorizing model, and two that are worse for noise; half of the texts they never saw."""
    out = tmp_path_factory.mktemp("scorecard")
    words = KNOWN.split()
    texts = [Document(f"k{i}", " ".join(words[i * 65 : i * 65 + 65]), "known") for i in range(4)]
    texts += [Document("o", OTHER, "never"), Document("p", prose(3, 80), "never")]
    cfg = ExtractConfig(texts=("given",), prefix=8, suffix=8, confirm=0)
    windows = memorization.make_windows(texts, tokenizer, cfg)
    made = []
    for i, noise in enumerate((0.0, 0.35, 0.5)):
        model = tiny(0)
        model.load_state_dict(memorizing_model.state_dict())
        generator = torch.Generator().manual_seed(i)
        with torch.no_grad():
            for w in model.parameters():
                w.add_(noise * w.std() * torch.randn(w.shape, generator=generator) if w.dim() > 1 else 0)
        made.append(memorization.extract(Held(model, tokenizer, f"m{i}"), windows, cfg, out, name=f"m{i}"))
    return made


def test_groups_are_members_extractable_ones_and_non_members(extracted: Any) -> None:
    base, *treated = extracted
    got = scorecard(base, treated, ["never"])
    tables = [read_parquet(a.file("windows.parquet")).to_pylist() for a in extracted]
    member = [r["stratum"] == "known" for r in tables[0]]
    chosen = {
        "members": [i for i, m in enumerate(member) if m],
        "extractable": [i for i, m in enumerate(member) if m and tables[0][i]["exact_match"]],
        "floor": [i for i, m in enumerate(member) if not m],
    }
    columns = {m: m.value for m in Metric if m.value in tables[0][0]}
    assert len(columns) == 4
    for name, rows in chosen.items():
        group = getattr(got.groups, name)
        assert group.windows == len(rows) and [m.id for m in group.metrics] == list(METRICS)
        for m in group.metrics:
            if (column := columns.get(m.id)) is None:
                continue
            of = [np.mean([t[i][column] for i in rows]) for t in tables]
            assert m.before == pytest.approx(of[0], abs=1e-5)
            assert m.after == pytest.approx(np.mean(of[1:]), abs=1e-5)
            assert m.change.value == pytest.approx(m.after - m.before, abs=1e-5)
    assert got.groups.extractable.of(Metric.EXACT_MATCH).before == 1
    assert got.groups.extractable.documents <= 4
    before = sum(r["exact_match"] for r, m in zip(tables[0], member, strict=True) if m)
    assert got.drop.before == before >= 10 and got.drop.relative.value > 0
    nothing = [np.mean([t[i]["exact_match"] for i in chosen["floor"]]) for t in tables]
    assert list(got.floor_rate.before.each) == pytest.approx(nothing[:1])
    assert list(got.floor_rate.after.each) == pytest.approx(nothing[1:])
    for side in ("before", "after"):
        rate, above = getattr(got.floor_rate, side).rate, getattr(got.above_floor, side).excess
        assert rate.known and rate.high > 0.1  # of a few windows
        members = getattr(got.groups.members.of(Metric.EXACT_MATCH), side)
        assert above.known and above.value == pytest.approx(members - rate.value)


def test_the_secondary_metrics_hold_together(extracted: Any) -> None:
    base, *treated = extracted
    first, *others = scorecard(base, treated, ["never"]).groups.members.metrics
    assert first.change.level == 0.95
    assert {m.change.level for m in others} == {1 - 0.05 / len(others)}


def test_no_interval_is_without_width(extracted: Any) -> None:
    base, *_ = extracted
    group = scorecard(base, [base, base], ["never"]).groups.members
    for m in group.metrics:
        moved = m.change
        assert moved.value == 0
        if m.id in _SHARES:  # none of so many moved: few of the next ones will
            bound = clopper_pearson(0, group.windows, level=moved.level)[1]
            assert (moved.low, moved.high) == (pytest.approx(-bound), pytest.approx(bound))
        else:
            assert moved.low is moved.high is None and moved.reason == Reason.NO_VARIANCE


def test_few_windows_that_move_say_little_of_the_next() -> None:
    """2% of the windows go from 0 to 1, or as many each way: Student's t alone misses it too often."""
    rng, clusters = np.random.default_rng(0), of_documents([str(i) for i in range(150)])
    for ways, truth in ((1, 0.02), (2, 0.0)):
        held = []
        for _ in range(300):
            moved = [(rng.random(150) < 0.02).astype(float) for _ in range(ways)]
            row = _changed(
                np.stack([moved[1] if ways == 2 else moved[0] * 0, moved[0]]), clusters, 0.95, True
            )
            held.append(row.change.low <= truth <= row.change.high)
        assert np.mean(held) >= 0.94
    many = (rng.random((2, 150)) < 0.4).astype(float)
    row = _changed(many, clusters, 0.95, True)
    plain = crossed_ratio(many[1:] - many[0], np.ones(150), clusters.names)
    assert (row.change.value, row.change.low, row.change.high) == pytest.approx(plain)


def test_one_document_tells_nothing_of_others_however_many_models() -> None:
    values = np.random.default_rng(0).random((4, 20))
    for share in (True, False):
        row = _changed(values, of_documents(["d"] * 20), 0.95, share)
        assert row.change.low is None and row.change.reason == Reason.ONE_CLUSTER


def test_the_sampling_curve_is_the_mean_of_the_windows(extracted: Any) -> None:
    base, *treated = extracted
    curve = scorecard(base, treated, ["never"]).curve
    p = positions.read(base).cut(8, 8)
    member = [s == "known" for s in read_parquet(base.file("windows.parquet"))["stratum"].to_pylist()]
    logp = metrics.sampling_logprob(p.take(np.asarray(member)))
    members, floor = curve.members.points, curve.floor.points
    assert [p.n for p in members] == list(NS)
    by_hand = [np.mean(1 - (1 - np.exp(logp)) ** n) for n in (1, 10, 100)]
    np.testing.assert_allclose([p.before for p in members[:3]], by_hand, atol=1e-6)
    np.testing.assert_allclose([p.after for p in members], np.mean(curve.members.after_each, 0), atol=1e-12)
    assert floor[0].before < 0.01 < members[0].before
    for p in (*members, *floor):
        assert p.change.value == pytest.approx(p.after - p.before, abs=1e-12)
    assert members[0].change.known


def test_every_decoding_that_was_kept_is_reported(extracted: Any) -> None:
    base, *treated = extracted
    found = scorecard(base, treated, ["never"])
    rows = found.decodings
    assert [(r.temperature, r.top_k) for r in rows] == [(1.0, 0), (1.0, 40)]
    member = np.asarray(
        [s == "known" for s in read_parquet(base.file("windows.parquet"))["stratum"].to_pylist()]
    )
    for r in rows:
        of = [positions.read(a).cut(8, 8).take(member) for a in extracted]
        chance = [metrics.chance_in(metrics.sampling_logprob(p, top_k=r.top_k), r.n).mean() for p in of]
        assert r.members.before == pytest.approx(chance[0])
        assert r.members.after == pytest.approx(np.mean(chance[1:]))
        assert r.members.change.level == 0.975  # one of two may be picked
    alone, picked = found.curve.members.points[-1].change, rows[0].members.change
    assert picked.value == alone.value
    assert picked.low < alone.low and alone.high < picked.high


def test_no_share_changes_by_more_than_all(extracted: Any) -> None:
    base, *treated = extracted
    for _, group in scorecard(base, treated, ["never"]).groups:
        for m in group.metrics:
            if m.id in _SHARES and m.change.known:
                assert -1 <= m.change.low <= m.change.high <= 1


def test_positions_without_the_highest_logits_are_the_same_otherwise(extracted: Any) -> None:
    whole = positions.read(extracted[0])
    order = whole.window_ids[::-1]
    found = positions.read(extracted[0], order, top=False)
    assert found.window_ids == order and found.top is None and whole.top is not None
    for name in ("match", "rank", "logit", "logprob", "margin", "mean_logprob", "std_logprob", "logsumexp"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name)[::-1])
    few = found.cut(8, 4).take(np.asarray([2, 0]))
    twin = whole.cut(8, 4).take(np.asarray([len(order) - 3, len(order) - 1]))
    assert few.window_ids == twin.window_ids and few.top is None
    np.testing.assert_array_equal(metrics.sampling_logprob(few), metrics.sampling_logprob(twin))
    with pytest.raises(ValueError, match="were not read"):
        metrics.sampling_logprob(few, top_k=2)


def test_without_non_members_that_is_said(extracted: Any) -> None:
    base, *treated = extracted
    got = scorecard(base, treated, ["nevr"])
    assert got.groups.floor is None and got.floor_rate is None
    assert got.floor_reason == Reason.NO_SUCH_STRATUM.about("nevr", "known", "never")
    assert said(got.floor_reason).endswith("stratum (named: nevr; there are: known, never)")
    assert got.curve.floor is None and "floor" not in got.as_json()["curve"]
    assert got.groups.members.windows == base.counts["windows"]


def test_other_windows_are_refused(
    extracted: Any, memorizing_model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    cfg = ExtractConfig(texts=("given",), prefix=8, suffix=8, confirm=0)
    texts = [Document("k", KNOWN, "known")]
    windows = memorization.make_windows(texts, tokenizer, cfg)
    other = memorization.extract(Held(memorizing_model, tokenizer, "x"), windows, cfg, tmp_path, name="x")
    with pytest.raises(UserError, match="holds other windows"):
        scorecard(extracted[0], [other], [])


def test_names_from_a_file_can_neither_make_markup_nor_move_a_cursor(capsys):
    """Strata come from texts, which anybody may have written."""
    from resurface.cli.output import print_table
    from resurface.report.document import Document, Table
    from resurface.report.markdown import markdown

    name = "a\x1b[2J\x07 <script> | [x](http://y)\n# heading"
    row = markdown(Document("t", [Table(["stratum"], [[name]])])).split("\n")[-2]
    assert row == "| a\ufffd[2J\ufffd \\<script> \\| [x]\\(http://y)\ufffd# heading |"
    print_table("", ["stratum"], [[name]])
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\x07" not in said and "<script>" in said
