"""Controls are as large as the treatment, and nothing else of it is in them."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from resurface import artifacts, controls, models
from resurface.artifacts import parquet
from resurface.controls import ShuffleConfig, WeightsConfig, match_loss, permuted
from resurface.errors import UserError
from resurface.models import ModelConfig
from resurface.stages import training
from resurface.trainer.config import TrainConfig
from resurface.workflows import replaying

FROZEN = "model.layers.0.mlp.up_proj.weight"


def ref(path):
    return models.resolve(ModelConfig(id=str(path)))


def weights_of(model):
    return {n: p.detach().double().numpy().copy() for n, p in model.named_parameters()}


def perturbed(source, path, dtype="float32", **save):
    """`source` with every tensor but one moved by a length of its own, as training would."""
    model = models.load_model(ref(source), "float32", "cpu")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for i, (name, p) in enumerate(model.named_parameters()):
            if name != FROZEN:
                p += 0.002 * (i + 1) * torch.randn(p.shape, generator=generator)
    model.to(getattr(torch, dtype)).save_pretrained(path, **save)
    models.load_tokenizer(ref(source)).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def treated_dir(tiny_model_dir, tmp_path_factory):
    return perturbed(tiny_model_dir, tmp_path_factory.mktemp("treated") / "treated")


@pytest.fixture(scope="module")
def pair(tiny_model_dir, treated_dir):
    return ref(tiny_model_dir), ref(treated_dir)


@pytest.fixture(scope="module")
def arrays(pair):
    return tuple(controls.parameters(models.load_model(r, "float32", "cpu")) for r in pair)


def made(artifact):
    return weights_of(models.load_model(ref(artifact.path), "float32", "cpu"))


def norm(x):
    return float(np.sqrt(np.sum(np.square(x, dtype=np.float64))))


def total(tensors):
    return norm(np.concatenate([np.ravel(x) for x in tensors]))


# ------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_noise_has_the_length_of_each_tensors_change(pair, arrays, tmp_path, scale):
    before, after = arrays
    a = controls.control_model(*pair, WeightsConfig(kind="noise", scale=scale), tmp_path)
    after_noise = made(a)
    for name, x in before.items():
        change = after[name].astype(float) - x
        noise = after_noise[name] - x
        assert norm(noise) == pytest.approx(scale * norm(change), rel=1e-4)
        if name != FROZEN and change.size > 100:  # and not its direction
            assert abs(np.vdot(noise, change)) < 6 * norm(noise) * norm(change) / math.sqrt(change.size)
    assert np.array_equal(after_noise[FROZEN], before[FROZEN])
    treated = total(after[n].astype(float) - x for n, x in before.items())
    assert a.counts["l2_treated"] == pytest.approx(treated, rel=1e-6)
    assert a.counts["l2_distance"] == pytest.approx(scale * treated, rel=1e-5)
    assert a.counts["l2_relative"] == pytest.approx(scale * treated / total(before.values()), rel=1e-5)
    assert a.counts["parameters"] == sum(x.size for x in before.values())


def test_noise_is_gaussian_and_differs_between_tensors_and_seeds(arrays):
    up, gate = (f"model.layers.1.mlp.{n}_proj.weight" for n in ("up", "gate"))

    def drawn(name, seed):
        cfg = WeightsConfig(kind="noise", seed=seed)
        return (dict(controls.controlled(*arrays, cfg))[name] - arrays[0][name]).ravel()

    for a, b in (((up, 0), (gate, 0)), ((up, 0), (up, 1))):
        # 2,048 numbers: a standard error of 0.022
        assert abs(np.corrcoef(drawn(*a), drawn(*b))[0, 1]) < 0.1
    z = drawn(up, 0) / drawn(up, 0).std()
    assert abs(np.mean(z**4) - 3) < 0.6 and abs(np.mean(z)) < 0.1


@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
def test_noise_does_not_depend_on_order(order, seed):
    rng = np.random.default_rng(0)
    before = {f"w{i}": rng.normal(size=(i + 2, 3)).astype(np.float32) for i in range(5)}
    after = {n: x + np.float32(0.1) for n, x in before.items()}
    cfg = WeightsConfig(kind="noise", seed=seed)
    usual = dict(controls.controlled(before, after, cfg))
    turned = dict(controls.controlled({f"w{i}": before[f"w{i}"] for i in order}, after, cfg))
    alone = dict(controls.controlled({"w3": before["w3"]}, {"w3": after["w3"]}, cfg))
    assert list(turned) == [f"w{i}" for i in order]
    assert all(np.array_equal(usual[n], turned[n]) for n in usual)
    assert np.array_equal(alone["w3"], usual["w3"])


@pytest.mark.parametrize(("scale", "end"), [(0.0, 0), (1.0, 1)])
def test_the_line_ends_in_both_models_exactly(pair, arrays, tmp_path, scale, end):
    a = controls.control_model(*pair, WeightsConfig(kind="line", scale=scale), tmp_path)
    saved, original = (load_file(p / "model.safetensors") for p in (a.path / "model", pair[end].path))
    assert saved.keys() == original.keys()
    assert all(torch.equal(saved[n], original[n]) for n in saved)
    assert a.counts["l2_distance"] == pytest.approx(end * a.counts["l2_treated"], abs=0)


@given(
    st.floats(-1, 2),
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=2, unique=True),
)
def test_a_line_is_straight(alpha, ends):
    before, after = ({"w": np.array([x], np.float32)} for x in ends)
    ((_, found),) = controls.controlled(before, after, WeightsConfig(kind="line", scale=alpha))
    x, y = (float(m["w"][0]) for m in (before, after))
    assert found[0] == pytest.approx(x + alpha * (y - x), rel=1e-9, abs=1e-9 * max(abs(x), abs(y)))
    for scale, exact in ((0.0, x), (1.0, y)):
        ((_, found),) = controls.controlled(before, after, WeightsConfig(kind="line", scale=scale))
        assert found[0] == exact


def test_shrinkage_is_one_share_of_all_that_changed(pair, arrays, tmp_path):
    before, after = arrays
    a = controls.control_model(*pair, WeightsConfig(kind="shrink", scale=0.5), tmp_path)
    found = made(a)
    left = {n: norm(found[n]) / norm(x) for n, x in before.items() if norm(x)}
    assert left.pop(FROZEN) == 1
    assert np.ptp(list(left.values())) < 1e-6 and max(left.values()) < 1
    distance = total(found[n] - x for n, x in before.items())
    treated = total(after[n].astype(float) - x for n, x in before.items())
    assert distance == pytest.approx(0.5 * treated, rel=1e-4)
    with pytest.raises(UserError, match="to zero or beyond"):
        controls.control_model(*pair, WeightsConfig(kind="shrink", scale=1000), tmp_path)


def test_a_control_is_a_model_and_is_reused(pair, tmp_path):
    cfg = WeightsConfig(kind="noise", seed=3)
    a = controls.control_model(*pair, cfg, tmp_path / "a")
    written = (a.path / "model" / "model.safetensors").stat().st_mtime_ns
    again = controls.control_model(*pair, cfg, tmp_path / "a")
    assert again.path == a.path
    assert (a.path / "model" / "model.safetensors").stat().st_mtime_ns == written
    other = controls.control_model(*pair, WeightsConfig(kind="noise", seed=4), tmp_path / "a")
    assert other.fingerprint != a.fingerprint
    found = ref(a.path)
    assert found.kind == "checkpoint" and found.path == (a.path / "model").resolve()
    assert ref(a.path / "model").fingerprint == found.fingerprint
    model, tokenizer = models.load_model(found, "float32", "cpu"), models.load_tokenizer(found)
    logits = model(torch.tensor([[0, *tokenizer("def ")["input_ids"]]])).logits
    assert logits.shape[-1] == 600 and torch.isfinite(logits).all()
    assert not [p for p in a.path.rglob("*") if p.suffix in (".pt", ".pth", ".bin", ".pkl")]
    assert replaying.replay(a.path, tmp_path / "b").identical


def test_weights_keep_the_precision_that_the_base_states(tiny_model_dir, tmp_path):
    half = perturbed(tiny_model_dir, tmp_path / "half", "bfloat16")
    treated = perturbed(half, tmp_path / "treated", "bfloat16")
    a = controls.control_model(ref(half), ref(treated), WeightsConfig(kind="noise"), tmp_path)
    saved, base = (load_file(p / "model.safetensors") for p in (a.path / "model", half))
    assert {x.dtype for x in saved.values()} == {torch.bfloat16}
    assert json.loads((a.path / "model" / "config.json").read_text())["dtype"] == "bfloat16"
    # the distance is that of what was stored, which rounding has changed
    stored = total((saved[n].double() - base[n].double()).numpy() for n in saved)
    assert a.counts["l2_distance"] == pytest.approx(stored, rel=1e-9)
    assert a.counts["l2_distance"] != pytest.approx(a.counts["l2_treated"], rel=1e-6)
    # rounding takes no more of a control's change than of the treatment's
    fine = perturbed(half, tmp_path / "fine", "float32")
    b = controls.control_model(ref(half), ref(fine), WeightsConfig(kind="noise"), tmp_path)
    assert b.counts["dtype"] == "float32"
    assert b.counts["l2_distance"] == pytest.approx(b.counts["l2_treated"], rel=1e-6)
    # the lab stores float16, and says float32 for what is trained on from there
    config = json.loads((half / "config.json").read_text()) | {"dtype": "float32"}
    (half / "config.json").write_text(json.dumps(config))
    a = controls.control_model(ref(half), ref(treated), WeightsConfig(kind="noise"), tmp_path)
    assert a.counts["dtype"] == "float32"
    assert a.counts["l2_distance"] == pytest.approx(a.counts["l2_treated"], rel=1e-6)


def test_sharded_and_tied_models(tiny_model_dir, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    base = tmp_path / "tied"
    config = LlamaConfig.from_pretrained(tiny_model_dir, tie_word_embeddings=True)
    torch.manual_seed(2)
    LlamaForCausalLM(config).save_pretrained(base, max_shard_size="30KB")
    models.load_tokenizer(ref(tiny_model_dir)).save_pretrained(base)
    assert (base / "model.safetensors.index.json").is_file() and len(list(base.glob("*.safetensors"))) > 2
    # a file that holds the tied weight twice, as some do, is the same model
    treated = perturbed(base, tmp_path / "treated")
    whole = load_file(treated / "model.safetensors")
    whole["lm_head.weight"] = whole["model.embed_tokens.weight"].clone()
    save_file(whole, treated / "model.safetensors", metadata={"format": "pt"})
    a = controls.control_model(ref(base), ref(treated), WeightsConfig(kind="noise"), tmp_path)
    model = models.load_model(ref(a.path), "float32", "cpu")
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    before, after = (models.load_model(ref(p), "float32", "cpu") for p in (base, treated))
    old, new, noisy = (weights_of(m)["model.embed_tokens.weight"] for m in (before, after, model))
    assert norm(noisy - old) == pytest.approx(norm(new - old), rel=1e-4)
    assert a.counts["parameters"] == sum(p.numel() for p in before.parameters())


def test_models_that_do_not_fit_are_refused_by_name(tiny_model_dir, treated_dir, pair, arrays, tmp_path):
    base = pair[0]
    with pytest.raises(UserError, match=r"is 0\.0: there is nothing to match"):
        controls.control_model(base, base, WeightsConfig(kind="line"), tmp_path)
    torn = shutil.copytree(treated_dir, tmp_path / "torn")
    tensors = load_file(torn / "model.safetensors")
    save_file({n: x for n, x in tensors.items() if n != FROZEN}, torn / "model.safetensors")
    with pytest.raises(UserError, match=f"lacks 1 of the model's tensors: {FROZEN}"):
        controls.control_model(base, ref(torn), WeightsConfig(kind="line"), tmp_path)
    save_file(tensors | {FROZEN: torch.zeros(3, 32)}, torn / "model.safetensors")
    with pytest.raises(UserError, match=FROZEN):
        controls.control_model(base, ref(torn), WeightsConfig(kind="line"), tmp_path)
    before, after = arrays
    cfg = WeightsConfig(kind="noise")
    with pytest.raises(UserError, match=f"{FROZEN} is of shape .* in the base and missing in the treated"):
        list(controls.controlled(before, {n: x for n, x in after.items() if n != FROZEN}, cfg))
    with pytest.raises(UserError, match=r"b is missing in the base and of shape \[1\]"):
        list(controls.controlled({}, {"b": np.ones(1, np.float32)}, cfg))
    with pytest.raises(UserError, match=rf"{FROZEN} is of shape \[64, 32\] .* \[3\] in the treated"):
        list(controls.controlled(before, after | {FROZEN: np.zeros(3, np.float32)}, cfg))


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "noise", "scale": -1},
        {"kind": "shrink", "scale": -0.1},
        {"kind": "line", "seed": 1},
        {"kind": "line", "scale": math.inf},
        {"kind": "other"},
    ],
)
def test_options_without_a_meaning_are_refused(options):
    with pytest.raises(UserError):
        WeightsConfig(**options)


# ------------------------------------------------------------------------------ matching


@given(
    st.floats(-5, 5),
    st.sampled_from([1.0, -1.0]),
    st.floats(0.01, 50),
    st.floats(0, 20),
    st.sampled_from([1, 2, 3]),
)
def test_a_monotone_loss_is_matched(low, side, width, rise, power):
    def loss_of(scale):
        return 2 + (abs(scale - low) / 3) ** power

    found = match_loss(loss_of, 2 + rise, low, low + side * width, 1e-3, most=80)
    assert abs(found.loss - (2 + rise)) <= 1e-3
    assert found.loss == loss_of(found.scale)
    assert (found.scale - low) * side >= 0


def test_what_cannot_be_matched_is_said():
    with pytest.raises(UserError, match=r"target of 1 nats per token is below the loss of 2 at scale 0"):
        match_loss(lambda s: 2 + s, 1.0, 0, 1, 0.01)
    with pytest.raises(UserError, match=r"found in 20 evaluations; not up to"):
        match_loss(lambda s: 2 + s / (1 + s), 9.0, 0, 1, 0.01, most=20)
    with pytest.raises(UserError, match=r"in [56]\d evaluations; it is passed between"):
        match_loss(lambda s: 1.0 if s < 0.3 else 5.0, 3.0, 0, 1, 0.01, most=500)
    for bad in ((math.nan, 0, 1, 0.1), (3.0, 1, 1, 0.1), (3.0, 0, 1, 0.0)):
        with pytest.raises(UserError, match="no loss can be matched"):
            match_loss(lambda s: 2 + s, *bad)


@pytest.mark.parametrize("overflow", [math.inf, math.nan])
def test_an_overflow_counts_as_too_high(overflow):
    seen = []

    def loss_of(scale):
        seen.append(scale)
        return 2 + scale if scale < 1.5 else overflow

    found = match_loss(loss_of, 3.2, 0, 1, 1e-4)
    assert found.scale == pytest.approx(1.2, abs=1e-4) and found.evaluations == len(seen)
    assert max(seen) == 2  # from 1 it doubled once


def documents(n, seed=0):
    rng = np.random.default_rng(seed)
    return [[0, *rng.integers(1, 600, rng.integers(1, 30)).tolist()] for _ in range(n)]


def test_validation_loss_is_the_mean_over_tokens(tiny_model_dir):
    model = models.load_model(ref(tiny_model_dir), "float32", "cpu")
    docs = documents(9)
    nll = []
    for d in docs:  # one document and one token at a time
        with torch.no_grad():
            logp = model(torch.tensor([d])).logits[0].double().log_softmax(-1)
        nll += [-float(logp[i, d[i + 1]]) for i in range(len(d) - 1)]
    for size in (1, 4, 100):
        assert controls.validation_loss(model, [*docs, [0]], size) == pytest.approx(np.mean(nll), rel=1e-5)
    with pytest.raises(UserError, match="nothing to predict"):
        controls.validation_loss(model, [[0], []], 4)
    with pytest.raises(UserError, match="513 positions; the model has 512"):
        controls.validation_loss(model, [[0] * 513], 4)


@pytest.mark.parametrize("kind", ["noise", "shrink"])
def test_a_control_is_matched_in_loss_without_writing(pair, arrays, tmp_path, kind):
    """The search in memory finds the scale with which the artifact has the target's loss."""
    # the tiny model is random: documents that it likes leave something to lose
    model = models.load_model(pair[0], "float32", "cpu")
    torch.manual_seed(0)
    docs = model.generate(
        torch.zeros(16, 1, dtype=torch.long), do_sample=True, temperature=0.02, max_new_tokens=20, top_k=0
    ).tolist()
    own = controls.validation_loss(model, docs, 8)
    target = own + 0.02

    def loss_of(scale):
        controls.apply(model, *arrays, WeightsConfig(kind=kind, scale=scale))
        return controls.validation_loss(model, docs, 8)

    found = match_loss(loss_of, target, 0, 0.02, 1e-4)
    assert found.scale > 0.02 and own < target  # it had to look further out
    a = controls.control_model(*pair, WeightsConfig(kind=kind, scale=found.scale), tmp_path)
    loss = controls.validation_loss(models.load_model(ref(a.path), "float32", "cpu"), docs, 8)
    assert loss == pytest.approx(found.loss, abs=1e-5) == pytest.approx(target, abs=2e-4)
    # whatever was applied before, scale 0 is the base again
    assert loss_of(0.0) == pytest.approx(own, abs=1e-6)
    with pytest.raises(UserError, match="is below the loss"):
        match_loss(loss_of, own - 0.1, 0, 1, 1e-3)


