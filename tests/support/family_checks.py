"""What a family's tiny model really does, against slow oracles: the source of docs/models.md and its test.

python tests/support/family_checks.py [FAMILY ...]     prints the rows of the table
"""

from __future__ import annotations

import copy
import logging
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from resurface.engines.base import SamplingParams
from resurface.engines.hf import HFEngine
from resurface.errors import UserError
from resurface.models.canary import prove
from resurface.models.families import require_causal_config, require_trainable
from resurface.trainer.lora_targets import lora_config, targets
from tiny_families import FAMILIES, NOT_TEXT, build, config

EXACT = 1e-4
"""Nats: sampled log-probabilities against a full pass in float32. Attention stays below 1e-5; recurrent
layers, which sum in another order, below this."""
_START = 5


@dataclass(frozen=True)
class Row:
    """A line of docs/models.md: yes, or no and why."""

    family: str
    sampling: str
    scoring: str
    training: str
    lora: str

    def line(self) -> str:
        return f"| {self.family} | {self.sampling} | {self.scoring} | {self.training} | {self.lora} |"


def row(family: str) -> Row:
    """Try everything that is offered with a tiny model of the family. AssertionError: a number is wrong."""
    if family in NOT_TEXT:
        return Row(family, *[f"not tested: {NOT_TEXT[family]}", "", "", ""])
    try:
        require_causal_config(config(family).to_dict(), family)
    except UserError as e:
        return Row(
            family,
            f"refused: {e.message.split(', ', 1)[1].removeprefix('which is not a causal language model: ')}",
            "",
            "",
            "",
        )
    model = build(family)
    try:
        engine = HFEngine(model, 20)
    except UserError as e:
        return Row(family, f"refused: {e.message}", "", "", "")
    check_scores(engine)
    try:
        way = prove(model)
        check_samples(model)
        check_greedy(model)
        slow = "one row at a time" if way.rows == "alone" else "reads the whole text at each token"
        sampling = "yes" if way.rows != "alone" and way.memory else f"yes, slowly: {slow}"
    except UserError as e:
        sampling = f"refused: {e.message.split(': ', 1)[1]}"
    training = "yes"
    try:
        require_trainable(family)
        check_training(model)
    except UserError as e:
        training = f"refused: {e.message.split(': ', 1)[1]}"
    try:
        targets(model)
        check_lora(model)
        lora = "yes"
    except UserError as e:
        lora = f"refused: {e.message.split(': ', 1)[1]}"
    return Row(family, sampling, "yes", training, lora)


def params(**change: Any) -> SamplingParams:
    base = dict(temperature=1.3, min_tokens=3, max_new_tokens=72, stop_ids=(7,), seed=3)
    return SamplingParams(**{**base, **change})


def full_logprobs(model: Any, ids: list[int]) -> torch.Tensor:
    """log p of every id but the first, by one pass over the row alone."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].double()
    return logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]


def check_samples(model: Any) -> float:
    """Batches of 20 and of 4 draw the same, with the log-probabilities of a full pass; returns the largest
    gap."""
    for stops, temperature in (((7,), 1.3), ((7, 11, 21, 33, 50), 4.0)):  # some hardly ever draw the one
        p = params(stop_ids=stops, temperature=temperature)
        drawn = {n: list(HFEngine(model, n).sample([_START], range(20), p)) for n in (20, 4)}
        lengths = {len(s.token_ids) for s in drawn[20]}
        if len(lengths) > 2:
            break
    assert max(lengths) > 64 and len(lengths) > 2, f"{lengths}: rows should end at different times, past 64"
    other = {s.sample_id: s.token_ids.tolist() for s in drawn[4]}
    gap = 0.0
    for s in drawn[20]:
        assert s.token_ids.tolist() == other[s.sample_id]
        want = full_logprobs(model, [_START, *s.token_ids.tolist()]).numpy()
        gap = max(gap, float(np.abs(s.logprobs - want).max()))
    assert gap < EXACT, gap
    return gap


def check_greedy(model: Any) -> None:
    """Greedy continuations are those of `generate`, row by row."""
    rng = np.random.default_rng(0)
    model.generation_config = GenerationConfig(pad_token_id=0)  # its own may force an end
    prefixes = [rng.integers(8, 60, n).tolist() for n in (3, 30, 3)]
    for prefix, got in zip(prefixes, HFEngine(model, 2).greedy(prefixes, 8), strict=True):
        want = model.generate(torch.tensor([prefix]), max_new_tokens=8, do_sample=False)
        assert got.tolist() == want[0, len(prefix) :].tolist()


def check_scores(engine: HFEngine) -> None:
    rng = np.random.default_rng(1)
    sequences = [rng.integers(8, 60, n).tolist() for n in (5, 70, 2, 33, 9)]
    for ids, got in zip(sequences, engine.score(sequences), strict=True):
        np.testing.assert_allclose(got.logprob, full_logprobs(engine.model, ids), atol=EXACT)


def check_training(model: Any) -> None:
    """One backward pass reaches weights, and is finite."""
    model = copy.deepcopy(model).train()
    ids = torch.randint(8, 60, (2, 40), generator=torch.Generator().manual_seed(1))
    model(input_ids=ids, labels=ids).loss.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert grads and all(bool(g.isfinite().all()) for g in grads)
    assert sum(bool(g.any()) for g in grads) > len(grads) / 2


def check_lora(model: Any) -> None:
    """Adapters start as nothing, move every target that has an effect, and merge into the same logits."""
    import peft

    found = targets(model)
    names = {*found.parameters, *(f"{m}.weight" for m in found.modules)}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    ids = torch.randint(8, 60, (2, 20), generator=torch.Generator().manual_seed(1))
    adapted: Any = peft.get_peft_model(copy.deepcopy(model), lora_config(model, 4)).eval()
    with torch.no_grad():
        torch.testing.assert_close(adapted(input_ids=ids).logits, model(ids).logits, atol=1e-5, rtol=1e-5)
        torch.manual_seed(5)
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.3)
        want = adapted(input_ids=ids).logits
        merged = adapted.merge_and_unload()
        torch.testing.assert_close(merged(ids).logits, want, atol=1e-4, rtol=1e-4)
    after = merged.state_dict()
    assert set(after) == set(before)
    moved = {k for k in before if not torch.equal(before[k], after[k])}
    tied = {k for k in moved - names if any(after[k].data_ptr() == after[n].data_ptr() for n in names)}
    assert moved - tied == names, moved ^ names


if __name__ == "__main__":
    import transformers

    transformers.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    for family in sys.argv[1:] or FAMILIES:
        try:
            print(row(family).line(), flush=True)
        except Exception as e:
            print(f"| {family} | FAILED {type(e).__name__} {str(e)[:200]!r}", flush=True)
