"""A training moves weights, by the rates that it tells, and what is stored has the update in it."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import resurface
from resurface import artifacts, models
from resurface.artifacts import parquet
from resurface.cli import main, stages
from resurface.errors import UserError
from resurface.models import ModelConfig
from resurface.stages import training
from resurface.trainer import epoch_models, schedule
from test_training import quick, subset  # noqa: F401


def open_ref(path):
    return models.resolve(ModelConfig(id=str(path)))


@pytest.fixture
def ref(tiny_model_dir):
    return open_ref(tiny_model_dir)


@pytest.fixture
def said(monkeypatch):
    notes = []
    monkeypatch.setattr("resurface.progress.note", notes.append)
    return notes


@pytest.fixture
def half(ref, tmp_path):
    """The tiny model in bfloat16."""
    path = tmp_path / "half"
    models.load_model(ref, "bfloat16", "cpu").save_pretrained(path)
    models.load_tokenizer(ref).save_pretrained(path)
    return open_ref(path)


def weights(path, dtype="float32"):
    return models.load_model(open_ref(path), dtype, "cpu").state_dict()


# ------------------------------------------------------------------------------ rates


@given(st.integers(1, 3000), st.floats(0, 1, exclude_max=True))
def test_no_step_has_rate_0_and_one_has_the_peak(steps, warmup):
    rates = [schedule.factor(k, steps, warmup) for k in range(steps)]
    rising = schedule.warmup_steps(steps, warmup)
    assert min(rates) > 0 and max(rates) == rates[rising] == 1
    assert rates[: rising + 1] == sorted(rates[: rising + 1])
    assert rates[rising:] == sorted(rates[rising:], reverse=True)
    assert rising == min(math.ceil(warmup * steps), steps - 1)


def test_a_training_of_one_step_moves_weights_at_the_peak_rate(ref, subset, tmp_path):  # noqa: F811
    a = training.train(ref, subset, quick(epochs=1, batch_size=64), tmp_path, device="cpu")
    (step,) = parquet.read_parquet(a.file("metrics.parquet")).to_pylist()
    assert step["learning_rate"] == 5e-3
    before, after = weights(ref.path), weights(training.checkpoints(a)[1])
    assert all(not torch.equal(before[k], after[k]) for k in before)


def test_the_rate_that_is_logged_is_the_rate_that_is_used(ref, subset, tmp_path, monkeypatch):  # noqa: F811
    used, real = [], torch.optim.AdamW.step

    def step(self, *args, **kw):
        used.append(self.param_groups[0]["lr"])
        return real(self, *args, **kw)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    cfg = quick(epochs=2, batch_size=4, warmup=0.15)
    a = training.train(ref, subset, cfg, tmp_path, device="cpu")
    logged = parquet.read_parquet(a.file("metrics.parquet"))["learning_rate"].to_pylist()
    assert len(used) == 20 and logged == used
    assert logged == pytest.approx([5e-3 * schedule.factor(k, 20, 0.15) for k in range(20)], rel=1e-12)


def test_rates_that_move_no_weight_are_refused(ref, subset, tmp_path):  # noqa: F811
    with pytest.raises(UserError, match="after epoch 1 every weight is the base's") as e:
        training.train(ref, subset, quick(learning_rate=1e-30), tmp_path, device="cpu")
    assert "learning_rate" in e.value.remedy


# ------------------------------------------------------------------------------ precision


def test_the_share_that_survives_is_what_its_module_says():
    """Gaussian updates of 1, .55, .3 and .1 times the spacing of bfloat16 between 1 and 2: 2 ** -7."""
    rng = np.random.default_rng(0)
    layer = torch.nn.Linear(1000, 100, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(1 + rng.integers(40, 88, (100, 1000)) / 128))
    base = epoch_models.Base(layer, torch.bfloat16)
    for spacing, share in ((1, 1.0), (0.55, 0.99), (0.3, 0.66), (0.1, 0.0)):
        update = torch.from_numpy(rng.normal(0, spacing / 128, (100, 1000)).astype(np.float32))
        assert base.update_kept({"weight": layer.weight + update}) == pytest.approx(share, abs=0.02)
    assert base.update_kept({"weight": layer.weight}) == 0.0
    assert base.update_kept({}) is None  # as under ZeRO-3
    assert epoch_models.Base(layer, torch.float32).update_kept({}) == 1.0


@pytest.mark.parametrize("method", ["full", "lora"])
def test_small_updates_are_kept_in_float32(half, subset, tmp_path, said, method):  # noqa: F811
    cfg = dict(learning_rate=1e-6, epochs=1, method=method)
    a = training.train(half, subset, quick(**cfg), tmp_path, device="cpu")
    assert a.counts["saved_dtype"] == {"1": "float32"} and a.counts["update_kept"] == {"1": 1.0}
    assert a.counts["update_kept_in_source"]["1"] < 0.2
    assert any("of the update survives in bfloat16" in note and "stored as float32" in note for note in said)
    path = training.checkpoints(a)[1]
    assert json.loads((path / "config.json").read_text())["dtype"] == "float32"
    before, after = weights(half.path), weights(path)
    trained = [k for k in before if not torch.equal(before[k], after[k])]
    assert len(trained) == len(before) if method == "full" else trained
    # what would be left of it
    rounded = {k: v.bfloat16().float() for k, v in after.items()}
    moved = [math.sqrt(sum(float(((x[k] - before[k]) ** 2).sum()) for k in x)) for x in (after, rounded)]
    assert moved[1] < moved[0]


def test_the_base_s_precision_on_demand_says_what_it_loses(half, subset, tmp_path, said):  # noqa: F811
    cfg = quick(learning_rate=1e-6, epochs=1, save_dtype="source")
    a = training.train(half, subset, cfg, tmp_path, device="cpu")
    assert a.counts["saved_dtype"] == {"1": "bfloat16"}
    assert a.counts["update_kept"] == a.counts["update_kept_in_source"]
    assert any("stored as bfloat16 all the same" in note for note in said)


def test_large_updates_keep_the_base_s_precision_unless_asked_otherwise(half, subset, tmp_path, said):  # noqa: F811
    a = training.train(half, subset, quick(epochs=1), tmp_path, device="cpu")
    assert a.counts["saved_dtype"] == {"1": "bfloat16"} and a.counts["update_kept"]["1"] > 0.99
    assert not [note for note in said if "survives" in note]
    b = training.train(half, subset, quick(epochs=1, save_dtype="float32"), tmp_path, device="cpu")
    assert b.counts["saved_dtype"] == {"1": "float32"} and b.counts["update_kept"]["1"] == 1.0
    rounded = weights(training.checkpoints(b)[1], "bfloat16")
    stored = weights(training.checkpoints(a)[1], "bfloat16")
    assert all(torch.equal(stored[k], rounded[k]) for k in stored)


def test_a_float32_model_of_a_bfloat16_base_is_a_model_for_every_stage(half, subset, tmp_path):  # noqa: F811
    from resurface import workflows

    a = training.train(half, subset, quick(learning_rate=1e-6, epochs=1), tmp_path, device="cpu")
    tuned = open_ref(training.checkpoints(a)[1])
    assert tuned.fingerprint != half.fingerprint
    (pair,) = workflows.lineage(str(half.path), str(tuned.path))
    assert pair.label == "weight-kin" and all(pair.recipe.as_json().values())
    held = ModelConfig(id=str(tuned.path), device="cpu")
    corpus = workflows.sample(held, out=tmp_path, tokens=500, max_new_tokens=20, min_tokens=2, batch_size=8)
    assert corpus.counts["tokens"] >= 500
    text = tmp_path / "text.txt"
    text.write_text(Path(artifacts.store.__file__).read_text()[:4000])
    found = workflows.extract(
        held, out=tmp_path, texts=(str(text),), prefix=8, suffix=8, max_windows=16, confirm=2
    )
    assert found.counts["windows"] == 16


# ------------------------------------------------------------------------------ examples


def example(verb):
    """The command line of a verb's help, without `resurface VERB`."""
    (line,) = (
        x.strip() for x in verb.__doc__.splitlines() if x.strip().startswith(f"resurface {verb.__name__}")
    )
    return shlex.split(line)[2:]


