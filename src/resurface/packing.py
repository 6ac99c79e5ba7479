"""From the documents of a subset to what a training step sees: token ids, packed blocks, batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from resurface import token_rows
from resurface.models import ModelRef, load_tokenizer, start_tokens


def encode(rows: pa.Table, ref: ModelRef, start: str) -> list[np.ndarray]:
    """Token ids (int32 [n_i]) of a subset's documents, as the student `ref` is to see them.

    Sampled ids are kept as they are. Text is encoded by the student's tokenizer behind its start
    token; a document that ended by itself ends with the student's end token.
    """
    if "input_ids" in rows.column_names:
        return token_rows.from_column(rows["input_ids"], "the subset")
    tokenizer = load_tokenizer(ref)
    tokens = start_tokens(ref, tokenizer, start)
    eos = tokenizer.eos_token_id
    end = [eos if eos in tokens.stop_ids else tokens.start_ids[0]]
    texts = tokenizer(rows["text"].to_pylist(), add_special_tokens=False, verbose=False)["input_ids"]
    return [
        np.asarray([*tokens.start_ids, *ids, *(end if ended else [])], np.int32)
        for ids, ended in zip(texts, rows["ended"].to_pylist(), strict=True)
    ]


def pack(documents: list[np.ndarray], cutoff: int) -> list[np.ndarray]:
    """Concatenate token ids (int32 [n_i] each) and cut into blocks of `cutoff`; the last is shorter.

    No token is lost, except that a last block of one token has nothing to predict and is dropped.
    """
    flat = np.concatenate(documents)
    blocks = [flat[i : i + cutoff] for i in range(0, len(flat), cutoff)]
    return blocks if len(blocks[-1]) > 1 else blocks[:-1]


class Blocks:
    """Packed blocks as the dataset that Trainer indexes."""

    def __init__(self, blocks: list[np.ndarray]) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        return {"input_ids": self.blocks[i]}


def collate(rows: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Right-pad to the longest block; labels of padding are -100 (no loss)."""
    import torch

    longest = max(len(r["input_ids"]) for r in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for i, row in enumerate(rows):
        n = len(row["input_ids"])
        ids[i, :n] = labels[i, :n] = torch.from_numpy(row["input_ids"].astype(np.int64))
    return {"input_ids": ids, "attention_mask": (labels != -100).long(), "labels": labels}
