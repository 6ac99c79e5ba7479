"""Several documents in a row of tokens, each read as if it were alone: position ids start anew at each, and
no token attends to another document.

    positions   position ids alone: transformers makes the mask of them, with the windows of its layers
    mask        position ids and the mask itself, for families that make theirs without looking at positions
    flat        all rows as one, position ids alone: FlashAttention's kernels for sequences of any length

Whether a model takes a way is shown on a few tokens first (`canary.isolates`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

Way = Literal["positions", "mask", "flat"]


def document_inputs(lengths: Sequence[Sequence[int]], way: Way, dtype: torch.dtype) -> dict[str, Any]:
    """What a model is given beside the token ids of rows that are filled up on the right.

    lengths: tokens of each document, row by row; with `flat` there is one row. dtype: of the mask, which is
    [B, 1, L, L]. What a row is filled up with counts as a document of its own.
    """
    longest = max(sum(row) for row in lengths)
    whole = [[*row, longest - sum(row)] for row in lengths]
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in whole])
    given: dict[str, Any] = {"position_ids": positions, "use_cache": False}
    if way == "mask":
        of = torch.stack([torch.repeat_interleave(torch.tensor(row)) for row in whole])
        sees = (of[:, :, None] == of[:, None, :]).tril_()
        mask = torch.zeros(sees.shape, dtype=dtype).masked_fill_(~sees, torch.finfo(dtype).min)
        given["attention_mask"] = mask[:, None]
    return given
