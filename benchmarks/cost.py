"""What the paper's settings would take on GPUs, on paper: measured rates of one GPU, and arithmetic.

    python benchmarks/cost.py results/benchmarks/gpu-h200.json

Settings of the paper's repository (arXiv 2605.31126): 20,000 documents of at most 1,024 tokens; three subsets
of 5,000,000 tokens, 40 epochs each; 64 blocks of 2,048 tokens a step. Counted as if every document had its
1,024 tokens and GPUs shared the work without loss: samples by `--shard`, blocks of a step by DDP. `reduced`
is what the gradients of a step (float32, a ring) take at 200 GB/s between GPUs, beside the pass itself: where
it is the longer of the two, more GPUs help no more.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCUMENTS, LENGTH = 20_000, 1_024
SUBSETS, TOKENS, EPOCHS = 3, 5_000_000, 40
BLOCKS, CUTOFF = 64, 2_048
LINK = 200e9
"""Bytes per second between GPUs: an assumption, about half of what NVLink of an H100 is sold for."""
WEIGHTS = {"smollm2-135m": 134.5e6, "qwen2.5-0.5b": 494e6, "llama-3.2-1b": 1.236e9}


@dataclass(frozen=True)
class Cost:
    """Of one model on so many GPUs."""

    model: str
    gpus: int
    sampling_h: float
    training_h: float
    """Of all subsets, one after the other."""
    step_s: float
    """Forward and backward passes of one step."""
    reduced_s: float
    """Exchange of its gradients."""


def costs(timings: list[dict[str, Any]], gpus: int) -> list[Cost]:
    """timings: of `scripts/gpu_check.py`; of each model the fastest sampling counts."""
    found = []
    for model, weights in WEIGHTS.items():
        rates = {
            path: max((t["ours"] for t in timings if (t["path"], t["model"]) == (path, model)), default=None)
            for path in ("sample", "train")
        }
        if rates["sample"] is None or rates["train"] is None:
            continue
        reduced = 2 * 4 * weights * (gpus - 1) / gpus / LINK
        step = BLOCKS * CUTOFF / (rates["train"] * min(gpus, BLOCKS))
        steps = -(-TOKENS // (BLOCKS * CUTOFF)) * EPOCHS * SUBSETS
        sampling = DOCUMENTS * LENGTH / rates["sample"] / gpus
        found.append(Cost(model, gpus, sampling / 3600, steps * max(step, reduced) / 3600, step, reduced))
    return found


def table(timings: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| model | GPUs | sampling, h | training, h | a step, s | reduced, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    every = [c for gpus in (1, 8, 64) for c in costs(timings, gpus)]
    for c in sorted(every, key=lambda c: list(WEIGHTS).index(c.model)):
        hours = f"{c.sampling_h:.2g} | {c.training_h:.2g}"
        lines.append(f"| {c.model} | {c.gpus} | {hours} | {c.step_s:.2g} | {c.reduced_s:.2g} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rates", type=Path, help="what scripts/gpu_check.py wrote")
    print(table(json.loads(parser.parse_args().rates.read_text())["timings"]), end="")


if __name__ == "__main__":
    main()
