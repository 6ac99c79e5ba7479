"""Documents drawn by every engine that is installed and by transformers' `generate`, in one run.

    python benchmarks/engines.py lab:a-medium --documents 256 --tokens 128

All documents have the same number of tokens (no stop id may be drawn before). Loading does not count: each
way draws a batch first. Ways take turns, and the median of the rounds counts, as others may use the machine.
What the engines give besides tokens is part of their work: two log-probabilities each, for which vLLM reads
every document a second time; `generate` gives none.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from resurface import progress
from resurface.artifacts import provenance
from resurface.engines import registry
from resurface.engines.base import Sampler, SamplingParams
from resurface.engines.hf import HFEngine
from resurface.engines.loaded_model import LoadedModel
from resurface.engines.registry import Options
from resurface.models import ModelConfig, load_model

TEMPERATURE = 1.25
Way = Callable[[int], int]
"""Draws so many documents; returns their tokens."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--documents", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=128, help="of a document")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    progress.set_quiet(True)
    ways = ways_of(ModelConfig(id=args.model, device=args.device, dtype=args.dtype), args)
    for way in ways.values():
        way(args.batch_size)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, way in ways.items():
            began = time.monotonic()
            tokens = way(args.documents)
            speeds[name].append(round(tokens / (time.monotonic() - began), 1))
            print(f"{name}: {speeds[name][-1]:,.0f} tokens/s", file=sys.stderr)
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    given = {k: v for k, v in vars(args).items() if k != "out"}
    result: dict[str, Any] = given | {"threads": torch.get_num_threads(), "tokens_per_second": speeds}
    result["against_generate"] = {n: round(x / medians["generate"], 2) for n, x in medians.items()}
    result["versions"] = {e.name: e.version for e in registry.statuses()}
    text = json.dumps(result | {"provenance": provenance.collect().as_json()}, indent=1) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


def ways_of(cfg: ModelConfig, args: argparse.Namespace) -> dict[str, Way]:
    """Name -> how documents are drawn. hf: as `sample` does, by several processes on a CPU; hf, one process:
    with all threads."""
    loaded = LoadedModel.open(cfg, "auto")
    assert loaded.start is not None
    start, stops = loaded.start.given, loaded.start.stop_ids
    model = load_model(loaded.ref, loaded.dtype, loaded.device)
    params = SamplingParams(TEMPERATURE, args.tokens, args.tokens, stops, 0)

    def by(engine: Sampler) -> Way:
        return lambda n: sum(len(s.token_ids) for s in engine.sample(start, range(n), params))

    def generate(n: int) -> int:
        for first in range(0, n, args.batch_size):
            ids = torch.tensor([list(start)] * min(args.batch_size, n - first), device=model.device)
            with torch.inference_mode():
                model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=True,
                    temperature=TEMPERATURE,
                    top_k=0,
                    top_p=1.0,
                    min_new_tokens=args.tokens,
                    max_new_tokens=args.tokens,
                    eos_token_id=list(stops),
                    pad_token_id=stops[0],
                )
        return n * args.tokens

    options = Options(args.batch_size, args.documents * args.tokens)
    ways = {
        "generate": generate,
        "hf": by(registry.open_sampler("hf", loaded, options)),
        "hf, one process": by(HFEngine(model, args.batch_size)),
    }
    if next(e for e in registry.statuses() if e.name == "vllm").version:
        ways["vllm"] = by(registry.open_sampler("vllm", loaded, options))
    return ways


if __name__ == "__main__":
    main()
