"""Is a never-saw model matched in genre: the measured check, and what a verdict says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resurface import artifacts
from resurface.artifacts.parquet import write_parquet
from resurface.memorization import compare_relearning
from resurface.memorization.attacks.relearning import _SCHEMA, FILE
from resurface.memorization.comparison.genre import MARGIN, match
from resurface.memorization.comparison.recovery import overstates
from resurface.memorization.near_duplicates import of_documents
from resurface.memorization.results import Genre, RelearningCurve
from resurface.report.verdict import genre, sentences, tables
from resurface.stats.reasons import Reason

SUFFIX = 8
BASE_NLL = np.full(20, 0.5)  # nats per token: with non-members at 6.5 the margin is 0.3


def costs(never: float, n: int = 40, spread: float = 0.1) -> Any:
    """[base, treated, never] x n: the never-saw model costs `never` more, give or take `spread`."""
    of = np.linspace(-1, 1, n)
    base = 6.5 + of
    return np.stack([base, base - 1, base + never + spread * np.resize([1, -1], n)])


@pytest.mark.parametrize(
    ("more", "spread", "matched"),
    [(0.0, 0.1, True), (-2.0, 0.1, True), (0.2, 0.1, True), (0.31, 1.0, None), (2.3, 0.1, False)],
)
def test_matched_is_costing_no_more_than_the_margin(more: float, spread: float, matched: bool | None) -> None:
    found = match(costs(more, spread=spread), BASE_NLL, of_documents([str(i) for i in range(40)]))
    assert found.matched is matched and (found.open_reason is None) == (matched is not None)
    assert found.margin == pytest.approx(MARGIN * 6.0)
    assert (found.base, found.treated) == (pytest.approx(6.5), pytest.approx(5.5))
    assert found.more.value == pytest.approx(found.never - found.base) == pytest.approx(more)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=30))
def test_the_interval_is_that_of_a_paired_t_test(more: list[float]) -> None:
    base = np.linspace(4, 8, len(more))
    found = match(
        np.stack([base, base, base + more]), BASE_NLL, of_documents([str(i) for i in range(len(more))])
    )
    differences = base + np.asarray(more) - base
    if differences.std() > 1e-6:
        low, high = stats.ttest_1samp(differences, 0).confidence_interval()
        assert (found.more.low, found.more.high) == (pytest.approx(low), pytest.approx(high))


def test_windows_of_one_document_are_one_and_tell_nothing_of_others() -> None:
    alone = match(costs(0.0), BASE_NLL, of_documents(["one"] * 40))
    assert alone.clusters == 1 and alone.more.low is None and alone.matched is None
    assert alone.open_reason == alone.more.reason == Reason.ONE_CLUSTER_OF_NON_MEMBERS
    apart, two = (match(costs(0.2), BASE_NLL, of_documents([str(i // n) for i in range(40)])) for n in (1, 3))
    assert (apart.clusters, two.clusters) == (40, 14) and apart.more.value == two.more.value


def test_a_base_that_knows_non_members_as_well_leaves_no_margin() -> None:
    known = match(costs(0.2), np.full(20, 7.0), of_documents([str(i) for i in range(40)]))
    assert known.margin == 0 and known.matched is False


def relearned(out: Path, name: str, unseen: float, *, floor: int = 30, hits: int = 0) -> Any:
    """A curve of two budgets: 20 windows of V, of which `hits` are extracted at the last, and non-members."""
    rows = []
    for step in (0, 1):
        for part, n in (("T", 20), ("V", 20), ("floor", floor)):
            for i in range(n):
                extracted = part != "floor" and (name == "base" or (step == 1 and (part == "T" or i < hits)))
                nll = 0.5 if part != "floor" else unseen + 0.1 * (i % 3) * (name == "base")
                rows.append((step, part, f"{part}{i}", f"{part}{i}", extracted, SUFFIX * nll))
    table = {n: list(c) for n, c in zip(_SCHEMA.names, zip(*rows, strict=True), strict=True)}
    inputs = {"windows": {"fingerprint": "w"}, "model": {"fingerprint": f"{name} {unseen} {floor}"}}
    with artifacts.build(out, "relearn", name, version=1, config={"steps": [1]}, inputs=inputs) as b:
        write_parquet(pa.table(table, schema=_SCHEMA), b.path / FILE)
        return b.finish({"T": 20, "V": 20, "floor": floor, "v_sharing_ngram": 0, "suffix": SUFFIX})


def compared(out: Path, never: float | None, *, floor: int = 30) -> RelearningCurve:
    """The base's non-members cost 6.5 nats per token on average; two thirds of V come back."""
    base = relearned(out, "base", 6.4, floor=floor)
    treated = [relearned(out, f"treated{i}", 5.0, floor=floor, hits=14) for i in range(3)]
    arm = None if never is None else relearned(out, "never", never, floor=floor)
    found = compare_relearning(base, treated, arm)
    return found.model_copy(update={"config": {"steps": [1], "batch_size": 16}})


