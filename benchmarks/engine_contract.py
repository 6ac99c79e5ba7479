"""What an engine promises, checked on the device that it runs on: figures, for a reader to judge.

Documents are compared whole: on a GPU the rounding of a matrix product depends on its shape, and a document
differs from where one uniform falls between two roundings of a cumulative probability.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapes
import torch

from resurface import models
from resurface.engines.base import SamplingParams
from resurface.engines.hf import HFEngine
from resurface.models import ModelConfig

_DOCUMENTS, _TOKENS = 64, 60


def all_of(device: str) -> list[dict[str, Any]]:
    """A shipped lab model in float32, and a shape of 0.5 B parameters in the precision that a GPU takes."""
    ref = models.resolve(ModelConfig(id="lab:a-medium"))
    rows = [contract(models.load_model(ref, "float32", device), "lab:a-medium")]
    if torch.device(device).type == "cuda":
        rows[0] |= against_cpu(rows[0]["model"], models.load_model(ref, "float32", device), ref)
        rows.append(contract(shapes.make("qwen2.5-0.5b", torch.bfloat16, device), "qwen2.5-0.5b"))
    return rows


def contract(model: Any, name: str) -> dict[str, Any]:
    """Sampling against its own scores, batches of 64 against batches of 7, scores against greedy choices."""
    params = SamplingParams(1.0, 8, _TOKENS, (0,), 0)
    whole = _drawn(model, 64, params)
    parts = _drawn(model, 7, params)
    scores = HFEngine(model, 64).score([[0, *s.token_ids.tolist()] for s in whole.values()])
    gap = [np.abs(score.logprob - s.logprobs).max() for s, score in zip(whole.values(), scores, strict=True)]
    prefixes = [[0, *s.token_ids[:8].tolist()] for s in whole.values()]
    greedy = HFEngine(model, 64).greedy(prefixes, 16)
    again = HFEngine(model, 64).score(
        [p + g.tolist() for p, g in zip(prefixes, greedy, strict=True)], last=16
    )
    agree = [bool((s.argmax == g).all()) for s, g in zip(again, greedy, strict=True)]
    clear = [bool((s.argmax == g)[s.margin > 0.1].all()) for s, g in zip(again, greedy, strict=True)]
    return {
        "model": name,
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "documents": len(whole),
        "same_in_batches_of_7": float(np.mean(_same(whole, parts))),
        "largest_gap_of_logprob": float(max(gap)),
        "greedy_is_argmax": float(np.mean(agree)),
        "greedy_is_argmax_where_clear": float(np.mean(clear)),
    }


def against_cpu(name: str, model: Any, ref: Any) -> dict[str, Any]:
    """The same documents on the device and on the CPU."""
    params = SamplingParams(1.0, 8, _TOKENS, (0,), 0)
    here, there = _drawn(model, 64, params), _drawn(models.load_model(ref, "float32", "cpu"), 64, params)
    ids = [[0, *s.token_ids.tolist()] for s in there.values()]
    a = HFEngine(model, 64).score(ids)
    b = HFEngine(models.load_model(ref, "float32", "cpu"), 64).score(ids)
    gap = max(float(np.abs(x.logprob - y.logprob).max()) for x, y in zip(a, b, strict=True))
    return {"same_as_on_the_cpu": float(np.mean(_same(here, there))), "largest_gap_to_the_cpu": gap}


def _drawn(model: Any, batch: int, params: SamplingParams) -> dict[int, Any]:
    found = HFEngine(model, batch).sample([0], list(range(_DOCUMENTS)), params)
    return {s.sample_id: s for s in sorted(found, key=lambda s: s.sample_id)}


def _same(a: dict[int, Any], b: dict[int, Any]) -> list[bool]:
    return [a[i].token_ids.tolist() == b[i].token_ids.tolist() for i in a]
