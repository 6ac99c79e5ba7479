"""Matching a control to a treated model in validation loss: which scale costs as many nats per token?

A search over scales of one loaded model, with `weights.apply` between evaluations:

    def loss_of(scale):
        apply(model, before, after, WeightsConfig(kind="noise", scale=scale))
        return validation_loss(model, documents, 16)
    match_loss(loss_of, target, low=0, high=1, tolerance=0.005)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resurface.errors import UserError
from resurface.trainer.packing import collate


@dataclass(frozen=True)
class Match:
    """scale: where `loss` (nats per token) is within the tolerance; evaluations: what it took."""

    scale: float
    loss: float
    evaluations: int


def match_loss(
    loss_of: Callable[[float], float],
    target: float,
    low: float,
    high: float,
    tolerance: float,
    *,
    most: int = 40,
) -> Match:
    """The scale whose loss is within `tolerance` of `target`, by bisection between low and high.

    loss_of: scale -> nats per token, rising on the way from low to high; where it also falls on the way,
    the scale found is one of several. A loss that is no finite number counts as too high: weights far
    out overflow. low: a scale of too low a loss, such as 0, the base itself. high: where to look first;
    the distance from low doubles until the loss is reached. high < low searches downwards (a line's
    negative side). most: evaluations of loss_of.

    Raises:
        UserError: the target is below the loss at low, not reached, or passed in a step.
    """
    if not tolerance > 0 or not math.isfinite(target) or low == high:
        raise UserError(
            f"no loss can be matched to {target} within {tolerance} between scales {low} and {high}",
            remedy="give a finite target, a tolerance above 0, and two different scales",
        )
    spent = 0

    def evaluate(scale: float) -> float:
        nonlocal spent
        spent += 1
        loss = loss_of(scale)
        return loss if math.isfinite(loss) else math.inf

    loss = evaluate(low)
    if loss > target + tolerance:
        raise UserError(
            f"the target of {target:.6g} nats per token is below the loss of {loss:.6g} at scale {low:.6g}",
            remedy="this control only adds to that loss: match it in L2 distance alone",
        )
    if loss >= target - tolerance:
        return Match(low, loss, spent)
    start, inside = low, False  # inside: the target is between low and high
    scale = high
    while spent < most and not (inside and scale in (low, high)):
        loss = evaluate(scale)
        if abs(loss - target) <= tolerance:
            return Match(scale, loss, spent)
        if loss > target:
            high, inside = scale, True
        else:
            low = scale
        scale = (low + high) / 2 if inside else start + 2 * (low - start)
    raise UserError(
        f"no scale with {target:.6g} +- {tolerance:.3g} nats per token was found in {spent} evaluations; "
        + (f"it is passed between {low:.9g} and {high:.9g}" if inside else f"not up to {low:.6g}"),
        remedy="raise tolerance" if inside else "start further out: raise high",
    )


def validation_loss(model: Any, token_id_lists: Sequence[Sequence[int]], batch_size: int) -> float:
    """Mean negative log-likelihood, in nats per predicted token, of documents under a loaded model.

    token_id_lists: ids of each document [n_i], start token included; all but the first id are predicted.
    The mean is over tokens, not over documents. batch_size: documents per forward pass.

    Raises:
        UserError: nothing to predict, or a document longer than the model's context.
    """
    import torch

    # documents of similar length together: little padding
    documents = sorted((np.asarray(d) for d in token_id_lists if len(d) > 1), key=len)
    if not documents:
        raise UserError("no validation document has two tokens: there is nothing to predict")
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and len(documents[-1]) > limit:
        raise UserError(
            f"a validation document takes {len(documents[-1])} positions; the model has {limit}",
            remedy="cut validation documents to the model's context",
        )
    total = 0.0
    model.eval()
    with torch.inference_mode():
        for i in range(0, len(documents), batch_size):
            batch = collate([{"input_ids": d} for d in documents[i : i + batch_size]])
            batch = {k: v.to(model.device) for k, v in batch.items()}
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            total += torch.nn.functional.cross_entropy(
                logits[:, :-1].float().flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="sum"
            ).item()
    return total / sum(len(d) - 1 for d in documents)
