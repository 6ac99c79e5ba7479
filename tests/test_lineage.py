"""Lineage on the lab's family tree, which is known, and on matrices drawn apart."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from resurface import cli, models
from resurface.compatibility import lineage
from resurface.lab import families
from resurface.models import ModelConfig

SHIPPED = [m.name for m in families.MODELS if m.name != "a-medium-unplanted"]


def ref(name):
    return models.resolve(ModelConfig(id=str(name)))


def truth(one, other):
    a, b = families.get(one), families.get(other)
    shared = families.shared(a, b)
    if "initialisation" in shared:
        return "weight-kin"
    return "recipe-kin" if a.family == b.family else "cross-family"


def test_every_pair_of_the_lab_is_labelled_as_it_was_made():
    found = lineage.compare_all([ref(f"lab:{n}") for n in SHIPPED])
    assert len(found) == len(SHIPPED) * (len(SHIPPED) - 1) // 2
    assert {(p["one"], p["other"]): p["label"] for p in found} == {
        (p["one"], p["other"]): truth(p["one"], p["other"]) for p in found
    }
    assert {p["label"] for p in found} == {"weight-kin", "recipe-kin", "cross-family"}


@pytest.fixture
def copy(tmp_path):
    """A copy of lab:a-medium whose files a test may change."""
    path = tmp_path / "copy"
    shutil.copytree(ref("lab:a-medium").path, path)
    return path


def test_equal_weights_are_self_whatever_stands_beside_them(copy):
    (copy / "generation_config.json").write_text("{}")
    found = lineage.compare(ref("lab:a-medium"), ref(copy))
    assert found["label"] == "self" and found["weights"]["reason"] == "equal"


def test_a_tuned_model_is_kin_by_its_weights_and_a_new_tokenizer_is_not_hidden_by_that(copy):
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = dict(list(tokenizer["model"]["vocab"].items())[::-1][:-1])
    model = models.load_model(ref(copy), "float32", "cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * p.std())  # as much noise as weights
    model.save_pretrained(copy)
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    found = lineage.compare(ref("lab:a-medium"), ref(copy))
    assert found["label"] == "weight-kin"
    assert found["recipe"] == {"model_type": True, "options": True, "tokenizer": False}


def test_what_the_files_do_not_tell_is_unknown(copy):
    """Other weights and another vocabulary in the same architecture: perhaps kin, perhaps not."""
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert lineage.compare(ref("lab:a-medium-init"), ref(copy))["label"] == "unknown"
    assert lineage.compare(ref("lab:a-small"), ref(copy))["label"] == "unknown"


def test_units_in_another_order_are_not_aligned_and_z_is_standard_under_independence():
    rng = np.random.default_rng(0)
    zs = [lineage.aligned(*rng.normal(size=(2, 96, 24)).astype(np.float32)) for _ in range(400)]
    assert abs(np.mean(zs)) < 4 / 20 and 0.85 < np.std(zs) < 1.15
    a = rng.normal(size=(96, 24)).astype(np.float32)
    assert lineage.aligned(a, a) > 30
    assert abs(lineage.aligned(a, np.roll(a, 1, 0))) < 6
    assert lineage.aligned(a, np.zeros_like(a)) == 0


def test_aligned_is_the_formula_written_as_loops():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 7, 3))
    c = np.array([[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a])
    d = np.array([[c[i, j] - c[i].mean() - c[:, j].mean() + c.mean() for j in range(7)] for i in range(7)])
    slow = sum(d[i, i] for i in range(7)) / (sum(v**2 for v in d.ravel()) / 6) ** 0.5
    assert lineage.aligned(a, b) == pytest.approx(slow)


@pytest.mark.parametrize("stored", [(8, 32), (32, 8)])
def test_units_are_rows_however_a_c_fc_is_stored(tmp_path, stored):
    """GPT-2 keeps [inputs, units], GPT-Neo [units, inputs]."""
    from safetensors.torch import save_file

    name, weight = "h.0.mlp.c_fc.weight", torch.arange(256.0).reshape(stored)
    save_file({name: weight}, tmp_path / "model.safetensors")
    found = lineage._matrix(lineage._tensors(tmp_path), name)
    np.testing.assert_array_equal(found, weight.T if stored == (8, 32) else weight)


def test_the_verb(capsys):
    assert cli.main(["lineage", "lab:a-medium", "lab:a-medium-order", "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["pairs"]
    assert [p["label"] for p in pairs] == ["weight-kin"]
    assert cli.main(["lineage", "lab:a-medium", "lab:b-medium"]) == 0
    assert "cross-family" in capsys.readouterr().out
    assert cli.main(["lineage", "lab:a-medium"]) == 2
    assert "two models or more" in capsys.readouterr().err
    assert cli.main(["lineage", "lab:a-medium", "lab:a-medium"]) == 2
    assert "named twice" in capsys.readouterr().err
