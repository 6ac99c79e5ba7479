"""One pass over a context and several continuations of it: the context is read once.

    context  continuation 1  continuation 2 ...      a token sees the context and what is before it in its own
                                                     continuation, and stands where it would stand alone

Whether a model takes such a mask and such positions is shown on a few tokens first (`canary.branches`).
Shapes: B rows, L positions of a row, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from resurface.models.decoding import last_logits


@dataclass(frozen=True)
class Row:
    """A context and its continuations, in token ids; neither is empty. The last token of a continuation
    predicts nothing that is asked for, and is not read."""

    context: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...]

    @property
    def length(self) -> int:
        """Tokens that are read."""
        return len(self.context) + sum(len(c) - 1 for c in self.continuations)

    def places(self, first: int) -> list[list[int]]:
        """Positions of the logits of each continuation's tokens, counted from position `first`."""
        at, out = len(self.context), []
        for c in self.continuations:
            out.append([len(self.context) - 1 - first, *range(at - first, at - first + len(c) - 1)])
            at += len(c) - 1
        return out


def branched_logits(model: Any, rows: Sequence[Row], device: torch.device) -> tuple[torch.Tensor, int]:
    """Logits [B, L - first, V] from position `first` on, the last of the shortest context; and `first`."""
    longest, first = max(r.length for r in rows), min(len(r.context) for r in rows) - 1
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    positions = torch.zeros(len(rows), longest, dtype=torch.long)
    branch = torch.full((len(rows), longest), -1)  # 0 is the context, -1 what is filled up
    for i, row in enumerate(rows):
        n = len(row.context)
        ids[i, :n], positions[i, :n], branch[i, :n] = torch.tensor(row.context), torch.arange(n), 0
        at = n
        for k, c in enumerate(row.continuations, 1):
            end = at + len(c) - 1
            ids[i, at:end] = torch.tensor(c[:-1], dtype=torch.long)
            positions[i, at:end], branch[i, at:end] = torch.arange(n, n + len(c) - 1), k
            at = end
    before = torch.ones(longest, longest, dtype=torch.bool).tril()
    one, other = branch[:, :, None], branch[:, None, :]
    sees = before & ((one == other) | ((other == 0) & (one > 0)))
    dtype = next(model.parameters()).dtype
    mask = torch.zeros(sees.shape, dtype=dtype).masked_fill_(~sees, torch.finfo(dtype).min)
    given = {"attention_mask": mask[:, None].to(device), "position_ids": positions.to(device)}
    logits, _ = last_logits(model, ids.to(device), longest - first, use_cache=False, **given)
    return logits, first


def may_branch(config: Any, length: int) -> bool:
    """Whether a row so long is as good as the short one of the proof: not where a layer looks back through a
    window of its own that is shorter, and within the positions that the model has."""
    text = config.get_text_config()
    names = ("sliding_window", "attention_chunk_size", "max_position_embeddings")
    bounds = [getattr(text, name, None) for name in names]
    return all(not isinstance(bound, int) or length <= bound for bound in bounds)
