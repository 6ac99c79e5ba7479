"""transformers' Trainer around packed blocks: resume points, checkpoints per epoch, several processes.

States of the build's directory:
    trainer/checkpoint-N/complete    N optimizer steps can be resumed; without `complete`, torn
    epoch-E/                         a finished epoch's model (renamed into place)

Under `accelerate launch` or torchrun every process runs the same training; rank 0 alone locks,
writes and finishes the artifact (`build_together`), the others load it when it is done.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resurface import artifacts, progress
from resurface.errors import Diverged, UserError
from resurface.lora_targets import lora_config
from resurface.models import ModelRef, load_tokenizer, pick_device, stored_dtype
from resurface.packing import Blocks, collate

if TYPE_CHECKING:
    from resurface.training import TrainConfig


def launched() -> tuple[int, int]:
    """Rank and number of processes, as `accelerate launch` and torchrun tell them."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def wait() -> None:
    """Until every process is here."""
    from accelerate import PartialState

    PartialState().wait_for_everyone()


@contextlib.contextmanager
def build_together(
    out: str | Path, stage: str, name: str, device: str, need: int, **identity: Any
) -> Iterator[artifacts.Build]:
    """The build of rank 0; the other ranks work in its directory and never lock or finish it.

    need: bytes of free space to insist on. identity: version, config and inputs, as `artifacts.build`.
    """
    rank, world = launched()
    if world > 1:
        from accelerate import PartialState

        PartialState(cpu=pick_device(device).type == "cpu")
    if rank:
        wait()  # for rank 0 to have opened it
        b = artifacts.Build(Path(out), stage, name, **identity)
        if b.final.exists():
            b.artifact = artifacts.load(b.final)
        yield b
        return
    with artifacts.build(out, stage, name, need_bytes=need, **identity) as b:
        if world > 1:
            wait()
        yield b