said = sentences.relearned


def test_a_matched_never_saw_model_is_called_so(tmp_path: Path) -> None:
    found = compared(tmp_path, 6.6)
    of = found.genre
    assert of is not None and of.matched is True and found.genre_reason is None
    assert (of.windows, of.clusters) == (30, 30)
    assert [of.base, of.treated, of.never] == pytest.approx([6.5, 5.0, 6.6])
    assert of.margin == pytest.approx(0.3)
    assert said(found).startswith(
        "Recovers under relearning: yes; the never-saw model is matched in genre (non-members cost it 6.60 "
        "nats per token, the base 6.50: +0.10 [+0.07, +0.13], margin 0.30). An attacker"
    )
    assert tables._curve(found)[0][-1] == "back, beyond the never-saw model"


def test_a_yes_against_an_unmatched_model_is_an_upper_bound(tmp_path: Path) -> None:
    found = compared(tmp_path, 9.1)
    assert found.genre is not None and found.genre.matched is False
    assert said(found).startswith(
        "Recovers under relearning: yes, as an upper bound; the never-saw model is not matched in genre "
        "(non-members cost it 9.10 nats per token, the base 6.50: +2.60 [+2.57, +2.63], margin 0.30), so "
        "part of this may be genre."
    )
    assert tables._curve(found)[0][-1] == "back, beyond the never-saw model (upper bound)"


def test_what_is_not_shown_or_not_measured_is_said(tmp_path: Path) -> None:
    found = compared(tmp_path, 6.6)
    assert found.genre is not None
    left_open = found.genre.model_copy(update={"matched": None, "open_reason": "too few"})
    found = found.model_copy(update={"genre": left_open})
    assert "yes, as an upper bound; the never-saw model is not shown to be matched" in said(found)
    assert "margin 0.30; too few), so part of this may be genre" in said(found)
    none = compared(tmp_path, 9.1, floor=0)
    assert none.genre is None and none.genre_reason == Reason.NO_UNSEEN_WINDOWS
    assert (
        "yes, as an upper bound; whether the never-saw model is matched in genre is not known, there are"
        in (said(none))
    )


def test_without_a_never_saw_model_there_is_no_genre_to_match(tmp_path: Path) -> None:
    found = compared(tmp_path, None)
    assert (found.against, found.genre) == ("floor", None)
    assert found.genre_reason == Reason.NO_NEVER_SAW_MODEL
    assert genre.clause(found) == "" and not overstates(found) and "genre" not in said(found)


def test_near_duplicates_of_non_members_count_once(tmp_path: Path) -> None:
    """Thirty windows that are copies of ten: pairs of the same cost."""
    base, never = relearned(tmp_path, "base", 6.4), relearned(tmp_path, "never", 6.6)
    windows = [f"{part}{i}" for part, n in (("T", 20), ("V", 20), ("floor", 30)) for i in range(n)]
    ids = [
        [100 * (i % 10 if w.startswith("f") else i + 50) + j for j in range(12)]
        for i, w in enumerate(windows)
    ]
    table = pa.table({"window_id": windows, "doc_id": windows, "token_ids": ids})
    found = compare_relearning(base, [relearned(tmp_path, "treated", 5.0, hits=14)], never, extracted=table)
    alone = compare_relearning(base, [relearned(tmp_path, "treated", 5.0, hits=14)], never)
    assert found.genre.clusters == 10 and alone.genre.clusters == 30
    assert found.genre.more.value == alone.genre.more.value


@pytest.mark.parametrize("clusters", [1, 40])
def test_what_is_written_is_read_again(clusters: int) -> None:
    for never in (0.0, 0.31, 2.3):
        of = match(costs(never, spread=1.0), BASE_NLL, of_documents([str(i % clusters) for i in range(40)]))
        assert Genre.from_json(of.as_json()) == of
        assert all(isinstance(v, (bool, int, float, str, type(None))) for v in of.as_json().values())
