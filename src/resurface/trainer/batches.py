"""Blocks as Trainer reads them: a dataset, and its rows as what a model is given.

Shapes: B blocks, L tokens of the longest, T of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from resurface.models.documents import Way, document_inputs
from resurface.trainer.packing import Block, collate


@dataclass(frozen=True)
class Row:
    """A block, and whether it counts: where it fills up a step, none of its tokens is predicted."""

    block: Block
    counts: bool = True


class Blocks:
    """A dataset of blocks, of which number -1 - i is block i as filling."""

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, i: int) -> Row:
        return Row(self.blocks[i]) if i >= 0 else Row(self.blocks[-1 - i], counts=False)


@dataclass(frozen=True)
class Collator:
    """Rows as a batch: input_ids, labels (-100 for what is not predicted), and what keeps documents apart."""

    way: Way | None = None
    """How parts of a block are kept apart; None: each block is one part."""
    dtype: Any = torch.float32
    """Of a mask."""

    def __call__(self, rows: list[Row]) -> dict[str, Any]:
        """[B, L] each, filled up on the right; with the way `flat` [1, T]."""
        batch = collate([{"input_ids": row.block.ids} for row in rows])
        lengths = [row.block.lengths for row in rows]
        for i, row in enumerate(rows):
            starts = torch.tensor([0, *row.block.lengths[:-1]]).cumsum(0)
            batch["labels"][i, starts if row.counts else slice(None)] = -100
        if self.way is None:
            return batch
        real = batch.pop("attention_mask").bool()
        if self.way == "flat":
            batch = {name: value[real][None] for name, value in batch.items()}
            lengths = [tuple(n for row in lengths for n in row)]
        return batch | document_inputs(lengths, self.way, self.dtype)