def run_trainer(
    b: artifacts.Build,
    ref: ModelRef,
    blocks: list[np.ndarray],
    cfg: TrainConfig,
    device: str,
    *,
    bf16: bool,
) -> list[dict[str, Any]]:
    """Train `ref` on the blocks (int32 [n] each); one row per optimizer step.

    Raises:
        UserError: a set-up that would not do what `cfg` says.
        Diverged: a loss that is no number.
    """
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    from resurface.engines.canary import require_causal

    transformers.set_seed(cfg.seed)
    tokenizer = load_tokenizer(ref)
    picked = pick_device(device)
    _, world = launched()
    micro = min(cfg.micro_batch_size, max(cfg.batch_size // world, 1))
    model: Any = AutoModelForCausalLM.from_pretrained(
        ref.path, dtype=torch.float32, use_safetensors=True, trust_remote_code=ref.trust_remote_code
    )
    require_causal(model, ref.spec)
    saved_dtype = stored_dtype(ref.path)  # checkpoints keep it
    if cfg.method == "lora":
        import peft

        model = peft.get_peft_model(model, lora_config(model, cfg.lora_rank))
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
        logging_nan_inf_filter=False,  # it would report a diverged loss as 0
        save_strategy="steps",
        save_steps=cfg.save_steps,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        seed=cfg.seed,
        data_seed=cfg.seed,
        dataloader_pin_memory=picked.type == "cuda",
    )
    _one_device(args, picked, world)
    resume = _resume_point(work)
    per_epoch = -(-len(blocks) // cfg.batch_size)
    first = int(resume.name.split("-")[1]) if resume else 0
    with progress.task("train", per_epoch * cfg.epochs, "steps", first) as bar:
        callback = _callback(b, cfg, per_epoch, tokenizer, saved_dtype, bar)
        trainer = Trainer(
            model=model,
            args=args,
            train_dataset=Blocks(blocks),  # type: ignore[arg-type]
            data_collator=collate,
            callbacks=[callback],
        )
        callback.trainer = trainer
        _check_sharding(trainer, cfg)
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    due = {e for e in range(1, cfg.epochs + 1) if _due(e, cfg)}
    assert launched()[0] or due == {int(p.name.split("-")[1]) for p in b.path.glob("epoch-?*")}, due
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


def _one_device(args: Any, picked: Any, world: int) -> None:
    """One process trains on one device: what `batch_size` says is what happens."""
    if picked.type == "cuda" and picked.index and world == 1:
        raise UserError(
            f"training runs on the first visible GPU, not on {picked}",
            remedy=f"CUDA_VISIBLE_DEVICES={picked.index} resurface ...",
        )
    # reading n_gpu sets it: Trainer would use all of them, each with a batch of its own
    if args.n_gpu > 1:
        args._n_gpu = 1


def _check_sharding(trainer: Any, cfg: TrainConfig) -> None:
    kind = str(trainer.accelerator.distributed_type).rsplit(".", 1)[-1]
    if kind in ("FSDP", "DEEPSPEED") and cfg.method == "lora":
        raise UserError(
            f"LoRA under {kind} cannot be merged into whole checkpoints here",
            remedy="LoRA fits without sharding: launch it with DDP",
        )


def _resume_point(work: Path) -> Path | None:
    """The newest whole resume point; torn ones are removed."""
    found = sorted(work.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    whole = [p for p in found if (p / "complete").exists()]
    for torn in set(found) - set(whole):
        shutil.rmtree(torn)
    return whole[-1] if whole else None


def _callback(
    b: artifacts.Build, cfg: TrainConfig, per_epoch: int, tokenizer: Any, dtype: Any, bar: progress.Task
) -> Any:
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        trainer: Any = None  # set as soon as there is one
        kept = 0  # the last epoch whose model this process has written

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kw: Any) -> None:
            loss, norm = (float((logs or {}).get(k, 0.0)) for k in ("loss", "grad_norm"))
            if not math.isfinite(loss) or not math.isfinite(norm):
                raise Diverged(
                    f"training diverged at step {state.global_step}: loss {loss}, gradient norm {norm}",
                    remedy="lower train.learning_rate, or raise train.warmup",
                )

        def on_step_end(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            if state.is_world_process_zero:
                bar.advance()

        def on_save(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            # a run that resumes at the end of an epoch does not end it again: keep its model first
            if state.global_step % per_epoch == 0:
                self.keep(state.global_step // per_epoch, state)
            if state.is_world_process_zero:
                (Path(args.output_dir) / f"checkpoint-{state.global_step}" / "complete").touch()
                b.save_state()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            self.keep(round(state.epoch), state)

        def keep(self, epoch: int, state: Any) -> None:
            if not _due(epoch, cfg) or epoch == self.kept:
                return
            self.kept = epoch
            # gathers shards (FSDP, ZeRO-3): every rank has to take part
            whole = self.trainer.accelerator.get_state_dict(self.trainer.model_wrapped)
            if state.is_world_process_zero:
                _save_epoch(b.path / f"epoch-{epoch}", self.trainer.model, whole, tokenizer, dtype)
                b.save_state()

    return Callback()


def _due(epoch: int, cfg: TrainConfig) -> bool:
    """Whether the model of this epoch is kept."""
    return epoch == cfg.epochs or epoch % cfg.checkpoint_every == 0


def _save_epoch(final: Path, model: Any, state: dict[str, Any], tokenizer: Any, dtype: Any) -> None:
    """Write a model directory in the source's precision; renamed once it is whole.

    state: the whole model's weights, by name.
    """
    import copy

    while hasattr(model, "module"):
        model = model.module
    if hasattr(model, "merge_and_unload"):
        model = copy.deepcopy(model).merge_and_unload()
        state = model.state_dict()
    part = final.with_name(final.name + ".tmp")
    shutil.rmtree(part, ignore_errors=True)
    state = {k: v.detach().to("cpu", dtype) for k, v in state.items()}
    model.save_pretrained(part, state_dict=state)
    saved = json.loads((part / "config.json").read_text())
    saved["dtype"] = str(dtype).removeprefix("torch.")
    (part / "config.json").write_text(json.dumps(saved, indent=2, sort_keys=True) + "\n")
    tokenizer.save_pretrained(part)
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
