"""The hot paths, each against a peer on the same work and against the machine's limit, in one process.

Limits are measured, not looked up: a large matrix product, and a copy of a large block of memory.
Shapes: B rows, n tokens.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapes
import torch

from resurface.engines.base import Engine, SamplingParams
from resurface.engines.hf import HFEngine

SPREAD = 3
"""Repetitions of which the median counts."""


@dataclass(frozen=True)
class Limits:
    """What the machine can do, as measured."""

    flops: dict[str, float]
    """dtype -> floating-point operations per second of a matrix product."""
    copied: float
    """Bytes per second that a copy reads and writes."""


@dataclass(frozen=True)
class Timing:
    """One path on one setting."""

    path: str
    model: str
    dtype: str
    setting: str
    unit: str
    ours: float
    """Units per second."""
    peer: str | None
    theirs: float | None
    """Units per second of the peer on the same work."""
    limit: float | None
    """Units per second that the measured limits allow: see the function that timed it."""
    memory_gib: float | None
    """Highest memory of the device in use, in GiB; None on a CPU."""

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's."""
        return None if self.theirs is None else self.ours / self.theirs

    @property
    def share(self) -> float | None:
        """Ours over the limit."""
        return None if self.limit is None else self.ours / self.limit

    def against(self, peer: str, theirs: float | None) -> Timing:
        """The same beside another peer."""
        return replace(self, peer=peer, theirs=theirs)

    def line(self) -> str:
        """A row for people."""
        against = "" if self.ratio is None else f"{self.ratio:6.2f} x {self.peer}"
        limit = "" if self.share is None else f"{self.share:7.1%} of the limit"
        memory = "" if self.memory_gib is None else f"{self.memory_gib:7.1f} GiB"
        what = f"{self.path:<9} {self.model:<14} {self.dtype:<9} {self.setting:<24}"
        return f"{what}{self.ours:12,.0f} {self.unit}/s {against:<24}{limit:<22}{memory}"


def seconds(
    run: Callable[[], Any], device: str, rounds: int = SPREAD, *, warm_up: Callable[[], Any] | bool = True
) -> float:
    """The median of `rounds` runs, after one that does not count, or what stands in for it."""
    if warm_up:
        (run if warm_up is True else warm_up)()
    took = []
    for _ in range(rounds):
        wait(device)
        began = time.perf_counter()
        run()
        wait(device)
        took.append(time.perf_counter() - began)
    return float(np.median(took))


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def limits(device: str) -> Limits:
    """Measured on the device; a few seconds."""
    cuda = torch.device(device).type == "cuda"
    n, flops = (8192 if cuda else 1024), {}
    for dtype in (torch.float32, torch.bfloat16) if cuda else (torch.float32,):
        a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
        flops[str(dtype).removeprefix("torch.")] = 2 * n**3 / seconds(lambda a=a, b=b: a @ b, device)  # type: ignore[misc]
    block = torch.empty(2**31 if cuda else 2**28, dtype=torch.uint8, device=device)
    other = torch.empty_like(block)
    return Limits(flops, 2 * block.numel() / seconds(lambda: other.copy_(block), device))


def sampling(
    model: Any,
    name: str,
    rows: int,
    n: int,
    of: Limits,
    *,
    engine: Engine | None = None,
    batches: int = 1,
    peer: bool = True,
    rounds: int = 1,
) -> Timing:
    """Documents of n tokens from one start token, `rows` at once; the peer is transformers' `generate`, with
    one such batch.

    The limit is the slower of two per step: reading weights and cache once, multiplying once. engine: None:
    that of this process alone.
    """  # fmt: skip
    device, dtype = str(model.device), _dtype(model)
    engine = engine if engine is not None else HFEngine(model, rows)
    params = SamplingParams(1.0, n, n, (0,), 0)
    # a GPU plans for the very shapes; on a CPU what counts is that helpers are there
    short = (
        params if torch.device(device).type == "cuda" else replace(params, min_tokens=32, max_new_tokens=32)
    )
    _free(device)
    drawn = range(batches * rows)
    ours = len(drawn) * n / seconds(
        lambda: list(engine.sample([0], drawn, params)), device, rounds,
        warm_up=lambda: list(engine.sample([0], drawn, short)),
    )  # fmt: skip
    memory = _memory(device)
    theirs = None
    if peer:
        given = torch.zeros(rows, 1, dtype=torch.long, device=device)

        def generate() -> None:
            with torch.inference_mode():
                model.generate(
                    given, attention_mask=torch.ones_like(given), do_sample=True, top_k=0, top_p=1.0,
                    max_new_tokens=n, min_new_tokens=n, eos_token_id=None, pad_token_id=0,
                )  # fmt: skip

        theirs = rows * n / seconds(generate, device, rounds, warm_up=torch.device(device).type == "cuda")
    weights = shapes.weights_in_products(model)
    read = weights * next(model.parameters()).element_size() + rows * shapes.cache_bytes(model) * n / 2
    # a copy reads and writes, and only what is read counts here
    step = max(read / of.copied, 2 * weights * rows / of.flops[dtype])
    setting = f"{rows} x {n}"
    return Timing(
        "sample",
        name,
        dtype,
        setting,
        "tokens",
        ours,
        "generate" if peer else None,
        theirs,
        rows / step,
        memory,
    )


