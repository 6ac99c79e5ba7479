"""`compatibility.results`: what is on disk comes back as it was, field by field."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from resurface.compatibility import GainGrid, results, variance
from resurface.compatibility.results import Decomposition, StudyResult, Undecomposed, written
from resurface.stats.estimate import Estimate
from resurface.stats.reasons import Reason

RESULTS = Path(__file__).parents[2] / "results"
STORED = ["lab/compatibility/matrix.json", "smollm2-matrix/matrix.json",
          "demo/demo.json"]  # fmt: skip


def stored(name):
    found = json.loads((RESULTS / name).read_text())
    return found.get("matrix", found)


def lost(one, other, path=""):
    """Where `other` lacks what `one` has, or says something else."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key, value in one.items():
            if key in other:
                yield from lost(value, other[key], f"{path}/{key}")
            else:
                yield f"{path}/{key}"
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from lost(a, b, f"{path}/{i}")
    elif one != other:
        yield path


@pytest.mark.parametrize("name", STORED)
def test_a_stored_study_is_read_and_written_without_loss(name):
    found = stored(name)
    again = json.loads(json.dumps(StudyResult.from_json(found).as_json()))
    # an interval of what is no number stood for held-out predictions that could not be made
    placeholders = ("calibration/value", "calibration/low", "calibration/high",
                    "families_out/value", "families_out/low", "families_out/high")  # fmt: skip
    assert [p for p in lost(found, again) if not p.endswith(placeholders)] == []
    assert StudyResult.from_json(again) == StudyResult.from_json(found)
    assert list(again)[:2] == ["study", "provenance"]


def test_what_is_missing_is_refused_by_name():
    found = stored("demo/demo.json")
    del found["contrasts"]["self_vs_other"]["students"]
    with pytest.raises(ValidationError, match=r"contrasts\.self_vs_other\.students"):
        StudyResult.from_json(found)
    found = stored("demo/demo.json")
    found["contrasts"]["self_vs_other"]["within_students"]["low"] = 1.0  # above its value
    with pytest.raises(ValidationError, match="inside its interval"):
        StudyResult.from_json(found)


def test_an_estimate_on_disk_has_no_level_and_only_the_p_values_that_there_are():
    assert written(Estimate(0.5, 0.4, 0.6)) == {"value": 0.5, "low": 0.4, "high": 0.6, "reason": None}
    tested = written(results.Tested(0.5, reason="one source", p=0.2, smallest_p=0.1))
    assert set(tested) == {"value", "low", "high", "reason", "p", "smallest_p"}
    adjusted = results.Tested(0.5, reason="one source", p=0.2, smallest_p=0.1, p_holm=0.4)
    assert written(adjusted)["p_holm"] == 0.4


def test_a_share_that_does_not_exist_has_a_reason_and_no_interval():
    """Equal sources and no interaction: draws of it would still make an interval."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1, 3, 1)) + np.array([-1.0, 1.0]) * rng.normal(size=(4, 3, 1))
    found = variance.decompose(GainGrid.unnamed(noise))
    assert found.share.value is found.share.low is None and found.share.reason == Reason.SOURCES_ALIKE
    assert Decomposition.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_no_decomposition_is_not_one_in_which_nothing_varies():
    flat = variance.decompose(GainGrid.unnamed(np.zeros((3, 3, 2))))
    assert flat.f is None and "mean_squares" in flat.as_json()
    assert Undecomposed(reason="one subset").as_json() == {"f": None, "reason": "one subset"}
