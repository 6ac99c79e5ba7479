"""Normal forms of a model's config and tokenizer, so that notation passes for no difference (METHODS D,
lineage).

The same recipe is written in several ways: merges as "a b" or ["a", "b"], rope as `rope_theta` or in
`rope_parameters`, what is a default left out or spelled out, text split by ByteLevel or by its regular
expression.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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


Options = Mapping[str, object]
"""Option -> value, as JSON has them."""


def architecture(path: Path) -> tuple[str, Options]:
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
class Step:
    """A normalizer or pre-tokenizer."""

    kind: str
    options: Options


@dataclass(frozen=True)
class TokenizerForm:
    """What decides how text becomes tokens."""

    vocabulary: Options
    """Kind of model, tokens and ids (without special ones), merges, and the model's options."""
    normalizers: Sequence[Step]
    """In order."""
    pre_tokenizers: Sequence[Step]
    added: Sequence[Options]
    """Added tokens that are not special: they are cut out of plain text."""
    special: Mapping[str, int]
    """Special tokens: content -> id; a model may have more of them than its relatives."""

    def same(self, other: TokenizerForm) -> bool:
        """Whether plain text becomes the same tokens, and special tokens of both have one id."""
        shared = self.special.keys() & other.special.keys()
        return (
            self.vocabulary == other.vocabulary
            and self.normalizers == other.normalizers
            and self.pre_tokenizers == other.pre_tokenizers
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
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {token: i for token, i in vocabulary.items() if token not in special}
    return TokenizerForm(
        model,
        _steps(found["normalizer"]),
        _steps(found["pre_tokenizer"]),
        [t for t in added if not t["special"]],
        special,
    )


def _decisive(part: Options) -> dict[str, object]:
    """A part of a tokenizer without what decides no token; an empty affix is none."""
    affixes = ("continuing_subword_prefix", "end_of_word_suffix")
    kept = {k: v for k, v in part.items() if k not in _NO_TOKENS}
    return {k: v for k, v in kept.items() if not (k in affixes and not v)}


def _steps(part: Any) -> list[Step]:
    """A normalizer or pre-tokenizer of a tokenizer.json as a flat list; ByteLevel is its regular expression,
    then bytes alone."""
    if part is None:
        return []
    kind = part["type"]
    if kind == "Sequence":
        return [step for p in part.get("pretokenizers", part.get("normalizers", ())) for step in _steps(p)]
    step = Step(kind, {k: v for k, v in _decisive(part).items() if k != "type"})
    if kind != "ByteLevel" or not step.options.get("use_regex") or step.options["add_prefix_space"]:
        # a space is put before the text before it is split: then the two do not come apart
        return [step]
    split = {"pattern": {"Regex": _GPT2}, "behavior": "Isolated", "invert": False}
    return [Step("Split", split), Step(kind, {**step.options, "use_regex": False})]
