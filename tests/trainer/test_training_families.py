"""Any family: an interrupted training is the undisturbed one, and the loss that it tells is the loss."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from resurface import artifacts, models
from resurface.artifacts import parquet
from resurface.errors import Diverged, UserError
from resurface.models import ModelConfig
from resurface.stages import training
from resurface.trainer.config import TrainConfig
from resurface.trainer.packing import pack

TINY = dict(vocab_size=64, bos_token_id=0, eos_token_id=0, pad_token_id=0, initializer_range=0.2)
LLAMA = TINY | dict(
    hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
    max_position_embeddings=64,
)  # fmt: skip
GPT2 = TINY | dict(n_embd=16, n_layer=2, n_head=2, n_positions=64)
EXPERTS = dict(num_experts=4, num_local_experts=4, num_experts_per_tok=2, moe_intermediate_size=8)
NO_DROPOUT = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)

FAMILIES = {
    "gpt_neox": {k: v for k, v in LLAMA.items() if k != "num_key_value_heads"},
    "gpt2": GPT2 | NO_DROPOUT,
    "openai-gpt": GPT2 | NO_DROPOUT,
    "llama": LLAMA | dict(tie_word_embeddings=True),
    "qwen2": LLAMA,
    "mixtral": LLAMA | EXPERTS | dict(output_router_logits=True),  # its own loss has the router's in it
    "qwen2_moe": LLAMA | EXPERTS | dict(shared_expert_intermediate_size=8, decoder_sparse_step=1),
    "mamba": TINY | dict(hidden_size=16, num_hidden_layers=2, state_size=4),
    "falcon": TINY | dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2),
    "opt": TINY | dict(hidden_size=16, ffn_dim=24, num_hidden_layers=2, num_attention_heads=2,
                       word_embed_proj_dim=16, max_position_embeddings=64, dropout=0.0),
    "bloom": TINY | dict(hidden_size=16, n_layer=2, n_head=2),
    "bart": TINY | dict(d_model=16, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=24,
                        max_position_embeddings=64, dropout=0.0),  # does not shift labels in its own loss
}  # fmt: skip


def some(*fast):
    """Every family of FAMILIES, those that are not `fast` as slow tests."""
    return [pytest.param(f, marks=() if f in fast else pytest.mark.slow) for f in FAMILIES]


def quick(**change):
    base = dict(learning_rate=5e-3, batch_size=4, micro_batch_size=2, cutoff=16, precision="float32")
    return TrainConfig(**{**base, **change})


@pytest.fixture(scope="module")
def subset(tmp_path_factory):
    rng = np.random.default_rng(0)
    ids = [[0, *(rng.integers(1, 600, 15) % 7 + 50).tolist()] for _ in range(18)] + [[0, 51, 52, 50, 53]]
    table = pa.table({"sample_id": range(19), "input_ids": pa.array(ids, pa.list_(pa.int32()))})
    out = tmp_path_factory.mktemp("subset")
    with artifacts.build(out, "subset", "s", version=1, config={}, inputs={}) as b:
        parquet.write_parquet(table, b.path / "subset-0.parquet")
        return b.finish({})


def saved(model, path):
    """A model directory with a tokenizer of as many words as the model has rows."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    model.save_pretrained(path)
    words = Tokenizer(WordLevel({f"w{i}": i for i in range(model.config.vocab_size)}, unk_token="w1"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="w0", eos_token="w0", unk_token="w1"
    ).save_pretrained(path)
    return models.resolve(ModelConfig(id=str(path)))


def tiny(family):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **FAMILIES[family]))


def stop_at(monkeypatch, step):
    """Interrupt the next training when it has taken `step` steps."""
    from resurface.trainer.packed import PackedTrainer

    real = PackedTrainer.get_batch_samples

    def stop(self, *args):
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return real(self, *args)

    monkeypatch.setattr(PackedTrainer, "get_batch_samples", stop)


def resumes_to_the_same_bytes(ref, subset, cfg, tmp_path, monkeypatch, step=3):
    whole = training.train(ref, subset, cfg, tmp_path / "whole", device="cpu")
    with monkeypatch.context() as m:
        stop_at(m, step)
        with pytest.raises(KeyboardInterrupt):
            training.train(ref, subset, cfg, tmp_path / "cut", device="cpu")
    assert list((tmp_path / "cut").glob("train/*.part/trainer/checkpoint-*/complete"))
    resumed = training.train(ref, subset, cfg, tmp_path / "cut", device="cpu")
    assert resumed.manifest["files"] == whole.manifest["files"]
    return whole


