"""Kinds of damage that a model's directory can have: each a name and what it does to a copy."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Damage = Callable[[Path], Any]
_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
_TEXTS = {
    "empty": "", "a word": '"x"', "a number": "7", "null": "null", "a list": "[]", "an object": "{}",
    "NaN": "NaN",
    "deep": "[" * 50_000, "deep object": '{"a":' * 5_000 + "1" + "}" * 5_000, "half a key": '{"model_ty',
}  # fmt: skip
_VALUES = (0, -1, 3, 10**9, 10**30, 1.5, float("inf"), float("nan"), "x", None, [], {}, True)


def edit(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    held = json.loads(file.read_text())
    change(held)
    file.write_text(json.dumps(held))


def _set(name: str, key: str, value: Any) -> Damage:
    return lambda d: edit(d / name, lambda held: held.update({key: value}))


def _drop(name: str, *keys: str) -> Damage:
    def change(held: dict[str, Any]) -> None:
        for key in keys[:-1]:
            held = held[key]
        held.pop(keys[-1], None)

    return lambda d: edit(d / name, change)


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    def apply(d: Path) -> None:
        held = load_file(d / "model.safetensors")
        change(held)
        save_file(held, d / "model.safetensors", metadata={"format": "pt"})

    return apply


def _link(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.with_name("gone"))


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _cut(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])


def _header(length: int, text: bytes) -> Damage:
    return lambda d: (d / "model.safetensors").write_bytes(struct.pack("<Q", length) + text)


def _swap(held: dict[str, torch.Tensor]) -> None:
    a, b = "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight"
    held[a], held[b] = held[b], held[a]


def kinds(model: Path) -> Iterator[tuple[str, Damage]]:
    """Every kind of damage to a copy of `model`, a Llama with a byte-level tokenizer."""
    config = json.loads((model / "config.json").read_text())
    for name in _FILES:
        for text, content in _TEXTS.items():
            yield f"{name} is {text}", lambda d, n=name, c=content: (d / n).write_text(c)
        yield f"{name} is binary", lambda d, n=name: (d / n).write_bytes(bytes(range(256)))
        yield f"{name} is UTF-16", lambda d, n=name: (d / n).write_bytes((d / n).read_text().encode("utf-16"))
        yield f"{name} is cut", lambda d, n=name: _cut(d / n, 0.5)
        yield f"{name} is gone", lambda d, n=name: (d / n).unlink()
        yield f"{name} is a link to nothing", lambda d, n=name: _link(d / n)
        yield f"{name} is a folder", lambda d, n=name: _folder(d / n)
    for key, held in config.items():
        if isinstance(held, int | float) and not isinstance(held, bool):
            for value in _VALUES:
                yield f"config {key} = {value!r}", _set("config.json", key, value)
        yield f"config without {key}", _drop("config.json", key)
    for key, value in {
        "hidden_act": "nope", "dtype": "nope", "model_type": "nope", "architectures": 7, "rope_parameters": 7,
        "tie_word_embeddings": "x", "quantization_config": {"quant_method": "nope"}, "head_dim": 10**9,
        "attention_bias": True, "mlp_bias": True, "transformers_weights": "../x.safetensors", "auto_map": 7,
        "layer_types": ["nope"], "torch_dtype": 3, "attn_implementation": "nope", "text_config": [1],
        "bos_token_id": [1, 2], "id2label": 3,
    }.items():  # fmt: skip
        yield f"config {key} = {value!r}", _set("config.json", key, value)
    yield (
        "config rope_type nope",
        _set("config.json", "rope_parameters", {"rope_type": "nope", "rope_theta": "x"}),
    )
    for value in (10**9, 10**30, -1, "x", [], [0, "x"], 1.5, {}, True, 700):
        yield f"generation eos_token_id = {value!r}", _set("generation_config.json", "eos_token_id", value)
    for key, value in {
        "temperature": "x",
        "max_length": "x",
        "num_beams": -3,
        "cache_implementation": 7,
    }.items():
        yield f"generation {key} = {value!r}", _set("generation_config.json", key, value)
    for key in ("model", "added_tokens", "pre_tokenizer", "decoder", "version", "normalizer"):
        yield f"tokenizer without {key}", _drop("tokenizer.json", key)
        for value in ({}, 7, {"type": "nope"}):
            yield f"tokenizer {key} = {value}", _set("tokenizer.json", key, value)
    for key in ("vocab", "merges", "type"):
        yield f"tokenizer model without {key}", _drop("tokenizer.json", "model", key)
    yield (
        "merges of no tokens",
        lambda d: edit(d / "tokenizer.json", lambda t: t["model"].update(merges=[["qq", "zz"]])),
    )
    yield (
        "ids beyond the embedding",
        lambda d: edit(
            d / "tokenizer.json",
            lambda t: t["model"].update(
                vocab={k: v + 600 * (v > 20) for k, v in t["model"]["vocab"].items()}
            ),
        ),
    )
    yield (
        "negative ids",
        lambda d: edit(
            d / "tokenizer.json",
            lambda t: t["model"].update(vocab={k: -v for k, v in t["model"]["vocab"].items()}),
        ),
    )
    for key, value in {
        "tokenizer_class": "Nope", "model_max_length": "x", "bos_token": 7, "eos_token": {"content": 3},
        "added_tokens_decoder": {"x": 1}, "auto_map": {"AutoTokenizer": ["a.B", "a.B"]},
        "extra_special_tokens": 7,
    }.items():  # fmt: skip
        yield f"tokenizer_config {key} = {value!r}", _set("tokenizer_config.json", key, value)
    for share in (0.0, 0.001, 0.1, 0.999):
        yield f"weights cut at {share}", lambda d, s=share: _cut(d / "model.safetensors", s)
    yield "weights are a link to nothing", lambda d: _link(d / "model.safetensors")
    yield "weights are a folder", lambda d: _folder(d / "model.safetensors")
    yield "weights are gone", lambda d: (d / "model.safetensors").unlink()
    yield "a header without an end", _header(2**62, b"{}")
    yield "a header that is no JSON", _header(4, b"nope")
    yield "a header of nothing", _header(2, b"{}")
    for name in load_file(model / "model.safetensors"):
        yield f"weights without {name}", weights(lambda w, n=name: w.pop(n))
    yield "weights swapped", weights(_swap)
    yield "a head of fewer rows", weights(lambda w: w.update({"lm_head.weight": w["lm_head.weight"][:500]}))
    yield "a prefix", weights(lambda w: [w.update({f"foo.{n}": w.pop(n)}) for n in list(w)])
    yield (
        "a third layer",
        weights(
            lambda w: w.update({n.replace("rs.1.", "rs.2."): t.clone() for n, t in w.items() if "rs.1." in n})
        ),
    )
    yield "a bias", weights(lambda w: w.update({"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}))
    yield "weights of NaN", weights(lambda w: w["lm_head.weight"].fill_(float("nan")))
    yield "integers", weights(lambda w: w.update({"model.norm.weight": torch.ones(32, dtype=torch.int64)}))
    yield (
        "an index of shards that are gone",
        lambda d: (
            (d / "model.safetensors").unlink(),
            (d / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'
            ),
        ),
    )
    for text in (
        "",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": {"a": 7}}',
        '{"weight_map": {"a": "../x"}}',
    ):
        yield (
            f"an index that is {text!r}",
            lambda d, c=text: (
                (d / "model.safetensors").rename(d / "model-1.safetensors"),
                (d / "model.safetensors.index.json").write_text(c),
            ),
        )
    yield "an adapter", lambda d: (d / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    yield "an adapter that is broken", lambda d: (d / "adapter_config.json").write_text("{")


HARMLESS = {
    "rotary frequencies": weights(
        lambda w: w.update({f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(4) for i in (0, 1)})
    ),
    "a mask": weights(lambda w: w.update({"model.layers.0.self_attn.masked_bias": torch.tensor(-1e4)})),
    "a value head": weights(lambda w: w.update({"v_head.weight": torch.ones(1, 32)})),
    "an index beside whole weights": lambda d: (d / "model.safetensors.index.json").write_text("{"),
}
