"""Between text and token ids: text is data, whatever it spells; what ids have no text; whose ids they are.

A document may contain `</s>` or `<|im_start|>`, and a tokenizer that is just called makes the control token
of it. `encode_text` never does. Added tokens that are not special (GPT-NeoX's runs of spaces, `<tool_call>`)
are ordinary vocabulary, which models were trained on as such, and stay tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.artifacts.fingerprint import strings_sha256
from resurface.errors import UserError
from resurface.models.ref import ModelRef


def encode_text(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of each text as plain text: nothing added before or behind, no control token within.

    Raises:
        UserError: a text spells a control token that the tokenizer cannot write otherwise.
    """
    if not texts:
        return []
    encoded: list[list[int]] = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=True,
        verbose=False,  # a whole book is longer than the context, and only cut afterwards
    )["input_ids"]
    control = control_ids(tokenizer)
    for text, ids in zip(texts, encoded, strict=True):
        # a tokenizer whose vocabulary has the name as an ordinary piece (Unigram, whole words)
        if found := control.intersection(ids):
            name = tokenizer.convert_ids_to_tokens(min(found))
            raise UserError(
                f"the text {text[:40]!r}... spells {name!r}, which this tokenizer cannot write as plain text",
                remedy=f"remove {name!r} from the text, or use a model with another tokenizer",
            )
    return encoded


def encode_again(tokenizer: Any, text: str, ids: Sequence[int]) -> list[int]:
    """Encode `text`, which is `ids` decoded with nothing skipped: where these have control tokens, names of
    such are meant; else all is plain text."""
    if control_ids(tokenizer).isdisjoint(ids):
        return encode_text(tokenizer, [text])[0]
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def control_ids(tokenizer: Any) -> frozenset[int]:
    """Ids that mean something to a model and are no text: start, end, padding, and all marked special.

    Not the unknown token, which stands for text, unless it is one of the others too.
    """
    named = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    found = {i for i in named if i is not None}
    marked = {i for i, token in tokenizer.added_tokens_decoder.items() if getattr(token, "special", False)}
    return frozenset(found | (marked | set(tokenizer.all_special_ids)) - {tokenizer.unk_token_id})


def added_before(tokenizer: Any) -> tuple[int, ...]:
    """Ids that the tokenizer itself puts before a text: its BOS, where models of it are trained with one.

    Raises:
        UserError: what it adds cannot be determined.
    """
    plain = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = list(tokenizer("a")["input_ids"])
    for i in range(len(whole) - len(plain) + 1):
        if whole[i : i + len(plain)] == plain:
            return tuple(whole[:i])
    raise UserError(
        "what this tokenizer puts before a text cannot be determined",
        remedy="name it: --start none, bos, or a token",
    )


# ------------------------------------------------------------------------------ ids to text


@dataclass(frozen=True)
class Decoded:
    """What sampled ids are as text; an entry per document.

    text: without control tokens. without_token, control_inside: tokens that the text does not show, the
    stop token aside: ids that have no token in the tokenizer, and control tokens inside the document.
    text_tokens: of the stripped text, encoded again.
    """

    text: list[str]
    without_token: list[int]
    control_inside: list[int]
    text_tokens: list[int]


def decode_documents(tokenizer: Any, documents: Sequence[Sequence[int]], ended: Sequence[bool]) -> Decoded:
    """Decode documents of ids (without start token); ended: whether the last id is its stop token.

    An embedding may be padded beyond the tokenizer (Qwen2.5-0.5B: 151,936 rows, 151,665 tokens): such an id
    can be drawn, and is no text. They are drawn, as the corpus is of the model's whole distribution, and
    counted.
    """
    known, hidden = (
        set(tokenizer.get_vocab().values()),
        control_ids(tokenizer) | set(tokenizer.all_special_ids),
    )
    bare = [[int(i) for i in ids] for ids in documents]
    inner = [ids[:-1] if e else ids for ids, e in zip(bare, ended, strict=True)]
    text = [decode_text(tokenizer, [i for i in ids if i in known]) for ids in bare]
    return Decoded(
        text,
        [sum(i not in known for i in ids) for ids in inner],
        [sum(i in hidden for i in ids) for ids in inner],
        text_lengths(tokenizer, text),
    )


def text_lengths(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, stripped and encoded as plain text."""
    return [len(ids) for ids in encode_text(tokenizer, [t.strip() for t in texts])]


def decode_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of ids, without control tokens. Not tidied up: `clean_up_tokenization_spaces`, which some
    tokenizers set, takes out spaces that are there."""
    found: str = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return found


# ------------------------------------------------------------------------------ whose ids


def vocabulary_of(tokenizer: Any) -> str:
    """SHA-256 (hex) over ids and their tokens: what an id means."""
    return strings_sha256(f"{i}\0{token}" for token, i in sorted(tokenizer.get_vocab().items()))


def embedding_size(ref: ModelRef) -> int | None:
    """How many ids a model can read; None if its configuration does not say."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(ref.path, trust_remote_code=ref.trust_remote_code)
    found = getattr(config.get_text_config(), "vocab_size", None)
    return int(found) if found else None


def check_ids(rows: Iterable[tuple[str, NDArray[np.integer[Any]]]], ref: ModelRef) -> None:
    """Raise UserError if an id of a row (its name, ids [n]) is not one that the model can read."""
    limit = embedding_size(ref)
    for name, ids in rows:
        if len(ids) and (ids.min() < 0 or (limit is not None and ids.max() >= limit)):
            wrong = int(ids.min()) if ids.min() < 0 else int(ids.max())
            raise UserError(
                f"token id {wrong} of {name} is not among the {limit} of {ref.spec}",
                remedy="they are of another tokenizer: give text, which every model encodes itself",
            )
