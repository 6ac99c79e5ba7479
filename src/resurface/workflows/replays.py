"""How an artifact of each stage is made again: registered beside what makes it the first time.

A stage that `resurface replay` can make again has one function, in the module that composes it:

    @replays("sample")
    def _sample_again(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact: ...
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from resurface import artifacts
from resurface.artifacts import Artifact
from resurface.models import ModelConfig
from resurface.trust.consent import Consent

Again = Callable[[Artifact, str, str | Path, Consent], Artifact]
"""The original, name and directory of what is made, consent of this call; returns what was made."""

STAGES: dict[str, Again] = {}
"""Stage -> how an artifact of it is made again."""


def replays(stage: str) -> Callable[[Again], Again]:
    """Register the decorated function as what makes an artifact of `stage` again.

    Raises:
        ValueError: the stage has one already.
    """

    def register(again: Again) -> Again:
        if STAGES.setdefault(stage, again) is not again:
            raise ValueError(f"stage {stage} is replayed by {STAGES[stage].__name__} already")
        return again

    return register


def input_of(a: Artifact, role: str) -> Artifact:
    """What an artifact was made of, where its manifest says it lies; UserError if it is gone."""
    return artifacts.load(a.inputs[role].place)


def model_of(a: Artifact, consent: Consent, role: str = "model") -> ModelConfig:
    """The model that an artifact was made with, in the precision that it had."""
    held = ModelConfig(id=str(a.inputs[role].place), dtype=a.config.get("dtype", "auto"))
    return held.allow(consent)


def options_of(kind: Any, a: Artifact) -> Any:
    """The stage's own options out of a manifest's config, which may hold resolved facts beside them."""
    return kind.model_validate({k: v for k, v in a.config.items() if k in kind.model_fields})