def true_loss(path, blocks):
    """Mean negative log-likelihood per predicted token, block by block, in float64."""
    model = models.load_model(models.resolve(ModelConfig(id=str(path))), "float32", "cpu")
    total, n = 0.0, 0
    with torch.no_grad():
        for block in blocks:
            ids = torch.from_numpy(block.astype(np.int64))
            scores = model(ids[None], use_cache=False).logits[0].double().numpy()
            logs = scores - np.log(np.exp(scores - scores.max(-1, keepdims=True)).sum(-1, keepdims=True))
            logs -= scores.max(-1, keepdims=True)
            total -= sum(float(logs[i, token]) for i, token in enumerate(block[1:]))
            n += len(block) - 1
    return total / n


def tells_the_loss(ref, subset, tmp_path):
    """One step per epoch over all blocks: the loss of the base, then that of the stored first epoch."""
    # 19 blocks of which the last is shorter, in passes of 3: of the last, one block is left
    cfg = quick(batch_size=21, micro_batch_size=3, epochs=2, warmup=0)
    a = training.train(ref, subset, cfg, tmp_path, device="cpu")
    rows = parquet.read_parquet(subset.file("subset-0.parquet"))["input_ids"].to_pylist()
    blocks = pack([np.asarray(r, np.int32) for r in rows], 16)
    assert len(blocks) == 19 and len(blocks[-1]) == 5
    logged = parquet.read_parquet(a.file("metrics.parquet")).to_pylist()
    assert [s["tokens"] for s in logged] == [18 * 15 + 4] * 2
    for step, path in zip(logged, (ref.path, training.checkpoints(a)[1]), strict=True):
        assert step["loss"] == pytest.approx(true_loss(path, blocks), rel=2e-5)
    assert logged[1]["loss"] != logged[0]["loss"]


@pytest.mark.parametrize("family", some("gpt2", "openai-gpt", "mixtral", "bart"))
def test_the_loss_that_is_logged_is_the_mean_over_predicted_tokens(family, subset, tiny_model_dir, tmp_path):
    ref = saved(tiny(family), tmp_path / "base")
    tells_the_loss(ref, subset, tmp_path)


@pytest.mark.parametrize("family", some("gpt_neox", "gpt2", "qwen2_moe", "mamba"))
def test_an_interrupted_training_is_the_undisturbed_one(
    family, subset, tiny_model_dir, tmp_path, monkeypatch
):
    ref = saved(tiny(family), tmp_path / "base")
    resumes_to_the_same_bytes(ref, subset, quick(epochs=1, save_steps=2), tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "change",
    [
        dict(method="lora", lora_rank=4),
        pytest.param(dict(gradient_checkpointing=True), marks=pytest.mark.slow),
        pytest.param(dict(epochs=2), marks=pytest.mark.slow),
    ],
)
def test_it_is_with_adapters_and_later_epochs_too(change, subset, tiny_model_dir, tmp_path, monkeypatch):
    ref = saved(tiny("gpt_neox"), tmp_path / "base")
    cfg = quick(**{"epochs": 1, "save_steps": 2} | change)
    resumes_to_the_same_bytes(ref, subset, cfg, tmp_path, monkeypatch, step=3 if cfg.epochs == 1 else 7)


def test_it_is_with_dropout_too(subset, tiny_model_dir, tmp_path, monkeypatch):
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **GPT2))
    ref = saved(model, tmp_path / "base")
    resumes_to_the_same_bytes(ref, subset, quick(epochs=2, save_steps=5), tmp_path, monkeypatch, step=6)


@pytest.mark.slow
@pytest.mark.parametrize("family", MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
def test_every_family_that_builds(family, subset, tiny_model_dir, tmp_path, monkeypatch):
    tiny_families = pytest.importorskip("tiny_families")
    if family in tiny_families.NOT_TEXT:
        pytest.skip(tiny_families.NOT_TEXT[family])
    try:
        dropouts = {k: 0.0 for k in tiny_families.config(family).to_dict() if "drop" in k or "jitter" in k}
        model = tiny_families.build(family, **dropouts)
        ref = saved(model, tmp_path / "base")
    except Exception as e:
        pytest.skip(f"cannot be built tiny, or is refused as a model: {e!r}")
    if family == "cpmant":
        pytest.xfail("it takes id 0 for padding on the left, so a shorter block is another text in a batch")
    try:
        tells_the_loss(ref, subset, tmp_path)
        resumes_to_the_same_bytes(ref, subset, quick(epochs=1, save_steps=2), tmp_path, monkeypatch)
    except (Diverged, UserError) as e:
        pytest.skip(f"is refused, or has no finite gradients when it is so tiny: {e.message}")
