"""How the model of an epoch was stored: a record in its folder, read where the model is loaded again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SaveDtype = Literal["auto", "source", "float32"]

SAVED = "precision.json"
"""In an epoch's folder: its `Saved`."""

OFF = 0.01
"""How far from 1 the share may be for `auto` to store the base's precision."""


@dataclass(frozen=True)
class Saved:
    """How the model of one epoch was stored."""

    dtype: str
    """Of its weights: float32, bfloat16, float16."""
    update_kept: float | None
    """Share of the update that survives in `dtype`; None where the base was not at hand to compare with."""
    update_kept_in_source: float | None
    """The same, were it stored in the base's precision."""


def read_saved(folder: Path) -> Saved:
    """How the model in an epoch's folder was stored."""
    return Saved(**json.loads((folder / SAVED).read_text()))
