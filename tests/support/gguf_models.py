"""Tiny GGUF files: a random Llama and a byte-level tokenizer, as llama.cpp's converter writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import torch
from transformers import LlamaForCausalLM


def _interleaved(weights: torch.Tensor, heads: int) -> torch.Tensor:
    """GGUF's order of rotary pairs: neighbours, where transformers has halves."""
    rows, columns = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def tensors(model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    """The model's weights by GGUF's names."""
    c = model.config
    found = {
        "token_embd.weight": model.model.embed_tokens.weight,
        "output_norm.weight": model.model.norm.weight,
        "output.weight": model.lm_head.weight,
    }
    for i, layer in enumerate(model.model.layers):
        a, m = layer.self_attn, layer.mlp
        found |= {
            f"blk.{i}.attn_norm.weight": layer.input_layernorm.weight,
            f"blk.{i}.attn_q.weight": _interleaved(a.q_proj.weight, c.num_attention_heads),
            f"blk.{i}.attn_k.weight": _interleaved(a.k_proj.weight, c.num_key_value_heads),
            f"blk.{i}.attn_v.weight": a.v_proj.weight,
            f"blk.{i}.attn_output.weight": a.o_proj.weight,
            f"blk.{i}.ffn_norm.weight": layer.post_attention_layernorm.weight,
            f"blk.{i}.ffn_gate.weight": m.gate_proj.weight,
            f"blk.{i}.ffn_up.weight": m.up_proj.weight,
            f"blk.{i}.ffn_down.weight": m.down_proj.weight,
        }
    return {name: t.detach().float() for name, t in found.items()}


def write(
    file: Path,
    source: Path,
    *,
    pre: str | None = "gpt-2",
    change: Callable[[dict[str, torch.Tensor]], Any] = lambda held: None,
    facts: Callable[[gguf.GGUFWriter], Any] = lambda writer: None,
) -> Path:
    """A GGUF file of the Llama in a directory; change: of its tensors; facts: further keys."""
    model = LlamaForCausalLM.from_pretrained(source)
    c, raw = model.config, json.loads((source / "tokenizer.json").read_text())
    w = gguf.GGUFWriter(file, "llama")
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_rope_freq_base(c.rope_parameters["rope_theta"])
    w.add_rope_dimension_count(c.hidden_size // c.num_attention_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_vocab_size(c.vocab_size)
    vocab = sorted(raw["model"]["vocab"], key=raw["model"]["vocab"].__getitem__)
    w.add_tokenizer_model("gpt2")
    if pre is not None:
        w.add_tokenizer_pre(pre)
    w.add_token_list(vocab)
    w.add_token_types([3 if t == "<|endoftext|>" else 1 for t in vocab])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in raw["model"]["merges"]])
    w.add_bos_token_id(0)
    w.add_eos_token_id(0)
    facts(w)
    held = tensors(model)
    change(held)
    for name, t in held.items():
        w.add_tensor(name, t.numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return file
