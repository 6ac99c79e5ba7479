"""Headlines of results/ recomputed from the raw material beside them, with numpy alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

LAB = Path(__file__).parents[2] / "results" / "lab"


def bits(raw, name: str, n: int) -> np.ndarray:
    return np.unpackbits(raw[name], axis=-1, count=n).astype(bool)


@pytest.fixture(scope="module")
def seeds():
    """What is published of five self-trainings, and the answers behind it."""
    with np.load(LAB / "seeds" / "raw.npz", allow_pickle=False) as raw:
        arrays = {name: raw[name] for name in raw.files}
    about = json.loads((LAB / "seeds" / "raw.json").read_text())["points"][0]
    return json.loads((LAB / "seeds" / "sweep.json").read_text())["points"][0], about, arrays


def test_the_change_of_capability_is_that_of_the_answers(seeds):
    published, about, raw = seeds
    changes = []
    for j, task in enumerate(about["tasks"]):
        right = bits(raw, f"point0.task{j}.score", task["items"])  # [base and trained, seeds, items]
        base, trained = right.mean(-1)
        changes.append(trained - base)
        row = published["tasks"][task["task"]]
        assert base == pytest.approx(row["base"]) and (trained - base).tolist() == pytest.approx(row["each"])
    each = np.mean(changes, 0)
    assert each.tolist() == pytest.approx(published["overall"]["each"])
    assert each.mean() == pytest.approx(published["overall"]["change"])
    # Student's t over the seeds alone (0.975 quantile, 4 degrees of freedom): items only widen it
    half = 2.776445 * each.std(ddof=1) / np.sqrt(5)
    assert (
        published["overall"]["low"]
        < each.mean() - half
        < 0
        < each.mean() + half
        < published["overall"]["high"]
    )


def test_the_drop_of_extraction_is_that_of_the_windows(seeds):
    published, about, raw = seeds
    n, strata = about["windows"]["windows"], about["windows"]["strata"]
    stratum = np.array(strata)[raw["point0.window.stratum"]]
    matched = bits(raw, "point0.window.exact_match", n)  # [base and trained, seeds, windows]
    absent = ~bits(raw, "point0.window.shares_ngram", n)  # [seeds, windows]
    member = stratum != "never"
    found = published["extraction"]
    assert (
        (member.sum(), (~member).sum())
        == (435, 150)
        == (found["all"]["windows"], found["non_members"]["windows"])
    )
    assert not matched[:, :, ~member].any()
    before, after = matched[0, 0, member].sum(), matched[1][:, member].sum(1)
    assert before == found["all"]["before"] == 329 and after.tolist() == found["all"]["after_each"]
    assert 1 - after.mean() / before == pytest.approx(found["all"]["relative_drop"])
    everywhere = absent.all(0) & member  # in no seed's corpus
    assert matched[0, 0, everywhere].sum() == found["held_out"]["before"] == 277
    assert matched[1][:, everywhere].sum(1).tolist() == found["held_out"]["after_each"]
    for row in found["strata"]:
        assert matched[1][:, stratum == row["stratum"]].sum(1).tolist() == row["after_each"]


@pytest.mark.parametrize("file", sorted(LAB.parent.rglob("raw*.npz")), ids=str)
def test_raw_material_is_small_and_no_pickle(file):
    assert file.stat().st_size < 1_000_000
    with np.load(file, allow_pickle=False) as raw:
        assert all(raw[name].dtype.kind in "uif" for name in raw.files)
