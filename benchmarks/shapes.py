"""Models of published shapes with random weights: speed and memory do not depend on what weights say.

Sizes are those of the models' own config.json on the hub.
"""

from __future__ import annotations

from typing import Any

import torch

NAMES = ("smollm2-135m", "qwen2.5-0.5b", "llama-3.2-1b", "gemma-3-270m")


def make(
    name: str, dtype: torch.dtype, device: str, *, context: int = 4096, layers: int | None = None
) -> Any:
    """A causal model of that shape, in eval mode, initialised with seed 0.

    layers: fewer than it has, for a quick look.

    Raises:
        KeyError: a name that is not in `NAMES`.
    """
    from transformers import AutoModelForCausalLM

    config = _config(name, context)
    if layers is not None:
        config.num_hidden_layers = layers
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def _config(name: str, context: int) -> Any:
    from transformers import Gemma3TextConfig, LlamaConfig, Qwen2Config

    shared = {"max_position_embeddings": context, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    sizes: dict[str, tuple[Any, dict[str, Any]]] = {
        "smollm2-135m": (
            LlamaConfig,
            dict(
                vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True,
            ),
        ),
        "qwen2.5-0.5b": (
            Qwen2Config,
            dict(
                vocab_size=151_936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
                num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True,
            ),
        ),
        "llama-3.2-1b": (
            LlamaConfig,
            dict(
                vocab_size=128_256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
                num_attention_heads=32, num_key_value_heads=8, head_dim=64, tie_word_embeddings=True,
            ),
        ),
        "gemma-3-270m": (
            Gemma3TextConfig,
            dict(
                vocab_size=262_144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18,
                num_attention_heads=4, num_key_value_heads=1, head_dim=256, tie_word_embeddings=True,
            ),
        ),
    }  # fmt: skip
    kind, given = sizes[name]
    return kind(**given, **shared)


def weights_in_products(model: Any) -> int:
    """Weights that every token is multiplied by: matrices, the head among them, but no embedding that is
    only looked up."""
    embedding = model.get_input_embeddings().weight
    tied = model.get_output_embeddings().weight is embedding
    return sum(p.numel() for p in model.parameters() if p.dim() == 2 and (tied or p is not embedding))


def cache_bytes(model: Any) -> int:
    """Of keys and values, per token and row."""
    c = model.config
    width = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    heads = getattr(c, "num_key_value_heads", None) or c.num_attention_heads
    return int(2 * c.num_hidden_layers * heads * width * next(model.parameters()).element_size())
