"""Stage `train`: fine-tune a student on a subset, with transformers' Trainer.

reads   a model, one subset        writes   train/<name>-<fp8>/epoch-1/ ... metrics.parquet
run     resurface train smollm2-135m-instruct runs/x/subset/subset-1a2b3c4d --epochs 2

The same code runs on one CPU, one GPU, or under `accelerate launch` (DDP, FSDP, DeepSpeed by their
configuration files). Documents are concatenated and cut into blocks ("packed"); the model sees
start token, document, and its final stop token if it had one.

States of the .part directory:
    trainer/checkpoint-N/complete    N optimizer steps can be resumed; without `complete`, torn
    epoch-E/                         a finished epoch's model (renamed into place)
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from resurface import artifacts, progress
from resurface.artifacts import Artifact
from resurface.config import Config
from resurface.errors import UserError
from resurface.models import ModelRef, load_tokenizer, pick_device
from resurface.packing import Blocks, collate, encode, pack
from resurface.provenance import cpu_bfloat16
from resurface.tables import read_parquet, write_parquet

STAGE_VERSION = 1


class TrainConfig(Config):
    """Defaults are the reference settings of arXiv 2605.31126."""

    method: Literal["full", "lora"] = "full"
    """Train every weight, or low-rank adapters that are merged into each saved checkpoint."""
    learning_rate: float = Field(default=1e-6, gt=0, allow_inf_nan=False)
    """Peak learning rate."""
    epochs: int = Field(default=40, gt=0)
    """Passes over the subset; the cosine schedule ends with the last."""
    checkpoint_every: int = Field(default=1, gt=0)
    """Keep the model of every n-th epoch; the last is always kept."""
    batch_size: int = Field(default=64, gt=0)
    """Effective batch: blocks per optimizer step, over all devices."""
    micro_batch_size: int = Field(default=8, gt=0)
    """Blocks per forward pass and device."""
    cutoff: int = Field(default=2048, gt=1)
    """Tokens per packed block."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps with a rising learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW weight decay."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradient clipping."""
    lora_rank: int = Field(default=16, gt=0)
    """LoRA only: rank; alpha is twice the rank, on every linear layer."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 autocast over float32 weights where the hardware has it, else float32."""
    gradient_checkpointing: bool = False
    """Trade time for memory."""
    save_steps: int = Field(default=50, gt=0)
    """Optimizer steps between resume points: what a kill can cost at most."""
    start: str = "auto"
    """Start token of documents that come as text (a matrix): auto, bos, separator, or a token."""
    seed: int = Field(default=0, ge=0)
    """Seed of the block order and of LoRA's initialization."""


