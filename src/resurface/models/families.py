"""What is known of single model families before any weight is loaded.

`canary` asks the loaded model; what stands here is found at once, from config.json alone, or is too fine for
a few tokens at half precision. docs/models.md lists the families; `tests/models/test_families.py` holds both
to the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resurface.errors import UserError

# Encoders: causal where their configuration says so.
_IS_DECODER = (
    "bert bert-generation big_bird camembert data2vec-text electra ernie megatron-bert rembert roberta "
    "roberta-prelayernorm roc_bert roformer xlm-roberta xlm-roberta-xl xmod"
).split()
_READS_AHEAD = dict.fromkeys(_IS_DECODER, "is_decoder") | {"xlm": "causal"}

# Never causal, whatever their configuration says.
NOT_CAUSAL = {
    "cpmant": "its attention reads both ways over a prompt of its own",
    "prophetnet": "its streams predict several tokens ahead",
    "reformer": "its hashed attention depends on the length of the text",
    "xlnet": "it reads both ways unless it is given a permutation",
}

_CLAMP = (
    "its full pass clamps the time step of a state-space layer at time_step_min, its cached step does not, "
    "in this version of transformers"
)
_WINDOW = "its cached step forgets what lies beyond a window, its full pass does not, in this transformers"
NOT_SAMPLED = {"moshi": _WINDOW, "nemotron_h": _CLAMP, "zamba2": _CLAMP}

NOT_TRAINED = {
    "xlstm": "its layers change in place what the backward pass needs, in this version of transformers"
}


def require_causal_config(config: Mapping[str, Any], spec: str) -> None:
    """Raises UserError for a family that is no causal language model by its configuration (config.json)."""
    kind = str(config.get("model_type"))
    switch = _READS_AHEAD.get(kind)
    if switch and not config.get(switch, False):
        raise UserError(
            f"{spec} is of type {kind!r}, an encoder that reads later tokens, not a causal language model",
            remedy=f"take a decoder-only model, or weights trained with {switch}: true in config.json",
        )
    if kind in NOT_CAUSAL:
        raise UserError(
            f"{spec} is of type {kind!r}, which is not a causal language model: {NOT_CAUSAL[kind]}",
            remedy="take a decoder-only model (docs/models.md lists them)",
        )


def sampling_refused(config: Any) -> str | None:
    """Why no text is generated with a model of this configuration although it can be scored; None: it can
    be."""
    return NOT_SAMPLED.get(str(getattr(config, "model_type", "")))


def require_decodable(config: Any, positions: int) -> None:
    """Raises UserError for a text of so many tokens, start and prompt included, that a model of this
    configuration cannot be decoded to: where attention is sparse by an index, decoding token by token agrees
    with a full pass only as long as the index takes every token in.
    """
    limit = getattr(config, "index_topk", None)
    if isinstance(limit, int) and positions > limit:
        raise UserError(
            f"a {config.model_type} model attends to {limit} tokens that an index chooses; of longer texts, "
            f"here up to {positions} tokens, decoding token by token is not what a full pass gives",
            remedy=f"lower max_new_tokens, so that a text has at most {limit} tokens",
        )


def require_trainable(kind: str) -> None:
    """Raises UserError for a family (model_type) whose backward pass fails."""
    if kind in NOT_TRAINED:
        raise UserError(
            f"cannot train a {kind} model: {NOT_TRAINED[kind]}",
            remedy="take a model of another family (docs/models.md)",
        )