def scoring(model: Any, name: str, rows: int, n: int, of: Limits) -> Timing:
    """Windows of n tokens scored in one pass, `rows` at once; the limit is the matrix products."""
    device, dtype = str(model.device), _dtype(model)
    engine = HFEngine(model, rows)
    ids = np.random.default_rng(0).integers(1, model.config.vocab_size, (rows, n)).tolist()
    _free(device)
    took = seconds(lambda: engine.score(ids), device)
    limit = of.flops[dtype] / (2 * shapes.weights_in_products(model) * n)
    return Timing(
        "score", name, dtype, f"{rows} x {n}", "windows", rows / took, None, None, limit, _memory(device)
    )


def training(model: Any, name: str, blocks: int, n: int, of: Limits, *, bf16: bool, steps: int = 8) -> Timing:
    """Steps of `blocks` packed blocks of n tokens; the peer is transformers' Trainer on the same tokens as
    documents of n / 8 to n tokens, padded. The limit: 6 operations per weight and token, and attention.
    """
    from resurface.trainer.chunked_loss import by_chunks
    from resurface.trainer.memory import chunk_tokens
    from resurface.trainer.packed import PackedTrainer
    from resurface.trainer.packing import Block

    device = str(model.device)
    rng = np.random.default_rng(0)
    kind = "bfloat16" if bf16 else "float32"
    drawn = rng.integers(1, model.config.vocab_size, (blocks * steps, n)).astype(np.int32)
    ids = [Block.of(block) for block in drawn]
    size = chunk_tokens(blocks * n, model.config.vocab_size, torch.device(device).type)
    how: dict[str, Any] = {"model": model, "chunked": size is not None and by_chunks(model, size)}
    _free(device)
    ours = _trained(
        lambda args, watch: PackedTrainer(ids, 0.1, args=args, callbacks=[watch], **how),
        device, blocks, bf16, lambda trainer: trainer.predicted,
    )  # fmt: skip
    memory = _memory(device)
    theirs = _padded(model, rng, blocks, n, steps, device, bf16)
    c = model.config
    per_token = 6 * shapes.weights_in_products(model) + 6 * c.num_hidden_layers * c.hidden_size * n
    return Timing(
        "train", name, kind, f"{blocks} x {n}", "tokens", ours, "padded Trainer", theirs,
        of.flops[kind] / per_token, memory,
    )  # fmt: skip


def _padded(model: Any, rng: Any, blocks: int, n: int, steps: int, device: str, bf16: bool) -> float:
    from transformers import Trainer

    documents = [
        rng.integers(1, model.config.vocab_size, rng.integers(n // 8, n + 1)).astype(np.int64)
        for _ in range(blocks * steps)
    ]
    told: list[int] = []

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        from torch.nn.utils.rnn import pad_sequence

        given = [torch.from_numpy(r["input_ids"]) for r in rows]
        told.append(sum(len(x) - 1 for x in given))
        labels = pad_sequence(given, batch_first=True, padding_value=-100)
        return {"input_ids": labels.clamp(min=0), "attention_mask": (labels >= 0).long(), "labels": labels}

    return _trained(
        lambda args, watch: Trainer(
            model=model, args=args, train_dataset=[{"input_ids": d} for d in documents],
            data_collator=collate, callbacks=[watch],
        ),
        device, blocks, bf16, lambda trainer: told[trainer.state.global_step - 1],
    )  # fmt: skip


def _trained(
    make: Callable[[Any, Any], Any], device: str, blocks: int, bf16: bool, tokens: Callable[[Any], int]
) -> float:
    """Predicted tokens per second of the steps after the second."""
    import transformers

    class Watch(transformers.TrainerCallback):
        trainer: Any = None
        at: list[float] = []
        done: list[int] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            wait(device)
            self.at.append(time.perf_counter())
            self.done.append(tokens(self.trainer))

    watch = Watch()
    watch.at, watch.done = [], []
    with tempfile.TemporaryDirectory() as folder:
        args = transformers.TrainingArguments(
            output_dir=str(Path(folder) / "trainer"), per_device_train_batch_size=blocks, num_train_epochs=1,
            learning_rate=1e-5, bf16=bf16, use_cpu=torch.device(device).type == "cpu", logging_steps=10**6,
            save_strategy="no", report_to="none", disable_tqdm=True, remove_unused_columns=False,
        )  # fmt: skip
        if args.n_gpu > 1:
            args._n_gpu = 1
        trainer = make(args, watch)
        trainer.remove_callback(transformers.PrinterCallback)
        watch.trainer = trainer
        trainer.train()
    return float(sum(watch.done[2:]) / (watch.at[-1] - watch.at[1]))


def _dtype(model: Any) -> str:
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def _free(device: str) -> None:
    gc.collect()  # models and trainers of earlier rows refer to each other in circles
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _memory(device: str) -> float | None:
    if torch.device(device).type != "cuda":
        return None
    return torch.cuda.max_memory_allocated() / 2**30
