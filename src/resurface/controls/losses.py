"""Stages `loss` and `match`: what validation text costs a model, and how much of a control costs as much.

reads   a model, texts            writes   loss/<name>-<fp8>/ (its counts are the result)
reads   base, treated, texts      writes   match/<name>-<fp8>/ (likewise)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from resurface import artifacts
from resurface.artifacts import Artifact
from resurface.artifacts.fingerprint import strings_sha256
from resurface.controls.matching import match_loss, validation_loss
from resurface.controls.weights import WeightsConfig, apply, parameters
from resurface.errors import UserError
from resurface.models import ModelRef, context_length, load_model
from resurface.models.tokenizing import encode_text
from resurface.stats.reasons import Reason

LOSS = artifacts.Stage("loss", version=2)
MATCH = artifacts.Stage("match", version=3)
TOLERANCE = 0.005
"""Nats per token within which losses count as equal: far below what any arm costs."""


@dataclass(frozen=True)
class ValidationText:
    """Validation documents in the tokens of a model: ids, start token included. fingerprint: of these."""

    ids: list[list[int]]
    fingerprint: str

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: Any, start_ids: Sequence[int], ref: ModelRef) -> Self:
        """Documents longer than the context of `ref` are cut to it."""
        limit = context_length(ref)
        ids = [[*start_ids, *x][:limit] for x in encode_text(tokenizer, texts)]
        return cls(ids, strings_sha256(np.asarray(x, "<i4").tobytes() for x in ids))

    def as_input(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint, "documents": len(self.ids)}


class LossCounts(artifacts.Counts):
    """Of a model on validation text."""

    loss: float
    """Nats per token."""
    tokens: int
    documents: int


class MatchCounts(artifacts.Counts):
    """Of the search for a control's scale."""

    left_out: ClassVar[tuple[str, ...]] = ("reason",)

    target: float
    """Nats per token."""
    scale: float | None = None
    """None where no scale above 0 costs the target."""
    loss: float | None = None
    evaluations: int | None = None
    reason: str | None = None
    """Why there is no scale."""


def loss(
    ref: ModelRef, validation: ValidationText, out: str | Path, *, device: str, batch: int, name: str
) -> Artifact:
    """Mean nats per token of validation text under a model, in float32: `LossCounts` of the artifact.

    Raises:
        UserError: nothing to predict.
    """
    inputs = {"model": ref.as_input(), "texts": validation.as_input()}

    def write(b: artifacts.Build) -> LossCounts:
        found = validation_loss(load_model(ref, "float32", device), validation.ids, batch)
        tokens = sum(len(x) - 1 for x in validation.ids)
        return LossCounts(loss=found, tokens=tokens, documents=len(validation.ids))

    return LOSS.make(out, name, write, config={}, inputs=inputs)


def matched(
    base: ModelRef,
    treated: ModelRef,
    cfg: WeightsConfig,
    validation: ValidationText,
    target: float,
    out: str | Path,
    *,
    device: str,
    batch: int,
    name: str,
) -> Artifact:
    """The scale at which the control `cfg` (its own scale is not used) costs `target` nats per token.

    The artifact's counts are `MatchCounts`.
    """
    config = cfg.model_dump(mode="json", exclude={"scale"}) | {"target": target, "tolerance": TOLERANCE}
    inputs = {"model": base.as_input(), "treated": treated.as_input(), "texts": validation.as_input()}

    def write(b: artifacts.Build) -> MatchCounts:
        model = load_model(base, "float32", device)
        before, after = parameters(model), parameters(load_model(treated, "float32", "cpu"))

        def loss_of(scale: float) -> float:
            apply(model, before, after, cfg.model_copy(update={"scale": scale}))
            return validation_loss(model, validation.ids, batch)

        try:
            found = match_loss(loss_of, target, low=0.0, high=1.0, tolerance=TOLERANCE)
        except UserError as e:
            return MatchCounts(target=target, reason=Reason.NOT_MATCHED.about(e.message))
        # an arm that does nothing is no control
        why = None if found.scale else Reason.NOTHING_TO_MATCH.about(f"{found.loss:.6g}")
        return MatchCounts(
            target=target,
            scale=found.scale or None,
            loss=found.loss,
            evaluations=found.evaluations,
            reason=why,
        )

    return MATCH.make(out, name, write, config=config, inputs=inputs)