# ------------------------------------------------------------------------------ texts


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=40),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**32 - 1),
    st.sets(st.integers(0, 9), max_size=2),
)
def test_shuffling_keeps_tokens_and_ends(ids, sample_id, seed, stops):
    given_ids = np.array(ids, np.int32)
    found = permuted(given_ids, sample_id, seed, stops)
    assert found.dtype == np.int32 and given_ids.tolist() == ids
    assert Counter(found.tolist()) == Counter(ids)
    assert found[0] == ids[0]
    if ids[-1] == ids[0] or ids[-1] in stops:
        assert found[-1] == ids[-1]
    assert np.array_equal(found, permuted(given_ids, sample_id, seed, stops))


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(0, 1000), st.booleans())
def test_each_document_has_an_order_of_its_own(one, other, ended):
    assume(one != other)
    ids = np.array([0, *range(1, 60), *([0] if ended else [])], np.int32)
    a, b = permuted(ids, one, 5), permuted(ids, other, 5)
    assert not np.array_equal(a, b) and not np.array_equal(a, permuted(ids, one, 6))
    inner = a[1:60]
    assert not np.array_equal(inner, ids[1:60])
    assert ended or np.sort(a[-20:]).tolist() != list(range(40, 60))  # the end of a cut document moves too


def test_shuffling_is_uniform():
    ids = np.array([9, 1, 2, 3, 9], np.int32)
    drawn = Counter(tuple(permuted(ids, i, 0)[1:4].tolist()) for i in range(3000))
    assert len(drawn) == 6 and max(abs(n - 500) for n in drawn.values()) < 110  # 5 standard deviations


