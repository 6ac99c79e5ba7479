"""A verdict of two worse copies of lab:a-medium: its settings, and its sentences by how they begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import resurface
from resurface import models
from resurface.memorization import ExtractConfig
from resurface.models import ModelConfig
from resurface.report.verdict import sentences as report
from resurface.results import Verdict
from resurface.specs import load_attacks

WINDOWS = ExtractConfig(
    texts=("lab:a",), prefix=8, suffix=24, start="bos", batch_size=64, max_windows_per_stratum=24, confirm=8
)
QUICK = (
    "relearn.steps=[1, 3]", "relearn.learning_rate=1e-3", "probe.prefixes=[4]", "probe.copies=1",
)  # fmt: skip


@pytest.fixture(scope="session")
def shrunk(tmp_path_factory: Any) -> list[Path]:
    """Two copies of lab:a-medium with smaller weights: worse at everything, at planted text most."""
    ref = models.resolve(ModelConfig(id="lab:a-medium"))
    found = []
    for share in (0.94, 0.93):
        path = tmp_path_factory.mktemp("treated") / f"shrunk{share}"
        model = models.load_model(ref, "float32", "cpu")
        for w in model.parameters():
            w.data.mul_(share)
        model.save_pretrained(path)
        models.load_tokenizer(ref).save_pretrained(path)
        found.append(path)
    return found


@pytest.fixture(scope="session")
def made(shrunk: list[Path], tmp_path_factory: Any) -> Any:
    out = tmp_path_factory.mktemp("verdict")
    attacks = load_attacks("lab", overrides=QUICK)
    return resurface.verdict("lab:a-medium", shrunk, WINDOWS, attacks, out), attacks, out


def line(found: dict[str, Any], head: str) -> str:
    """found: what verdict.json holds."""
    (one,) = (x for x in report.lines(Verdict.from_json(found)) if x.startswith(head))
    return one
