"""One teacher-forced pass with every metric, against greedy generation of the same windows.

    python benchmarks/extraction.py smollm2-135m-instruct --texts asset:gpl-3 asset:mpl-2.0 --windows 32

What is timed, on the same windows, models loaded and warm, rounds alternating in one process, at each batch
size (the more windows decode together, the nearer generation comes to the machine's limit):
    one pass     `HFEngine.score` and every metric of METHODS C from its table: exact match, sampling
                 probability at T = 1 and with top-k 40, (n, p) for four (n, p), extraction strength, NLL
    generation   `HFEngine.greedy`, token by token with a cache: exact match and nothing else
    generate     transformers' `generate` on the same batches, likewise

Prints, and writes as JSON where --out names a file, windows per second of each (the median of the rounds) and
ratios. Ratios are of this machine and this load: run it where you mean it.
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

import numpy as np

from resurface import models, progress
from resurface.artifacts import provenance
from resurface.data.texts import load_texts
from resurface.engines.hf import HFEngine
from resurface.memorization import ExtractConfig, make_windows, metrics, positions
from resurface.models import ModelConfig
from resurface.models.start_tokens import window_start


def main() -> None:
    args = arguments()
    progress.set_quiet(True)
    ref = models.resolve(ModelConfig(id=args.model))
    tokenizer, model = models.load_tokenizer(ref), models.load_model(ref, args.dtype)
    start = list(window_start(ref, tokenizer, args.start))
    documents = [d for spec in args.texts for d in load_texts(spec)]
    cfg = ExtractConfig(
        texts=tuple(args.texts), prefix=args.prefix, suffix=args.suffix, max_windows=args.windows, seed=0
    )
    ids = make_windows(documents, tokenizer, cfg).table["token_ids"].to_pylist()
    found = {
        "model": args.model,
        "dtype": str(model.dtype).removeprefix("torch."),
        "windows": len(ids),
        "prefix": args.prefix,
        "suffix": args.suffix,
        "rounds": args.rounds,
        "batches": [compared(model, start, ids, args, size) for size in args.batch_sizes],
        "command": ["python", "benchmarks/extraction.py", *sys.argv[1:]],
        "provenance": provenance.collect().without_command().as_json(),
    }
    if args.out:
        Path(args.out).write_text(json.dumps(found, indent=1) + "\n")


def compared(
    model: Any, start: list[int], ids: list[list[int]], args: argparse.Namespace, batch_size: int
) -> dict[str, Any]:
    """Seconds and rates of each contender at one batch size, and the ratios."""
    engine = HFEngine(model, batch_size)
    contenders = {
        "one pass": lambda: one_pass(engine, start, ids, args.prefix),
        "generation": lambda: generation(engine, start, ids, args.prefix),
        "generate": lambda: generate(model, start, ids, args.prefix, batch_size),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    hits: dict[str, int] = {}
    for round_ in range(args.rounds + 1):  # the first warms up and is not counted
        for name, run in contenders.items():
            took, hits[name] = timed(run)
            if round_:
                seconds[name].append(took)
    rates = {name: len(ids) / statistics.median(s) for name, s in seconds.items()}
    ratio = {name: rates["one pass"] / rate for name, rate in rates.items() if name != "one pass"}
    print(f"{batch_size} at once:")
    for name, rate in rates.items():
        times = f"   1/{ratio[name]:.1f} of one pass" if name in ratio else ""
        print(f"  {name:<12}{rate:10.2f} windows/s   {hits[name]} exact matches{times}")
    found = {"hits": hits, "seconds": seconds, "windows_per_second": rates, "ratio": ratio}
    return {"batch_size": batch_size, **found}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--texts", nargs="+", required=True)
    parser.add_argument("--windows", type=int, default=64)
    parser.add_argument("--prefix", type=int, default=32)
    parser.add_argument("--suffix", type=int, default=32)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--start", default="none")
    parser.add_argument("--out")
    return parser.parse_args()


def timed(run: Callable[[], int]) -> tuple[float, int]:
    began = time.perf_counter()
    hits = run()
    return time.perf_counter() - began, hits


def one_pass(engine: HFEngine, start: list[int], ids: list[list[int]], prefix: int) -> int:
    targets = np.asarray(ids, np.int32)[:, prefix:]
    scores = engine.score([start + x for x in ids], last=targets.shape[1], top=40)
    table = positions.to_table([str(i) for i in range(len(ids))], scores, targets)
    found = positions.from_table(table, prefix, (1.0,))
    for top_k in (0, 40):
        logp = metrics.sampling_logprob(found, top_k=top_k)
        for n, p in ((1, 0.5), (100, 0.5), (10_000, 0.5), (1_000_000, 0.1)):
            metrics.discoverable(logp, n, p)
    metrics.extraction_strength(found.match)
    metrics.longest_run(found.match)
    metrics.suffix_nll(found)
    return int(metrics.exact_match(found.match).sum())


def generation(engine: HFEngine, start: list[int], ids: list[list[int]], prefix: int) -> int:
    told = engine.greedy([start + x[:prefix] for x in ids], len(ids[0]) - prefix)
    return sum(t.tolist() == x[prefix:] for t, x in zip(told, ids, strict=True))


def generate(model: Any, start: list[int], ids: list[list[int]], prefix: int, batch_size: int) -> int:
    import torch

    k, hits = len(ids[0]) - prefix, 0
    for i in range(0, len(ids), batch_size):
        chunk = ids[i : i + batch_size]
        given = torch.tensor([start + x[:prefix] for x in chunk], device=model.device)
        with torch.inference_mode():
            out = model.generate(
                given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=k,
                min_new_tokens=k, eos_token_id=None, pad_token_id=0,
            )  # fmt: skip
        told = out[:, given.shape[1] :].tolist()
        hits += sum(t == x[prefix:] for t, x in zip(told, chunk, strict=True))
    return hits


if __name__ == "__main__":
    main()
