"""Normal forms of a model's config and tokenizer, so that notation passes for no difference (METHODS D,
lineage).

The same recipe is written in several ways: merges as "a b" or ["a", "b"], rope as `rope_theta` or in
`rope_parameters`, what is a default left out or spelled out, text split by ByteLevel or by its regular
expression.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resurface.errors import UserError

_OPTIONS = (
    "hidden_act", "activation_function", "rope_parameters", "rope_theta", "rotary_pct", "attention_bias",
    "mlp_bias", "use_parallel_residual", "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon",
)  # fmt: skip
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What ByteLevel splits by where `use_regex` is set."""
_NO_TOKENS = ("trim_offsets", "dropout")
"""Of parts of a tokenizer: what decides no token at inference."""


def architecture(path: Path) -> tuple[str, dict[str, Any]]:
    """model_type, and the options of the architecture as transformers' own config class reads them, with its
    defaults; as they are written where transformers does not know the type.

    Raises:
        UserError: config.json cannot be read.
    """
    file = path / "config.json"
    try:
        written = json.loads(file.read_text())
        kind = str(written["model_type"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as e:
        raise UserError(f"{file} cannot be read ({e!r})", remedy="give a model with its config.json") from e
    from transformers import CONFIG_MAPPING

    if kind in CONFIG_MAPPING:
        try:
            read = CONFIG_MAPPING[kind].from_dict(dict(written))
        except Exception as e:  # a config class may raise anything about its values
            raise UserError(f"{file}: {e}", remedy="mend the model's config.json") from e
        written = {key: getattr(read, key, None) for key in _OPTIONS}
    return kind, {key: _plain(written.get(key)) for key in _OPTIONS}


def _plain(value: Any) -> Any:
    """A value without what says nothing: null entries, and `type` beside `rope_type`, its older name."""
    if isinstance(value, dict):
        kept = {k: _plain(v) for k, v in value.items() if v is not None}
        if "rope_type" in kept:
            kept.pop("type", None)
        return kept
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@dataclass(frozen=True)
class TokenizerForm:
    """What decides how text becomes tokens."""

    vocabulary: dict[str, Any]
    """Kind of model, tokens and ids (without special ones), merges, and the model's options."""
    steps: list[Any]
    """Normalizers and pre-tokenizers, in order."""
    added: list[Any]
    """Added tokens that are not special: they are cut out of plain text."""
    special: dict[str, int]
    """Special tokens: content -> id; a model may have more of them than its relatives."""

    def same(self, other: TokenizerForm) -> bool:
        """Whether plain text becomes the same tokens, and special tokens of both have one id."""
        shared = self.special.keys() & other.special.keys()
        return (
            self.vocabulary == other.vocabulary
            and self.steps == other.steps
            and self.added == other.added
            and all(self.special[t] == other.special[t] for t in shared)
        )


def tokenizer(path: Path) -> TokenizerForm | None:
    """None without a tokenizer.json.

    Raises:
        UserError: it cannot be read.
    """
    file = path / "tokenizer.json"
    if not file.is_file():
        return None
    from tokenizers import Tokenizer

    try:
        found = json.loads(Tokenizer.from_file(str(file)).to_str())  # reads every notation, writes one
    except Exception as e:  # the library raises Exception itself
        raise UserError(f"{file} cannot be read ({e})", remedy="give a model with a whole tokenizer") from e
    added = found["added_tokens"]
    special = {t["content"]: int(t["id"]) for t in added if t["special"]}
    model = _decisive(found["model"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {token: i for token, i in model["vocab"].items() if token not in special}
    steps = [*_steps(found["normalizer"]), "|", *_steps(found["pre_tokenizer"])]
    return TokenizerForm(model, steps, [t for t in added if not t["special"]], special)


def _decisive(part: dict[str, Any]) -> dict[str, Any]:
    """A part of a tokenizer without what decides no token; an empty affix is none."""
    affixes = ("continuing_subword_prefix", "end_of_word_suffix")
    kept = {k: v for k, v in part.items() if k not in _NO_TOKENS}
    return {k: v for k, v in kept.items() if not (k in affixes and not v)}


def _steps(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer as a flat list; ByteLevel is its regular expression, then bytes alone."""
    if part is None:
        return []
    if part["type"] == "Sequence":
        return [step for p in part.get("pretokenizers", part.get("normalizers", ())) for step in _steps(p)]
    step = _decisive(part)
    if step["type"] != "ByteLevel" or "use_regex" not in step:
        return [step]
    split = {"type": "Split", "pattern": {"Regex": _GPT2}, "behavior": "Isolated", "invert": False}
    # a space is put before the text before it is split: then the two do not come apart
    if step["use_regex"] and not step["add_prefix_space"]:
        return [split, step | {"use_regex": False}]
    return [step]
