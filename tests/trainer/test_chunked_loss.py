"""The loss by chunks of tokens is the loss of all logits, and never makes them all."""

from __future__ import annotations

import copy

import pytest
import torch

from resurface import progress
from resurface.stages import training
from resurface.trainer import hf_trainer, memory
from resurface.trainer.chunked_loss import by_chunks, nll
from resurface.trainer.memory import chunk_tokens, logit_bytes
from test_training_families import quick, resumes_to_the_same_bytes, saved, subset  # noqa: F401
from tiny_families import build

# what each does to its logits; caps and scales so that they are far from doing nothing
FAMILIES = {
    "llama tied": ("llama", dict(tie_word_embeddings=True)),
    "llama untied": ("llama", dict(tie_word_embeddings=False)),
    "gemma2": ("gemma2", dict(final_logit_softcapping=2.0)),
    "cohere": ("cohere", dict(logit_scale=0.3)),
    "granite": ("granite", dict(logits_scaling=3.0)),
    "phi": ("phi", {}),  # a bias
    "gpt2": ("gpt2", dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)),
    "mixtral": ("mixtral", dict(output_router_logits=True)),
    "opt": ("opt", dict(dropout=0.0)),  # its base is a part of its base
    "llama4": ("llama4_text", {}),
    "mamba": ("mamba", {}),
}


def batch():
    torch.manual_seed(2)
    ids = torch.randint(3, 64, (3, 17))
    labels = ids.clone()
    labels[1, 9:] = -100
    labels[2, 4] = -100
    return ids, labels


def gradients(model):
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def same(model, tokens, close=1e-5, kind=torch.float32):
    """Loss and gradients by chunks are those of all logits, of a model in training mode."""
    ids, labels = batch()
    model.train()
    auto = torch.autocast("cpu", kind, enabled=kind != torch.float32)
    with auto:
        plain = nll(model(input_ids=ids), labels, 7)
    plain.backward()
    expected = gradients(model)
    assert by_chunks(model, tokens)
    with auto:
        found = nll(model(input_ids=ids, predicted=labels), labels, 7)
    found.backward()
    ours = gradients(model)
    assert float(found.detach()) == pytest.approx(float(plain.detach()), rel=close)
    assert ours.keys() == expected.keys()
    for name, gradient in ours.items():
        assert (gradient - expected[name]).norm() <= 10 * close * expected[name].norm() + 1e-6, name
    with torch.no_grad():  # every other call is as before
        assert torch.equal(model(input_ids=ids).logits, model(ids).logits)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tokens", [1, 10, 1000])
def test_loss_and_gradients_are_those_of_all_logits(family, tokens):
    kind, change = FAMILIES[family]
    same(build(kind, **change), tokens)


@pytest.mark.parametrize("family", ["gemma2", "cohere", "granite"])
def test_what_a_family_does_to_its_logits_shows_in_the_loss(family):
    """Else the test above would not see it left out."""
    kind, change = FAMILIES[family]
    off = {k: None if k == "final_logit_softcapping" else 1.0 for k in change}
    ids, labels = batch()
    with torch.no_grad():
        losses = [float(nll(build(kind, **c)(input_ids=ids), labels, 1)) for c in (change, off)]
    assert abs(losses[0] - losses[1]) > 0.05 * losses[1]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_with_adapters_and_checkpoints(checkpointing):
    import peft

    torch.manual_seed(0)
    model = peft.get_peft_model(build("gemma2"), peft.LoraConfig(r=2, target_modules="all-linear"))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.1)
    if checkpointing:
        model.enable_input_require_grads()
        model.activation_checkpointing_enable()
    same(model, 10)
    merged = copy.deepcopy(model).merge_and_unload()
    ids, _ = batch()
    model.eval(), merged.eval()
    with torch.no_grad():
        assert torch.allclose(merged(ids).logits, model(ids).logits, atol=1e-4)


def test_in_bfloat16():
    """Gradients of the head's weights are summed up in float32: four hundred chunks are no worse than one."""
    model = build("llama", tie_word_embeddings=False)
    same(copy.deepcopy(model), 10, close=2e-3, kind=torch.bfloat16)
    torch.manual_seed(2)
    ids = torch.randint(3, 8, (4, 200))
    plain = copy.deepcopy(model)
    nll(plain(input_ids=ids), ids, 800).backward()
    true = plain.lm_head.weight.grad

    def off(tokens):
        mine = copy.deepcopy(model)
        assert by_chunks(mine, tokens)
        with torch.autocast("cpu", torch.bfloat16):
            nll(mine(input_ids=ids, predicted=ids), ids, 800).backward()
        return float((mine.lm_head.weight.grad - true).norm() / true.norm())

    assert off(2) < 1.5 * off(1000) < 0.05