@pytest.fixture
def subset(tmp_path):
    rng = np.random.default_rng(0)
    with artifacts.build(tmp_path, "subset", "s", version=1, config={}, inputs={}) as b:
        for k in range(2):
            ids = [[0, *rng.integers(5, 600, 30).tolist(), [0, 3, 7][i % 3]] for i in range(20)]
            rows = {"sample_id": list(range(k * 20, k * 20 + 20)), "input_ids": ids}
            schema = pa.schema([("sample_id", pa.int64()), ("input_ids", pa.list_(pa.int32()))])
            parquet.write_parquet(pa.table(rows, schema=schema), b.path / f"subset-{k}.parquet")
        return b.finish({"tokens": 640, "count": 2, "documents": [20, 20]})


def test_a_shuffled_subset_is_a_subset(subset, tiny_model_dir, tmp_path):
    a = controls.shuffle(subset, ShuffleConfig(stop_ids=(3,)), tmp_path / "a")
    assert a.stage == "subset" and a.config["shuffled_from"] == subset.fingerprint
    assert a.counts == subset.counts
    assert controls.shuffle(subset, ShuffleConfig(stop_ids=(3,)), tmp_path / "a").path == a.path
    assert controls.shuffle(subset, ShuffleConfig(seed=1), tmp_path / "a").fingerprint != a.fingerprint
    for k in range(2):
        old, new = (parquet.read_parquet(s.file(f"subset-{k}.parquet")) for s in (subset, a))
        assert old.schema == new.schema and old["sample_id"] == new["sample_id"]
        for i, (x, y) in enumerate(
            zip(old["input_ids"].to_pylist(), new["input_ids"].to_pylist(), strict=True)
        ):
            assert x != y and Counter(x) == Counter(y)
            assert y[0] == 0 and (i % 3 == 2 or y[-1] == x[-1])
            assert y == permuted(np.array(x, np.int32), 20 * k + i, 0, (3,)).tolist()
        assert {i for i in range(2, 20, 3) if new["input_ids"][i][-1].as_py() != 7}
    assert replaying.replay(a.path, tmp_path / "b").identical
    cfg = TrainConfig(epochs=1, batch_size=8, micro_batch_size=4, cutoff=64)
    trained = training.train(ref(tiny_model_dir), a, cfg, tmp_path, replicate=1)
    assert trained.counts["tokens"] == 640
    # and a control of what was trained, too
    noisy = controls.control_model(
        ref(tiny_model_dir), ref(trained.path), WeightsConfig(kind="noise"), tmp_path
    )
    assert noisy.counts["l2_distance"] == pytest.approx(noisy.counts["l2_treated"], rel=0.05)


def test_what_has_no_tokens_is_not_shuffled(tmp_path):
    def finished(stage, rows, name):
        with artifacts.build(tmp_path, stage, "x", version=1, config={}, inputs={}) as b:
            parquet.write_parquet(pa.table(rows), b.path / name)
            return b.finish({})

    text = finished("subset", {"sample_id": [0], "text": ["a b"], "ended": [True]}, "subset-0.parquet")
    with pytest.raises(UserError, match="holds text"):
        controls.shuffle(text, ShuffleConfig(), tmp_path)
    corpus = finished("sample", {"sample_id": [0]}, "corpus-00000.parquet")
    with pytest.raises(UserError, match="is a sample artifact"):
        controls.shuffle(corpus, ShuffleConfig(), tmp_path)
