"""transformers' Trainer with a loss, a block order, a rate and a resume of which each is stated here.

loss    the mean negative log-likelihood over the predicted tokens of an optimizer step, whatever the family
        (`chunked_loss.nll`).
        Models' own losses differ: some do not shift labels, some add a router's loss, and for families
        whose class is not named ...ForCausalLM Trainer divides by a token per block too many.
order   a permutation per epoch, dealt out to the processes in turn. Where the last step has too few blocks
        for all, some blocks fill it up without counting; accelerate would train on them twice.
rate    `schedule.factor`
resume  `resume_points`: weights by their names in memory. Shards (FSDP, ZeRO) are accelerate's own, whose
        names are those in memory too, and are loaded strictly.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer

from resurface.trainer import resume_points, schedule
from resurface.trainer.batches import Blocks, Collator
from resurface.trainer.chunked_loss import nll
from resurface.trainer.packing import Block


class BatchOrder:
    """Which blocks this process sees in each of its micro-batches, as a batch sampler.

    Every process gets as many micro-batches; -1 - i stands for block i as filling, which does not count.
    filled: an epoch's blocks are filled up to a multiple of it; None for what the processes need.
    """

    def __init__(
        self, blocks: int, micro: int, rank: int, world: int, seed: int, filled: int | None = None
    ) -> None:
        self.blocks, self.micro, self.rank, self.world, self.seed = blocks, micro, rank, world, seed
        self._filled = filled or (micro * world if world > 1 else 1)
        self.epoch = 0  # from 0

    def __len__(self) -> int:
        return -(-(self.blocks + self._filling) // (self.micro * self.world))

    @property
    def _filling(self) -> int:
        return -self.blocks % self._filled

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(
            self.blocks, generator=torch.Generator().manual_seed(self.seed + self.epoch)
        ).tolist()
        order += [-1 - order[i % self.blocks] for i in range(self._filling)]
        batches = [order[i : i + self.micro] for i in range(0, len(order), self.micro)]
        yield from batches[self.rank :: self.world]


class PackedTrainer(Trainer):
    """See the module.

    predicted: tokens that the last step predicted, over all processes. collator: what of blocks the model is
    given. chunked: whether the model has `by_chunks`. filled: see `BatchOrder`.
    """

    predicted = 0

    def __init__(
        self, blocks: list[Block], warmup: float, *, collator: Collator | None = None, chunked: bool = False,
        filled: int | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        collator = collator or Collator()
        super().__init__(
            train_dataset=Blocks(blocks), data_collator=collator, compute_loss_func=nll, **kwargs
        )
        self._warmup, self._collator, self._chunked = warmup, collator, chunked
        args = self.args
        self.order = BatchOrder(
            len(blocks), args.per_device_train_batch_size, args.process_index, args.world_size, args.seed,
            filled,
        )  # fmt: skip

    @property
    def sharded(self) -> bool:
        """Whether no process holds the whole model."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def get_train_dataloader(self) -> Any:
        return DataLoader(
            self.train_dataset,  # type: ignore[arg-type]
            batch_sampler=self.order,
            collate_fn=self._collator,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """The micro-batches of a step, and how many tokens they predict over all processes."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        count = sum(int((b["labels"][..., 1:] != -100).sum()) for b in batches)
        total = self.accelerator.reduce(torch.tensor(count, device=device), reduction="sum")
        self.predicted = int(total)
        return batches, total

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **given: Any) -> Any:
        more = {"predicted": inputs["labels"]} if self._chunked else {}
        return super().compute_loss(model, inputs | more, *args, **given)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer,  # type: ignore[arg-type]
                # the scheduler asks for the rate behind the last step as well
                lambda k: schedule.factor(min(k, num_training_steps - 1), num_training_steps, self._warmup),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if self.sharded:
            super().save_model(output_dir, _internal_call)
        elif self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            resume_points.save_weights(self.model, folder / resume_points.WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # were Trainer to call it otherwise one day, its own would find no weights of a name that it knows
        if self.sharded:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            resume_points.load_weights(self.model, Path(resume_from_checkpoint) / resume_points.WEIGHTS)
