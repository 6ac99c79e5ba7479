"""What may be named as a MODEL, and the start token."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from resurface import models
from resurface.errors import UserError
from resurface.models import ModelConfig, load_tokenizer, resolve
from resurface.models.start_tokens import start_tokens


@pytest.fixture
def copy(tiny_model_dir, tmp_path):
    return shutil.copytree(tiny_model_dir, tmp_path / "model")


def test_a_directory_is_fingerprinted_by_content_not_by_place(tiny_model_dir, copy):
    a, b = resolve(ModelConfig(id=str(tiny_model_dir))), resolve(ModelConfig(id=str(copy)))
    assert (a.kind, a.fingerprint) == ("directory", b.fingerprint)
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert resolve(ModelConfig(id=str(copy))).fingerprint != a.fingerprint


@pytest.mark.parametrize("name", ["no-such-thing", "no/such/dir", "missing.gguf", "asset:nope"])
def test_unknown_models_are_named(name):
    with pytest.raises(UserError) as e:
        resolve(ModelConfig(id=name))
    assert name.removeprefix("asset:") in e.value.message
    assert e.value.remedy


def test_pickled_weights_are_refused(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(UserError, match="safetensors only"):
        resolve(ModelConfig(id=str(copy)))


def test_a_hub_id_without_network_names_an_asset(monkeypatch, tmp_path):
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError) as e:
        resolve(ModelConfig(id="nobody/no-model-of-this-name"))
    assert "smollm2-135m-instruct" in e.value.remedy


def test_not_a_gguf(tmp_path):
    file = tmp_path / "x.gguf"
    file.write_bytes(b"not a model" * 10)
    with pytest.raises(UserError, match="not a readable GGUF"):
        resolve(ModelConfig(id=str(file)))


def gguf_file(path, kind):
    """A GGUF file with one tensor of a quantization."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    _, size = gguf.GGML_QUANT_SIZES[kind]
    writer.add_tensor(
        "token_embd.weight", np.zeros((2, size), dtype=np.uint8), raw_shape=(2, size), raw_dtype=kind
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_an_unsupported_quantization_is_named(tmp_path):
    import gguf

    with pytest.raises(UserError, match="TQ1_0"):
        resolve(ModelConfig(id=str(gguf_file(tmp_path / "x.gguf", gguf.GGMLQuantizationType.TQ1_0))))


def test_start_auto_is_bos(tiny_model_dir):
    ref = resolve(ModelConfig(id=str(tiny_model_dir)))
    start = start_tokens(ref, load_tokenizer(ref))
    assert (start.start_token, start.origin, start.start_ids) == ("<|endoftext|>", "bos", (0,))
    assert 0 in start.stop_ids


def without_bos(copy, separator):
    file = copy / "tokenizer_config.json"
    config = json.loads(file.read_text())
    for key in ("bos_token", "eos_token", "unk_token", "pad_token"):
        config.pop(key, None)
    file.write_text(json.dumps(config))
    if not separator:
        text = (copy / "tokenizer.json").read_text()
        (copy / "tokenizer.json").write_text(text.replace("<|endoftext|>", "<|something|>"))
    ref = resolve(ModelConfig(id=str(copy)))
    return ref, load_tokenizer(ref)


def test_without_bos_the_separator_of_pretraining(copy):
    start = start_tokens(*without_bos(copy, separator=True))
    assert (start.start_token, start.origin) == ("<|endoftext|>", "separator")


def test_with_neither_it_asks_and_takes_an_answer(copy):
    ref, tokenizer = without_bos(copy, separator=False)
    with pytest.raises(UserError, match="neither a BOS") as e:
        start_tokens(ref, tokenizer)
    assert "--start" in e.value.remedy
    named = start_tokens(ref, tokenizer, "<|something|>")
    assert named.start_ids == (0,)
    with pytest.raises(UserError, match="no token 'nope'"):
        start_tokens(ref, tokenizer, "nope")


def test_auto_dtype_is_float32_on_a_cpu():
    assert models.torch_dtype("auto", "cpu") == torch.float32
    with pytest.raises(UserError, match="float8"):
        models.torch_dtype("float8")
    with pytest.raises(UserError, match="nonsense"):
        models.pick_device("nonsense")


def test_positions_by_whatever_name_the_configuration_has(tiny_model_dir, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(
        GPT2Config(vocab_size=600, n_positions=96, n_embd=32, n_layer=1, n_head=2)
    ).save_pretrained(tmp_path)
    ref = models.resolve(ModelConfig(id=str(tmp_path)))
    assert models.context_length(ref) == 96
    with pytest.raises(UserError, match="takes 97 positions"):
        models.require_context(ref, 97, "a document", "shorten it")
