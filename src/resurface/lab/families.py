"""The lab's models: which family, architecture, size, initialisation and data order each has.

a            GPT-NeoX, family A's words; three sizes, and the medium one twice more: another
             data order from the same initialisation, another initialisation on the same data
b            Llama, family B's words
c            Qwen2, family C's words; larger, meant as the stronger outsider
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from resurface.errors import UserError

CONTEXT = 256
VOCABULARY = 1024


@dataclass(frozen=True)
class LabModel:
    """documents: of its corpus, read `epochs` times, each time in another order that `order_seed`
    decides. batch: blocks of CONTEXT tokens per step."""

    name: str
    family: str
    architecture: str
    hidden: int
    layers: int
    documents: int
    init_seed: int = 0
    order_seed: int = 0
    learning_rate: float = 4e-3
    batch: int = 8
    epochs: int = 3


MODELS = (
    LabModel("a-small", "a", "gpt_neox", 64, 4, 100_000),
    LabModel("a-medium", "a", "gpt_neox", 128, 4, 100_000),
    LabModel("a-large", "a", "gpt_neox", 192, 5, 100_000, learning_rate=3e-3, epochs=2),
    LabModel("a-medium-order", "a", "gpt_neox", 128, 4, 100_000, order_seed=1),
    LabModel("a-medium-init", "a", "gpt_neox", 128, 4, 100_000, init_seed=1),
    LabModel("b-medium", "b", "llama", 128, 4, 100_000),
    LabModel("c-large", "c", "qwen2", 192, 5, 120_000, learning_rate=3e-3, epochs=1),
)


def get(name: str) -> LabModel:
    """The lab model of that name (with or without `lab:`); UserError with the names if there is none."""
    known = {m.name: m for m in MODELS}
    bare = name.removeprefix("lab:")
    if bare not in known:
        raise UserError(f"no lab model {bare!r}", remedy="there are: " + ", ".join(f"lab:{n}" for n in known))
    return known[bare]


def shared(one: LabModel, other: LabModel) -> list[str]:
    """What two models have in common, of: self, shape, initialisation, data, order."""
    if one.name == other.name:
        return ["self"]
    shape = (one.architecture, one.hidden, one.layers) == (other.architecture, other.hidden, other.layers)
    data = (one.family, one.documents) == (other.family, other.documents)
    found = {
        "shape": shape,
        "initialisation": shape and one.init_seed == other.init_seed,
        "data": data,
        "order": data and one.order_seed == other.order_seed,
    }
    return [name for name, same in found.items() if same]


def architecture(spec: LabModel, vocabulary: int) -> Any:
    """The transformers configuration of a lab model; token 0 begins and ends documents."""
    from transformers import GPTNeoXConfig, LlamaConfig, Qwen2Config

    common: dict[str, Any] = dict(
        vocab_size=vocabulary,
        hidden_size=spec.hidden,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.hidden // 32,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=0,
    )
    gated = spec.hidden * 8 // 3 // 32 * 32
    if spec.architecture == "gpt_neox":
        return GPTNeoXConfig(**common, intermediate_size=4 * spec.hidden)
    kind = {"llama": LlamaConfig, "qwen2": Qwen2Config}[spec.architecture]
    return kind(
        **common, intermediate_size=gated, num_key_value_heads=spec.hidden // 32, tie_word_embeddings=False
    )