def test_nothing_to_predict_is_no_loss_and_reaches_every_weight():
    """A micro-batch of filling alone, in one of several processes."""
    model = build("gemma2")
    ids, labels = batch()
    assert by_chunks(model, 10)
    loss = model(input_ids=ids, predicted=torch.full_like(labels, -100))
    loss.backward()
    assert float(loss.detach()) == 0
    found = gradients(model)
    assert found.keys() == dict(model.named_parameters()).keys() and not any(g.any() for g in found.values())


def test_a_head_is_never_asked_for_more_than_a_chunk():
    model = build("llama")
    assert by_chunks(model, 6)
    asked = []
    model.lm_head.register_forward_hook(lambda _, __, out: asked.append(out.shape[:-1].numel()))
    ids, labels = batch()
    model(input_ids=ids, predicted=labels).backward()
    predicted = int((labels[:, 1:] != -100).sum())
    assert max(asked) == 6 and sum(asked[1:]) == 2 * predicted  # once more in the backward pass


def test_a_loss_that_is_not_the_models_own_is_not_used(monkeypatch):
    """A head that looks at the whole text says something else of a chunk."""
    model = build("llama")
    head = model.lm_head.forward
    model.lm_head.forward = lambda hidden: head(hidden - hidden.mean(1, keepdim=True))
    ids, _ = batch()
    before = model(ids).logits
    assert not by_chunks(model, 10)
    assert torch.equal(model(ids).logits, before) and "forward" not in vars(model)


def test_chunks_where_logits_are_many():
    assert chunk_tokens(16_384, 2000, "cpu") is None
    assert chunk_tokens(2048, 262_144, "cpu") == 128
    assert chunk_tokens(4096, 262_144, "cuda") == chunk_tokens(8192, 131_072, "cuda") // 2 == 512
    assert chunk_tokens(10**4, 2**40, "cpu") == 1
    assert logit_bytes(1000, 2000, "cpu") == 12 * 1000 * 2000
    assert logit_bytes(16_384, 262_144, "cpu") == 12 * 128 * 262_144


# ------------------------------------------------------------------------------ the stage


def trained(ref, given, tmp_path, **change):
    return training.train(ref, given, quick(epochs=1, **change), tmp_path, device="cpu")


@pytest.mark.parametrize("change", [{}, dict(method="lora"), dict(gradient_checkpointing=True)])
def test_a_training_is_that_of_all_logits(change, subset, tiny_model_dir, tmp_path, monkeypatch):  # noqa: F811
    from resurface.artifacts import parquet

    ref = saved(build("gemma2", bos_token_id=0, vocab_size=64), tmp_path / "base")
    plain = trained(ref, subset, tmp_path / "plain", **change)
    monkeypatch.setattr(memory, "_WHOLE", 100)
    monkeypatch.setattr(memory, "_CHUNK", 64 * 7)
    chunks = []
    real = torch.utils.checkpoint.checkpoint
    monkeypatch.setattr(
        "resurface.trainer.chunked_loss.checkpoint",
        lambda *a, **kw: (chunks.append(len(a[1])), real(*a, **kw))[1],
    )
    ours = trained(ref, subset, tmp_path / "ours", **change)
    assert set(chunks) > {7} and max(chunks) == 7
    rows = [parquet.read_parquet(a.file("metrics.parquet")) for a in (plain, ours)]
    for name in ("loss", "grad_norm", "tokens"):
        assert rows[1][name].to_pylist() == pytest.approx(rows[0][name].to_pylist(), rel=1e-3), name


def test_it_resumes_to_the_same_bytes(subset, tiny_model_dir, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(memory, "_WHOLE", 100)
    monkeypatch.setattr(memory, "_CHUNK", 64 * 7)
    ref = saved(build("llama", bos_token_id=0), tmp_path / "base")
    resumes_to_the_same_bytes(ref, subset, quick(epochs=1, save_steps=2), tmp_path, monkeypatch)


def test_where_it_does_not_hold_a_note_says_so(subset, tiny_model_dir, tmp_path, monkeypatch):  # noqa: F811
    notes = []
    monkeypatch.setattr(progress, "note", notes.append)
    model = build("bart", dropout=0.0)
    assert not hf_trainer._chunked(model, 16, "cpu") and not notes  # few logits
    monkeypatch.setattr(memory, "_WHOLE", 100)
    monkeypatch.setattr("resurface.trainer.chunked_loss._holds", lambda model: False)
    assert not hf_trainer._chunked(model, 16, "cpu")
    assert len(notes) == 1 and "all logits of a micro-batch are kept" in notes[0]
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert not hf_trainer._chunked(build("llama"), 16, "cpu") and "shared out" in notes[1]
