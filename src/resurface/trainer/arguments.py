"""What Trainer is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from resurface.errors import UserError

if TYPE_CHECKING:
    from resurface.trainer.config import TrainConfig


def arguments(cfg: TrainConfig, work: Path, micro: int, world: int, kind: str, *, bf16: bool) -> Any:
    """TrainingArguments; micro: blocks per pass and process, kind: of device."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=cfg.batch_size // (micro * world),
        num_train_epochs=cfg.epochs,
        learning_rate=cfg.learning_rate,
        weight_decay=cfg.weight_decay,
        max_grad_norm=cfg.max_grad_norm,
        bf16=bf16,
        use_cpu=kind == "cpu",
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would report a diverged loss as 0
        save_strategy="steps",
        save_steps=cfg.save_steps,
        save_total_limit=None,  # Trainer's own goes by the clock: `resume_points` does it
        report_to="none",
        disable_tqdm=True,
        seed=cfg.seed,
        data_seed=cfg.seed,
        dataloader_pin_memory=kind == "cuda",
    )


def one_device(args: Any, picked: Any, world: int) -> None:
    """One process trains on one device: what `batch_size` says is what happens.

    Raises:
        UserError: another GPU than the first is picked.
    """
    if picked.type == "cuda" and picked.index and world == 1:
        raise UserError(
            f"training runs on the first visible GPU, not on {picked}",
            remedy=f"CUDA_VISIBLE_DEVICES={picked.index} resurface ...",
        )
    # reading n_gpu sets it: Trainer would use all of them, each with a batch of its own
    if args.n_gpu > 1:
        args._n_gpu = 1
