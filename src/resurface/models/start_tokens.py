"""What a document begins with and what ends it: the start token, or a prompt, and the stop ids."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resurface.errors import UserError
from resurface.models.ref import ModelRef
from resurface.models.tokenizing import added_before, encode_text, vocabulary_of

PROMPT = "prompt:"
_SEPARATOR = "<|endoftext|>"


@dataclass(frozen=True)
class StartTokens:
    """What a document begins with and what ends it, in ids of one tokenizer."""

    start_ids: tuple[int, ...]
    """A document's first ids, which training sees too: one start token, or none behind a bare prompt."""
    stop_ids: tuple[int, ...]
    """What ends a document, rising."""
    start_token: str
    """The start token's name; empty for none."""
    origin: str
    """Which rule chose it: bos, separator, the token, or prompt."""
    prompt: str | None = None
    """What documents are continuations of; no part of them."""
    prompt_ids: tuple[int, ...] = ()
    """Ids of the prompt, between start and document; never stops."""
    vocabulary: str = ""
    """Hash of the tokenizer's vocabulary: what these ids, and those of the documents, mean."""

    @property
    def given(self) -> tuple[int, ...]:
        """What sampling is conditioned on."""
        return self.start_ids + self.prompt_ids

    def end_ids(self, tokenizer: Any) -> tuple[int, ...]:
        """What training puts behind a text that ended by itself: EOS, else the start token; may be none."""
        eos = tokenizer.eos_token_id
        return (eos,) if eos in self.stop_ids else self.start_ids[:1]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def start_tokens(ref: ModelRef, tokenizer: Any, policy: str = "auto") -> StartTokens:
    """Choose the start by `policy`: auto, bos, separator, a token of the vocabulary, or prompt:TEXT.

    auto is the tokenizer's BOS, else the document separator of pretraining (<|endoftext|>), else an error:
    a silent newline would be a prompt. A prompt is encoded as plain text behind the start token that the
    tokenizer itself adds to a text, if any. It is conditioned on, but it is no part of a document: neither
    of its tokens nor of its text, and it ends none. (So does the repository of arXiv 2605.31126 for
    Qwen2.5, which has no BOS: its documents are continuations of a newline.)

    Raises:
        UserError: the policy finds no such token, or the prompt is empty.
    """
    names = vocabulary_of(tokenizer)
    ends = _ends(ref, tokenizer)
    if policy.startswith(PROMPT):
        prompt = policy.removeprefix(PROMPT)
        (ids,) = encode_text(tokenizer, [prompt])
        if not ids:
            raise UserError("the prompt is empty", remedy='for instance --start "prompt:Once upon a time"')
        start = added_before(tokenizer)
        stops = tuple(sorted(ends | set(start)))
        token = "".join(tokenizer.convert_ids_to_tokens(list(start)))
        return StartTokens(start, stops, token, "prompt", prompt, tuple(ids), names)
    token, origin = _token(ref, tokenizer, policy)
    first = int(tokenizer.get_vocab()[token])
    return StartTokens((first,), tuple(sorted(ends | {first})), token, origin, vocabulary=names)


def window_start(ref: ModelRef, tokenizer: Any, policy: str) -> tuple[int, ...]:
    """Ids before each window of a known text: none, tokenizer (what it adds itself), or as `start_tokens`.

    Raises:
        UserError: see `start_tokens`.
    """
    if policy == "none":
        return ()
    if policy == "tokenizer":
        return added_before(tokenizer)
    return start_tokens(ref, tokenizer, policy).given


def _token(ref: ModelRef, tokenizer: Any, policy: str) -> tuple[str, str]:
    """The start token of a policy, and which rule chose it."""
    vocab = tokenizer.get_vocab()
    bos = tokenizer.bos_token if tokenizer.bos_token_id is not None else None
    separator = _SEPARATOR if _SEPARATOR in vocab else None
    options = {"bos": bos, "separator": separator, "auto": bos or separator}
    token = options.get(policy, policy if policy in vocab else None)
    if token is None:
        what = {
            "auto": "has neither a BOS token nor <|endoftext|>",
            "bos": "has no BOS token",
            "separator": "has no <|endoftext|> token",
        }.get(policy, f"has no token {policy!r}")
        special = ", ".join(tokenizer.all_special_tokens[:8]) or "none"
        raise UserError(
            f"the tokenizer of {ref.spec} {what}",
            remedy="name the token that a document starts with: --start TOKEN, in a recipe sample.start "
            f"(special tokens: {special})",
        )
    return token, policy if policy != "auto" else ("bos" if bos else "separator")


# ------------------------------------------------------------------------------ stop ids


def _ends(ref: ModelRef, tokenizer: Any) -> set[int]:
    """The tokenizer's EOS, the model's own, and the document separator of pretraining."""
    ends = {tokenizer.eos_token_id, tokenizer.get_vocab().get(_SEPARATOR)} - {None}
    return ends | set(_model_ends(ref))


def _model_ends(ref: ModelRef) -> list[int]:
    """End ids of a model: of generation_config.json, else of config.json, as `generate` reads them.

    Raises:
        UserError: neither an id nor a list of ids.
    """
    for name in ("generation_config.json", "config.json"):
        config = _json(ref.path / name)
        text = config.get("text_config")
        parts = [config, text] if isinstance(text, dict) else [config]
        found = next((x for c in parts if (x := c.get("eos_token_id")) is not None), None)
        if found is None:
            continue
        ids = found if isinstance(found, list) else [found]
        if not all(type(i) is int and i >= 0 for i in ids):
            raise UserError(
                f"{ref.spec}: eos_token_id of {ref.path / name} is {found!r}, neither a token id nor a list",
                remedy="correct it: it says where documents end",
            )
        return list(ids)
    return []


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file.

    Raises:
        UserError: it cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return dict(found) if isinstance(found, dict) else {}
    except (OSError, ValueError, RecursionError) as e:
        raise UserError(f"{path} cannot be read ({e})", remedy="download or save the model again") from e