def train(
    ref: ModelRef,
    subset: Artifact,
    cfg: TrainConfig,
    out: str | Path,
    *,
    replicate: int = 0,
    device: str = "auto",
    name: str = "model",
) -> Artifact:
    """Fine-tune the student `ref` on replicate `replicate` of `subset`.

    The artifact holds `epoch-E/` (a model directory each: a MODEL for every other stage) and
    `metrics.parquet`: one row per optimizer step with epoch, loss (nats per token), learning_rate,
    grad_norm.

    Raises:
        UserError: no such replicate, blocks longer than the model's context, a subset that is
            too small, disk full.
    """
    if f"subset-{replicate}.parquet" not in subset.manifest["files"]:
        raise UserError(f"{subset.path} has no replicate {replicate}", remedy="see its manifest's counts")
    model_config = json.loads((ref.path / "config.json").read_text())
    context = model_config.get("max_position_embeddings")
    if context and cfg.cutoff > context:
        raise UserError(
            f"cutoff {cfg.cutoff} exceeds the {context} positions of {ref.spec}", remedy="lower train.cutoff"
        )
    precision = resolve_precision(cfg, device)
    # what was really computed is the identity: `auto` differs between machines
    config = cfg.model_dump(mode="json") | {"replicate": replicate, "precision": precision}
    inputs = {"model": ref.as_input(), "subset": artifacts.as_input(subset)}
    weights = sum(p.stat().st_size for p in ref.path.glob("*.safetensors"))
    kept = -(-cfg.epochs // cfg.checkpoint_every)
    need = weights * (kept + (6 if cfg.method == "full" else 1))  # two resume points of 3x each
    with artifacts.build(
        out, "train", name, version=STAGE_VERSION, config=config, inputs=inputs, need_bytes=need
    ) as b:
        if b.artifact is not None:
            return b.artifact
        rows = read_parquet(subset.file(f"subset-{replicate}.parquet"))
        blocks = pack(encode(rows, ref, cfg.start), cfg.cutoff)
        if not blocks:
            raise UserError(f"{subset.path} has nothing to train on: one token")
        steps = _run_trainer(b, ref, blocks, cfg, device, bf16=precision == "bfloat16")
        if int(os.environ.get("RANK", "0")):
            return Artifact(b.final, {})  # only rank 0 finishes the artifact
        write_parquet(pa.Table.from_pylist(steps), b.path / "metrics.parquet")
        counts = {
            "blocks": len(blocks),
            "tokens": int(sum(len(x) for x in blocks)),
            "steps": len(steps),
            "epochs": sorted(int(p.name.split("-")[1]) for p in b.path.glob("epoch-*")),
            "final_loss": round(steps[-1]["loss"], 6),
        }
        names = {p.name for p in b.path.glob("epoch-*")}
        return b.finish(counts, keep=names | {"metrics.parquet"})


def resolve_precision(cfg: TrainConfig, device: str = "auto") -> str:
    """float32 or bfloat16: what `cfg.precision` means on this device.

    On a CPU with AMX or AVX512-BF16, bfloat16 autocast is faster than float32; on one that has to
    emulate it, far slower.
    """
    import torch

    if cfg.precision != "auto":
        return cfg.precision
    kind = pick_device(device).type
    cuda = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if cuda or (kind == "cpu" and cpu_bfloat16()["fast"]) else "float32"


def checkpoints(artifact: Artifact) -> dict[int, Path]:
    """epoch -> model directory of a train artifact."""
    return {int(e): artifact.path / f"epoch-{e}" for e in artifact.counts["epochs"]}


def _run_trainer(
    b: artifacts.Build,
    ref: ModelRef,
    blocks: list[np.ndarray],
    cfg: TrainConfig,
    device: str,
    *,
    bf16: bool,
) -> list[dict[str, Any]]:
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    transformers.set_seed(cfg.seed)
    tokenizer = load_tokenizer(ref)
    picked = pick_device(device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    micro = min(cfg.micro_batch_size, max(cfg.batch_size // world, 1))
    if cfg.batch_size % (micro * world):
        raise UserError(
            f"batch_size {cfg.batch_size} is not a multiple of micro_batch_size x devices ({micro} x {world})"
        )
    model: Any = AutoModelForCausalLM.from_pretrained(
        ref.path, dtype=torch.float32, use_safetensors=True, trust_remote_code=ref.trust_remote_code
    )
    saved_dtype = _stored_dtype(ref.path)
    if cfg.method == "lora":
        import peft

        lora = peft.LoraConfig(
            r=cfg.lora_rank, lora_alpha=2 * cfg.lora_rank, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        model = peft.get_peft_model(model, lora)
        if cfg.gradient_checkpointing:
            model.enable_input_require_grads()
    if cfg.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    work = b.path / "trainer"
    args = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=cfg.batch_size // (micro * world),
        num_train_epochs=cfg.epochs,
        learning_rate=cfg.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=cfg.warmup,
        weight_decay=cfg.weight_decay,
        max_grad_norm=cfg.max_grad_norm,
        bf16=bf16,
        use_cpu=picked.type == "cpu",
        logging_steps=1,
        save_strategy="steps",
        save_steps=cfg.save_steps,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        seed=cfg.seed,
        data_seed=cfg.seed,
        dataloader_pin_memory=picked.type == "cuda",
    )
    resume = _resume_point(work)
    per_epoch = -(-len(blocks) // cfg.batch_size)
    first = int(resume.name.split("-")[1]) if resume else 0
    with progress.task("train", per_epoch * cfg.epochs, "steps", first) as bar:
        trainer = Trainer(
            model=model,
            args=args,
            train_dataset=Blocks(blocks),  # type: ignore[arg-type]
            data_collator=collate,
            callbacks=[_callback(b, cfg, tokenizer, saved_dtype, bar)],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return [
        {
            "step": int(e["step"]),
            "epoch": float(e["epoch"]),
            "loss": float(e["loss"]),
            "learning_rate": float(e["learning_rate"]),
            "grad_norm": float(e["grad_norm"]),
        }
        for e in trainer.state.log_history
        if "loss" in e
    ]


def _stored_dtype(path: Path) -> Any:
    """The precision that the source's weights are stored in: checkpoints keep it."""
    import torch

    config = json.loads((path / "config.json").read_text())
    return getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))


def _resume_point(work: Path) -> Path | None:
    """The newest whole resume point; torn ones are removed."""
    found = sorted(work.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    whole = [p for p in found if (p / "complete").exists()]
    for torn in set(found) - set(whole):
        shutil.rmtree(torn)
    return whole[-1] if whole else None


def _callback(b: artifacts.Build, cfg: TrainConfig, tokenizer: Any, dtype: Any, bar: progress.Task) -> Any:
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            if state.is_world_process_zero:
                bar.advance()

        def on_save(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            if state.is_world_process_zero:
                (Path(args.output_dir) / f"checkpoint-{state.global_step}" / "complete").touch()
                b.save_state()

        def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **kw: Any) -> None:
            epoch = round(state.epoch)
            last = epoch == cfg.epochs
            if state.is_world_process_zero and (last or epoch % cfg.checkpoint_every == 0):
                _save_epoch(b.path / f"epoch-{epoch}", model, tokenizer, dtype)
                b.save_state()

    return Callback()


def _save_epoch(final: Path, model: Any, tokenizer: Any, dtype: Any) -> None:
    """Write a model directory in the source's precision; renamed once it is whole."""
    import copy

    while hasattr(model, "module"):
        model = model.module
    if hasattr(model, "merge_and_unload"):
        model = copy.deepcopy(model).merge_and_unload()
    part = final.with_name(final.name + ".tmp")
    shutil.rmtree(part, ignore_errors=True)
    state = {k: v.detach().to("cpu", dtype) for k, v in model.state_dict().items()}
    model.save_pretrained(part, state_dict=state)
    saved = json.loads((part / "config.json").read_text())
    saved["dtype"] = str(dtype).removeprefix("torch.")
    (part / "config.json").write_text(json.dumps(saved, indent=2, sort_keys=True) + "\n")
    tokenizer.save_pretrained(part)
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
