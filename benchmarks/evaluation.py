"""Log-likelihoods of benchmark items against lm-eval's own backend, on the same requests in one process.

    python benchmarks/evaluation.py smollm2-135m-instruct --task asset:arc_easy --items 32 \
        --out results/benchmarks/evaluation-smollm2.json

Prints, and writes as JSON where --out names a file, requests per second of both (the median of --rounds, in
turn), their ratio, the largest difference of a log-likelihood (nats) and how many greedy flags differ. One
thread, one process: what processes add is in `sharing.py`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from resurface import benchmarks
from resurface.artifacts import provenance
from resurface.benchmarks import harness
from resurface.engines.hf import HFEngine
from resurface.engines.loaded_model import LoadedModel
from resurface.models import ModelConfig, load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--task", default="asset:arc_easy")
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    loaded = LoadedModel.open(ModelConfig(id=args.model, dtype="float32", device="cpu"))
    engine = HFEngine(load_model(loaded.ref, "float32", "cpu"), args.batch_size)
    options = {
        "pretrained": engine.model, "tokenizer": loaded.tokenizer, "backend": "causal",
        "batch_size": args.batch_size,
    }  # fmt: skip
    backends = {
        "ours": harness.language_model(engine.continuations, **options).loglikelihood,
        "lm_eval": HFLM(**options).loglikelihood,
    }
    task = benchmarks.load_tasks(args.task)[args.task]
    task.build_all_requests(limit=args.items)
    requests = task.instances
    seconds: dict[str, list[float]] = {name: [] for name in backends}
    answers: dict[str, Any] = {}
    for _ in range(args.rounds):
        for name, ask in backends.items():
            answers[name], taken = _timed(ask, requests)
            seconds[name].append(taken)
    speed = {name: len(requests) / statistics.median(of) for name, of in seconds.items()}
    pairs = list(zip(answers["ours"], answers["lm_eval"], strict=True))
    result = {
        "model": args.model,
        "task": args.task,
        "items": args.items,
        "requests": len(requests),
        "batch_size": args.batch_size,
        "requests_per_second": speed,
        "seconds": seconds,
        "ratio": speed["ours"] / speed["lm_eval"],
        "largest_difference_nats": max(abs(a[0] - b[0]) for a, b in pairs),
        "greedy_flags_that_differ": sum(a[1] != b[1] for a, b in pairs),
        "provenance": provenance.collect().as_json(),
    }
    text = json.dumps(result, indent=1) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


def _timed(ask: Callable[..., Any], requests: Any) -> tuple[Any, float]:
    began = time.monotonic()
    found = ask(requests, disable_tqdm=True)
    return found, time.monotonic() - began


if __name__ == "__main__":
    main()
