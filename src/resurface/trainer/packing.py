"""From the documents of a subset to what a training step sees: token ids, packed blocks, batches.

Two formats of a document:
    packed       start token, document, and its end if it had one
    reference    that of the repository of arXiv 2605.31126, which trains with LLaMA-Factory: the
                 stripped text, encoded again, and an end behind every document, a cut one too; no start
                 token; always joined, in blocks of cutoff - 1, and what is left over at the end is dropped

Two packings of documents into blocks:
    joined       concatenated and cut every `cutoff` tokens; a token attends to everything before it in its
                 block, other documents included
    masked       whole documents, side by side in blocks of at most `cutoff`; a token attends to its own
                 document alone, and a document's first token is not predicted. A document longer than a
                 block is cut into pieces of `cutoff`, each of which counts as a document
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resurface.data.token_ids import from_column
from resurface.errors import UserError
from resurface.models import ModelRef, load_tokenizer
from resurface.models.start_tokens import start_tokens
from resurface.models.tokenizing import check_ids, encode_text, vocabulary_of

Format = Literal["packed", "reference"]
Packing = Literal["joined", "masked"]


@dataclass(frozen=True, eq=False)
class Block:
    """What is read in one row of a batch."""

    ids: NDArray[np.int32]
    """Token ids [n], n <= cutoff."""
    lengths: tuple[int, ...]
    """Tokens of its parts, which do not see each other; joined documents are one part. They sum to n."""

    @classmethod
    def of(cls, *parts: NDArray[np.int32]) -> Block:
        """Of parts in their order, int32 [n_i] each."""
        return cls(np.concatenate(parts), tuple(map(len, parts)))


@dataclass(frozen=True)
class Packed:
    """left_out: tokens of the documents that are in no block."""

    blocks: list[Block]
    left_out: int


def blocks_of(
    rows: pa.Table, ref: ModelRef, fmt: Format, packing: Packing, start: str, cutoff: int, *, name: str,
    vocabulary: str | None,
) -> Packed:  # fmt: skip
    """The blocks that `ref` is trained on. rows: a subset's documents, called `name`.

    vocabulary: hash of the vocabulary that sampled ids are of, None if it is not known.

    Raises:
        UserError: ids of another tokenizer, ids where text is needed, or too little for one block.
    """
    if fmt == "reference":
        documents = encode_reference(rows, ref, name)
        blocks = [Block.of(ids) for ids in pack_whole(documents, cutoff - 1)]
    else:
        documents = encode(rows, ref, start, name=name, vocabulary=vocabulary)
        joined = packing == "joined"
        blocks = (
            [Block.of(ids) for ids in pack(documents, cutoff)] if joined else pack_apart(documents, cutoff)
        )
    given = sum(len(d) for d in documents)
    if not blocks:
        needed = f"{cutoff - 1}, one block of the reference format" if fmt == "reference" else "2"
        raise UserError(
            f"{name} has nothing to train on: {given} tokens, where it takes {needed}",
            remedy="draw a larger subset, or lower train.cutoff",
        )
    return Packed(blocks, given - sum(len(b.ids) for b in blocks))


def encode(
    rows: pa.Table, ref: ModelRef, start: str, *, name: str = "the subset", vocabulary: str | None = None
) -> list[NDArray[np.int32]]:
    """Token ids (int32 [n_i]) of a subset's documents, as the student `ref` is to see them.

    Sampled ids are kept as they are. Text is encoded, as plain text, by the student's tokenizer behind its
    start token; a document that ended by itself ends with the student's end token. name, vocabulary: see
    `blocks_of`.

    Raises:
        UserError: ids that are not of the student's vocabulary.
    """
    tokenizer = load_tokenizer(ref)
    if "input_ids" in rows.column_names:
        if vocabulary is not None and vocabulary != vocabulary_of(tokenizer):
            raise UserError(
                f"the token ids of {name} are of another vocabulary than that of {ref.spec}",
                remedy="draw the subset as text, which every student encodes itself: subset --bytes N",
            )
        found = from_column(rows["input_ids"], f"{name}: column 'input_ids'")
    else:
        tokens = start_tokens(ref, tokenizer, start)
        end = tokens.end_ids(tokenizer)
        texts = encode_text(tokenizer, rows["text"].to_pylist())
        found = [
            np.asarray([*tokens.start_ids, *ids, *(end if ended else [])], np.int32)
            for ids, ended in zip(texts, rows["ended"].to_pylist(), strict=True)
        ]
    _check(found, rows, ref, name)
    return found


def encode_reference(rows: pa.Table, ref: ModelRef, name: str = "the subset") -> list[NDArray[np.int32]]:
    """Token ids (int32 [n_i]) of documents of text in the reference format; see the module's head.

    The reference makes control tokens of names such as <|im_start|> in a text; here they stay text.

    Raises:
        UserError: ids in place of text, or a tokenizer without EOS.
    """
    if "text" not in rows.column_names:
        raise UserError(
            f"{name} holds token ids; the reference format encodes text again",
            remedy="draw it with subset --format reference, or with a budget in --bytes",
        )
    tokenizer = load_tokenizer(ref)
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the tokenizer of {ref.spec} has no EOS, which ends every document of the reference format",
            remedy="use --format packed",
        )
    texts = encode_text(tokenizer, [t.strip() for t in rows["text"].to_pylist()])
    found = [np.asarray([*ids, tokenizer.eos_token_id], np.int32) for ids in texts]
    _check(found, rows, ref, name)
    return found


def _check(documents: list[NDArray[np.int32]], rows: pa.Table, ref: ModelRef, name: str) -> None:
    ids = rows["sample_id"].to_pylist() if "sample_id" in rows.column_names else range(len(documents))
    check_ids(((f"document {i} of {name}", d) for i, d in zip(ids, documents, strict=True)), ref)


def pack(documents: list[NDArray[np.int32]], cutoff: int) -> list[NDArray[np.int32]]:
    """Concatenate token ids (int32 [n_i] each) and cut into blocks of `cutoff`; the last is shorter.

    No token is lost, except that a last block of one token has nothing to predict and is dropped.
    """
    flat = _concatenated(documents)
    blocks = [flat[i : i + cutoff] for i in range(0, len(flat), cutoff)]
    return blocks if not blocks or len(blocks[-1]) > 1 else blocks[:-1]


def pack_whole(documents: list[NDArray[np.int32]], size: int) -> list[NDArray[np.int32]]:
    """Concatenate token ids (int32 [n_i] each) and cut into blocks of exactly `size`; the rest is dropped."""
    flat = _concatenated(documents)
    return [flat[i : i + size] for i in range(0, len(flat) - size + 1, size)]


def pack_apart(documents: list[NDArray[np.int32]], cutoff: int) -> list[Block]:
    """Put token ids (int32 [n_i] each) side by side in blocks of at most `cutoff`; none is cut that fits.

    Longest first, each into the fullest block that has room for it: best-fit packing (Ding et al. 2024,
    2404.10830). A document or a last piece of one token has nothing to predict and is dropped.
    """
    pieces = [d[i : i + cutoff] for d in documents for i in range(0, len(d), cutoff)]
    blocks: list[list[NDArray[np.int32]]] = []
    room: list[tuple[int, int]] = []  # tokens that fit into a block, its number; sorted
    for piece in sorted((p for p in pieces if len(p) > 1), key=len, reverse=True):
        at = bisect.bisect_left(room, (len(piece), 0))
        left, number = room.pop(at) if at < len(room) else (cutoff, len(blocks))
        if number == len(blocks):
            blocks.append([])
        blocks[number].append(piece)
        bisect.insort(room, (left - len(piece), number))
    return [Block.of(*parts) for parts in blocks]


def _concatenated(documents: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    return np.concatenate([np.zeros(0, np.int32), *documents])


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