def test_the_chains_of_help_texts_and_readme_make_another_model(tiny_model_dir, tmp_path, monkeypatch):
    """sample, subset and train as asked, on a tiny model; the audit, which needs an asset, left out."""
    monkeypatch.chdir(tmp_path)
    before = weights(tiny_model_dir)

    def is_another(trained):
        after = weights(training.checkpoints(trained)[1])
        return any(not torch.equal(before[k], after[k]) for k in before)

    tiny = str(tiny_model_dir)
    name, *options = example(stages.sample)
    assert main.main(["sample", tiny, *options, "--max-new-tokens", "256"]) == 0
    assert main.main(["subset", "runs/stages/sample/corpus", *example(stages.subset)[1:]]) == 0
    same, which, *options = example(stages.train)
    assert same == name and which == "runs/stages/subset/subset"
    assert main.main(["train", tiny, which, *options]) == 0
    assert is_another(artifacts.load(tmp_path / "runs/stages/train/model"))

    readme = (Path(__file__).parents[2] / "README.md").read_text()
    block = readme[readme.index("    import resurface\n") :]
    lines = re.findall(r"^    (\w+ = resurface\.(?:sample|subset|train)\(.*\))$", block, re.M)
    assert [line.split(" = ")[0] for line in lines] == ["corpus", "subset", "tuned"]
    named = {"resurface": resurface}
    for line in lines:
        exec(re.sub(r'"smollm2[\w-]*"', repr(tiny), line).replace("(clean", "(corpus"), named)
    assert is_another(named["tuned"])
