"""What a run's report says of the engine that drew its corpus."""

from __future__ import annotations

import json
from pathlib import Path

from resurface.engines.base import EngineRecord
from resurface.report.run import lines
from resurface.results import RunSummary
from resurface.stats.reasons import Reason

STORED = Path(__file__).parents[2] / "results/demo/demo.json"


def test_an_engine_other_than_the_default_is_named_with_what_it_cannot_promise() -> None:
    stored = json.loads(STORED.read_text())["self_training"]
    summary = RunSummary.from_json(stored)
    assert not any("engine" in line for line in lines(summary)) and summary.as_json() == stored
    engine = EngineRecord(
        name="endpoint",
        version=None,
        per_sample_streams=False,
        notes=("it is far away",),
        logprobs_reason=None,
        logprobs_tau_reason=Reason.SERVER_GIVES_MODEL_ONLY,
    )
    stored["corpus"]["engine"] = engine.as_json()
    again = RunSummary.from_json(stored)
    assert again.corpus.engine == engine and again.as_json() == stored
    said = lines(again)
    assert "Drawn by engine endpoint: it is far away." in said
    (missing,) = [line for line in said if "log-probabilities" in line]
    assert missing == "Missing: the server gave log-probabilities at temperature 1 alone."
