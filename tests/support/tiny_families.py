"""A tiny random model of every causal family that transformers has, built from its configuration class.

`SMALL` names what makes a configuration small wherever a class has a field of that name; `OVER` says what a
family needs beyond that. Weights are drawn wider than usual (0.2), so that two ways of computing the same
logits cannot agree by being near zero.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 64
FAMILIES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

SMALL: dict[str, Any] = dict(
    vocab_size=VOCABULARY,
    # widths
    hidden_size=32, d_model=32, n_embd=32, dim=32, embed_dim=32, embedding_size=32, emb_dim=32, dim_model=32,
    intermediate_size=64, n_inner=64, d_inner=64, ffn_dim=64, dim_ff=64, decoder_ffn_dim=64,
    encoder_ffn_dim=64, d_ff=64, ffn_hidden_size=64, dff=64,
    # depths
    num_hidden_layers=2, n_layer=2, n_layers=2, num_layers=2, decoder_layers=2, encoder_layers=2,
    # heads
    num_attention_heads=4, n_head=4, n_heads=4, num_heads=4, decoder_attention_heads=4,
    encoder_attention_heads=4, num_key_value_heads=2, head_dim=8, rotary_dim=4,
    # positions
    max_position_embeddings=256, n_positions=256, n_ctx=256, max_seq_len=256, max_target_positions=256,
    sliding_window=24, attention_chunk_size=24,
    # experts
    moe_intermediate_size=16, num_experts=4, num_local_experts=4, n_routed_experts=4, num_experts_per_tok=2,
    n_group=1, topk_group=1, shared_expert_intermediate_size=16, shared_experts_intermediate_size=16,
    first_k_dense_replace=1, moe_shared_expert_intermediate_size=16, prefix_dense_intermediate_size=32,
    # latent attention: values narrower than keys
    q_lora_rank=16, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=16, v_head_dim=12,
    index_n_heads=24, index_head_dim=16, index_topk=256, num_nextn_predict_layers=0,
    # recurrent layers
    state_size=8, time_step_rank=4, mamba_n_heads=4, mamba_d_head=16, mamba_d_state=8, mamba_n_groups=1,
    mamba_chunk_size=8, mamba_dt_rank=4, chunk_size=8, mamba_num_heads=4, mamba_head_dim=16, mamba_d_ssm=64,
    linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=8,
    linear_head_dim=8, linear_num_heads=4,
    # weights and special tokens
    initializer_range=0.2, init_std=0.2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip

_LATENT = dict(num_key_value_heads=4, head_dim=8)  # latent attention has as many key heads as heads
_MIXED = dict(layer_types=["linear_attention", "full_attention"])
_ROPE = {k: {"rope_type": "default", "rope_theta": 1e4} for k in ("full_attention", "sliding_attention")}

OVER: dict[str, dict[str, Any]] = {
    "axk1": _LATENT,
    "axk2": _LATENT,
    "bailing_hybrid": _MIXED | _LATENT | dict(mlp_layer_types=["dense", "sparse"]),
    "bamba": dict(attn_layer_indices=[1]),
    "cohere_compass_text": dict(rope_parameters=_ROPE),
    "deepseek_v2": _LATENT,
    "deepseek_v3": _LATENT,
    "deepseek_v32": _LATENT,
    "dots1": dict(n_shared_experts=1),
    "dots3_note_text": _LATENT
    | dict(
        layer_types=["indexed_attention", "sliding_attention"],
        mlp_layer_types=["dense", "sparse"],
        per_layer_config={},
        head_dim=24,
    ),
    "gemma3n_text": dict(
        num_kv_shared_layers=0,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=64,
        laurel_rank=4,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "gemma4_text": dict(
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=64,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "glm4_moe_lite": _LATENT,
    "glm_moe_dsa": _LATENT,
    "gpt_neo": dict(attention_types=[[["global", "local"], 1]], window_size=24),
    "granitemoehybrid": dict(layer_types=["mamba", "attention"]),
    "jamba": dict(attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1),
    "kimi_linear": _MIXED | _LATENT,
    "lfm2_moe": dict(layer_types=["conv", "full_attention"], num_dense_layers=1),
    "lfm3": dict(layer_types=["conv", "full_attention", "sliding_attention"], num_hidden_layers=3),
    "longcat_flash": _LATENT | dict(zero_expert_num=2, moe_topk=2, expert_ffn_hidden_size=16),
    "mamba2": dict(num_heads=4, head_dim=16, n_groups=1),
    "minicpm3": _LATENT,
    "nemotron_h": dict(
        num_hidden_layers=4,
        n_groups=1,
        layers_block_type=["linear_attention", "moe", "full_attention", "mlp"],
    ),
    "qwen3_5_text": _MIXED,
    "qwen3_5_moe_text": _MIXED,
    "qwen3_next": _MIXED,
    "qwen4_exp_text": dict(
        layer_types=["linear_attention", "full_attention"],
        indexer_n_heads=2,
        indexer_kv_heads=1,
        indexer_head_dim=16,
        indexer_budget=256,
        indexer_compress_ratio=2,
    ),
    "recurrent_gemma": dict(block_types=["recurrent", "attention"], lru_width=32, attention_window_size=24),
    "reformer": dict(
        is_decoder=True,
        attn_layers=["local", "lsh"],
        axial_pos_shape=[16, 16],
        axial_pos_embds_dim=[16, 16],
        hash_seed=0,
        attention_head_size=8,
        local_attn_chunk_length=16,
        lsh_attn_chunk_length=16,
    ),
    "roc_bert": dict(
        pronunciation_vocab_size=64, shape_vocab_size=64, pronunciation_embed_dim=8, shape_embed_dim=8
    ),
    "xlstm": dict(hidden_size=128),
    "xmod": dict(languages=["en_XX"], default_language="en_XX"),
    "youtu": _LATENT,
    "zamba": dict(
        layers_block_type=["linear_attention", "hybrid", "hybrid"], num_hidden_layers=3, attention_head_dim=16
    ),
    "zamba2": dict(layers_block_type=["linear_attention", "hybrid"], n_mamba_heads=4),
    "zaya": dict(num_experts_per_tok=1),
}

# A family whose configuration holds a text model's beside those of images or sound: the text model's family.
TEXT = {
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "gemma4_unified": "gemma4_unified_text",
    "dots3_note": "dots3_note_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen4_exp": "qwen4_exp_text",
    "llama4": "llama4_text",
    "cohere_compass": "cohere_compass_text",
}


def config(family: str, **change: Any) -> Any:
    """The tiny configuration of a family; `change` overrides single fields."""
    kind = type(AutoConfig.for_model(family))
    base = kind()
    if "text_config" in base.sub_configs:
        base = base.get_text_config()
        family = TEXT.get(family, family)
    fields, renamed = base.to_dict(), base.attribute_map
    small = {k: v for k, v in SMALL.items() if k in fields or k in renamed}
    small = {k: v for k, v in small.items() if renamed.get(k) not in small}
    for name in ("layer_types", "mlp_layer_types", "layers_block_type", "per_layer_config"):
        if name in fields and len(fields[name] or []) != 2:
            small[name] = None  # made for the number of layers
    return type(base)(**small | OVER.get(family, {}) | change)


def build(family: str, **change: Any) -> Any:
    """A random model of the family in float32 and eval mode, the same at every call."""
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(config(family, **change), dtype=torch.float32)
    return model.eval()


# Families whose models are made for pictures or sound beside text, or need another model beside them.
NOT_TEXT = {
    "blt": "reads bytes through a second model and cannot be made small",
    "dbrx": "its configuration lacks rope_theta in this version of transformers: nothing can be built",
    "emu3": "a model of pictures; its text part has no class of its own",
    "gemma4_assistant": "drafts for another model, whose memory it reads",
    "gemma4_unified_assistant": "drafts for another model, whose memory it reads",
    "git": "a model of pictures",
    "got_ocr2": "a model of pictures",
    "mllama": "a model of pictures; its text part has no class of its own",
    "moss_transcribe_diarize": "a model of sound",
    "musicgen": "a model of sound",
    "musicgen_melody": "a model of sound",
    "phi4_multimodal": "a model of pictures and sound that cannot be made small",
}
