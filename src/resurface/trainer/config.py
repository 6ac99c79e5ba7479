"""How a student is trained: every setting of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from resurface.config import MOST_BATCH, MOST_LENGTH, Config, Seed
from resurface.models.saved import SaveDtype
from resurface.models.start_tokens import PROMPT
from resurface.trainer.packing import Format, Packing


class TrainConfig(Config):
    """Defaults are those of the repository of arXiv 2605.31126 (for Qwen2.5), but for the format."""

    method: Literal["full", "lora"] = "full"
    """Train every weight, or low-rank adapters that are merged into each saved checkpoint."""
    learning_rate: float = Field(default=1e-6, gt=0, le=10)
    """Peak learning rate."""
    epochs: int = Field(default=40, gt=0, le=10_000)
    """Passes over the subset, and the length of the cosine schedule."""
    checkpoint_every: int = Field(default=1, gt=0, le=10_000)
    """Keep the model of every n-th epoch, and the last."""
    batch_size: int = Field(default=64, gt=0, le=MOST_BATCH)
    """Effective batch: blocks per optimizer step, over all devices."""
    micro_batch_size: int = Field(default=8, gt=0, le=MOST_BATCH)
    """Blocks per forward pass and device."""
    cutoff: int = Field(default=2048, gt=1, le=MOST_LENGTH)
    """Tokens per packed block (reference format: one less)."""
    format: Format = "packed"
    """packed: documents as sampled. reference: their text, encoded again."""
    packing: Packing = "joined"
    """What a token sees. joined: its block. masked: its document."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps with a rising learning rate."""
    weight_decay: float = Field(default=0.0, ge=0, le=100)
    """AdamW weight decay."""
    max_grad_norm: float = Field(default=1.0, gt=0, le=1e9)
    """Gradient clipping."""
    lora_rank: int = Field(default=16, gt=0, le=2**16)
    """LoRA: rank, on every linear layer; alpha is twice that."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 autocast where the hardware has it, else float32."""
    save_dtype: SaveDtype = "auto"
    """Of kept models. auto: float32 where less loses updates."""
    gradient_checkpointing: bool = False
    """Trade time for memory."""
    save_steps: int = Field(default=50, gt=0, le=10**9)
    """Optimizer steps between resume points."""
    start: str = "auto"
    """Start of documents that come as text: auto, bos, separator, token."""
    seed: Seed = 0
    """Seed of the order of blocks and of LoRA."""

    @property
    def kept(self) -> int:
        """Checkpoints that stay."""
        return -(-self.epochs // self.checkpoint_every)

    @model_validator(mode="after")
    def _documents(self) -> TrainConfig:
        if self.start.startswith(PROMPT):
            raise ValueError("start: a prompt is no part of a document; name a start token, or auto")
        if self.format == "reference" and self.start != "auto":
            raise ValueError("start: documents of the reference format have no start token; leave start out")
        if self.format == "reference" and self.packing == "masked":
            raise ValueError("packing: the reference format joins documents; masked goes with format: packed")
        if self.format == "reference" and self.cutoff < 3:
            raise ValueError("cutoff: blocks of the reference format are one token shorter; 3 is the least")
        return self
