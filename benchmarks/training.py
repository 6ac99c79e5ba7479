"""Training by its packings against a padded Trainer, and the loss by chunks against all logits, in one run.

    python benchmarks/training.py --model lab:a-medium --out results/benchmarks/training.json

Documents are random ids, of lengths between --shortest and --longest (uniform in the logarithm): speed does
not depend on what ids say. The same documents are trained on, one epoch after one that does not count:

    joined, masked    blocks of --cutoff, --batch-size blocks a step, `PackedTrainer`
    padded            transformers' Trainer, as many documents a step as fill as many tokens, padded per batch

Useful tokens are those of documents, but for each one's first. Limit: the machine's own matrix product in the
same run, at 6 operations per weight and token, attention left out. A pass takes half of a step.

Memory is that of one step of a model of one layer with 262,144 tokens, in a process of its own for each way:
how much the highest use of memory grew in the second step.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hot_paths
import numpy as np
import shapes
import torch

from resurface import models, progress
from resurface.artifacts import provenance
from resurface.models import ModelConfig
from resurface.trainer.batches import Collator
from resurface.trainer.isolation import way_of
from resurface.trainer.memory import chunk_tokens
from resurface.trainer.packed import PackedTrainer
from resurface.trainer.packing import Block, pack, pack_apart

VOCABULARY = 262_144


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="*", default=["lab:a-medium"])
    parser.add_argument("--tokens", type=int, default=30_000, help="of all documents")
    parser.add_argument("--shortest", type=int, default=8)
    parser.add_argument("--longest", type=int, default=120)
    parser.add_argument("--cutoff", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument(
        "--memory-tokens", type=int, default=1024, help="of the step whose memory is measured"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--step", choices=("whole", "chunks"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(step(args.step == "chunks", args.memory_tokens)))
        return
    progress.set_quiet(True)
    limits = hot_paths.limits("cpu")
    result: dict[str, Any] = {
        "settings": {k: v for k, v in vars(args).items() if k not in ("out", "step", "model")},
        "matrix_product_flops": limits.flops["float32"],
        "speed": {name: speed(name, args, limits.flops["float32"]) for name in args.model},
        "memory": {way: child(way, args.memory_tokens) for way in ("whole", "chunks")},
        "provenance": provenance.collect().as_json(),
    }
    text = json.dumps(result, indent=1) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


def speed(name: str, args: argparse.Namespace, flops: float) -> dict[str, Any]:
    """Useful tokens per second of each way, in each round, and what the matrix products alone allow."""
    model = models.load_weights(models.resolve(ModelConfig(id=name)), torch.float32)
    rng = np.random.default_rng(0)
    documents: list[Any] = []
    while sum(map(len, documents)) < args.tokens:
        length = round(math.exp(rng.uniform(math.log(args.shortest), math.log(args.longest))))
        documents.append(rng.integers(1, model.config.vocab_size, length).astype(np.int32))
    useful = sum(len(d) - 1 for d in documents)
    blocks = {
        "joined": ([Block.of(ids) for ids in pack(documents, args.cutoff)], Collator()),
        "masked": (pack_apart(documents, args.cutoff), Collator(way_of(model, name, args.cutoff))),
    }
    ways: dict[str, Callable[[], float]] = {
        way: lambda given=given, how=how: epoch(  # type: ignore[misc]
            lambda **kw: PackedTrainer(given, 0.1, collator=how, model=model, **kw), args.batch_size
        )
        for way, (given, how) in blocks.items()
    }
    rows = max(round(args.batch_size * args.cutoff * len(documents) / args.tokens / 2) * 2, 2)
    ways["padded"] = lambda: epoch(lambda **kw: padded(model, documents, **kw), rows)
    found: dict[str, list[float]] = {}
    for i in range(args.rounds):
        for way, run in ways.items():
            found.setdefault(way, []).append(round(useful / run(), 1))
            print(f"{name}, {way}, round {i + 1}: {found[way][-1]:,.0f} useful tokens/s", file=sys.stderr)
    return {
        "weights": sum(p.numel() for p in model.parameters()),
        "documents": len(documents),
        "useful_tokens": useful,
        "useful_tokens_per_s": found,
        "of_the_limit_tokens_per_s": round(flops / (6 * shapes.weights_in_products(model)), 1),
    }


def padded(model: Any, documents: list[Any], **given: Any) -> Any:
    """transformers' Trainer on documents that are padded to the longest of their batch."""
    from transformers import Trainer

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids = [torch.from_numpy(r["input_ids"].astype(np.int64)) for r in rows]
        labels = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-100)
        return {"input_ids": labels.clamp(min=0), "attention_mask": (labels >= 0).long(), "labels": labels}

    rows: Any = [{"input_ids": d} for d in documents]
    return Trainer(model=model, train_dataset=rows, data_collator=collate, **given)


def epoch(make: Callable[..., Any], batch: int) -> float:
    """Seconds of a training's second epoch, by steps of so many rows."""
    import transformers

    ends: list[float] = []

    class Watch(transformers.TrainerCallback):
        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        args = transformers.TrainingArguments(
            output_dir=folder, per_device_train_batch_size=batch // 2, gradient_accumulation_steps=2,
            num_train_epochs=2, learning_rate=1e-6, use_cpu=True, logging_steps=10**6, save_strategy="no",
            report_to="none", disable_tqdm=True, remove_unused_columns=False,
        )  # fmt: skip
        trainer = make(args=args, callbacks=[Watch()])
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return ends[1] - ends[0]


def child(way: str, tokens: int) -> dict[str, Any]:
    """`step` in a process of its own."""
    command = [sys.executable, __file__, "--step", way, "--memory-tokens", str(tokens)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    print(f"memory, {way}: {done.stdout.decode().strip()}", file=sys.stderr)
    return dict(json.loads(done.stdout))


def step(chunked: bool, tokens: int) -> dict[str, Any]:
    """Highest memory and seconds of a second step over a large vocabulary, of a model of one layer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from resurface.trainer.chunked_loss import by_chunks, nll

    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=640, intermediate_size=1280, num_hidden_layers=1,
            num_attention_heads=4, tie_word_embeddings=True,
        )
    )  # fmt: skip
    size = chunk_tokens(10**9, VOCABULARY, "cpu")
    assert size is not None and (not chunked or by_chunks(model, size))
    before, seconds = 0.0, 0.0
    for length in (2, tokens):  # the first is for what is allocated once
        ids = torch.randint(0, VOCABULARY, (1, length))
        more = {"predicted": ids} if chunked else {}
        before, began = _highest(), time.perf_counter()
        nll(model(input_ids=ids, **more), ids, length - 1).backward()
        seconds = time.perf_counter() - began
    grown = _highest() - before
    return {"grown_gib": round(grown, 2), "seconds": round(seconds, 1), "chunk": size if chunked else None}


def _highest() -> float:
    """GiB of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


if __name__ == "__main__":
    main()
