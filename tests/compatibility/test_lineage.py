"""Lineage on the lab's family tree, which is known, and on matrices drawn apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from resurface import models
from resurface.cli import main
from resurface.compatibility import lineage, normal_forms
from resurface.errors import UserError
from resurface.lab import families
from resurface.models import ModelConfig
from resurface.stats.reasons import Reason

SHIPPED = [m.name for m in families.MODELS if m.name not in ("a-medium-unplanted", "a-medium-replanted")]


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
    assert {(p.one, p.other): p.label for p in found} == {
        (p.one, p.other): truth(p.one, p.other) for p in found
    }
    assert {p.label for p in found} == {"weight-kin", "recipe-kin", "cross-family"}
    file = Path(__file__).parents[2] / "results" / "lab" / "lineage" / "lineage.json"
    kept = {frozenset((p["one"], p["other"])): p for p in json.loads(file.read_text())["pairs"]}
    known = [(p, kept[pair]) for p in found if (pair := frozenset((p.one, p.other))) in kept]
    assert len(known) == 21  # the other models of that file were tuned from these, and are not here
    assert all((p.label, p.recipe.as_json()) == (k["label"], k["recipe"]) for p, k in known)


@pytest.fixture
def copy(tmp_path):
    """A copy of lab:a-medium whose files a test may change."""
    path = tmp_path / "copy"
    shutil.copytree(ref("lab:a-medium").path, path)
    return path


def test_equal_weights_are_self_whatever_stands_beside_them(copy):
    (copy / "generation_config.json").write_text("{}")
    found = lineage.compare(ref("lab:a-medium"), ref(copy))
    assert found.label == "self" and found.weights.reason == Reason.EQUAL_WEIGHTS


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
    assert found.label == "weight-kin"
    assert found.recipe.as_json() == {"model_type": True, "options": True, "tokenizer": False}


def test_what_the_files_do_not_tell_is_unknown(copy):
    """Other weights and another vocabulary in the same architecture: perhaps kin, perhaps not."""
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert lineage.compare(ref("lab:a-medium-init"), ref(copy)).label == "unknown"
    assert lineage.compare(ref("lab:a-small"), ref(copy)).label == "unknown"


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
    assert main.main(["lineage", "lab:a-medium", "lab:a-medium-order", "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["pairs"]
    assert [p["label"] for p in pairs] == ["weight-kin"]
    assert main.main(["lineage", "lab:a-medium", "lab:b-medium"]) == 0
    assert "cross-family" in capsys.readouterr().out
    assert main.main(["lineage", "lab:a-medium"]) == 2
    assert "two models or more" in capsys.readouterr().err
    assert main.main(["lineage", "lab:a-medium", "lab:a-medium"]) == 2
    assert "named twice" in capsys.readouterr().err


def rewritten(path, change, file):
    found = json.loads((path / file).read_text())
    change(found)
    (path / file).write_text(json.dumps(found))


def older_tokenizer(found):
    """As tokenizers wrote it before 0.20, with what is a default left out, and the steps nested otherwise."""
    found["model"]["merges"] = [" ".join(m) for m in found["model"]["merges"]]
    for key in ("byte_fallback", "ignore_merges", "fuse_unk", "dropout"):
        del found["model"][key]
    found["model"]["continuing_subword_prefix"] = ""
    digits, text = found["pre_tokenizer"]["pretokenizers"]
    split = {
        "type": "Split",
        "pattern": {"Regex": normal_forms._GPT2},
        "behavior": "Isolated",
        "invert": False,
    }
    inner = [split, text | {"use_regex": False, "trim_offsets": False}]
    steps = [digits, {"type": "Sequence", "pretokenizers": inner}]
    found["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    found["post_processor"] = None
    found["added_tokens"].append(found["added_tokens"][0] | {"id": 1024, "content": "<pad>"})


def older_rope(found):
    """As transformers 4 wrote it for GPT-NeoX."""
    rope = found.pop("rope_parameters")
    found |= {"rotary_pct": rope["partial_rotary_factor"], "rotary_emb_base": int(rope["rope_theta"])}
    found |= {"rope_scaling": None, "transformers_version": "4.40.0"}
    del found["attention_bias"], found["hidden_act"]  # defaults


def test_another_notation_of_one_recipe_is_the_same_recipe(copy):
    from tokenizers import Tokenizer

    rewritten(copy, older_tokenizer, "tokenizer.json")
    rewritten(copy, older_rope, "config.json")
    one, other = ref("lab:a-medium-init"), ref(copy)
    found = lineage.compare(one, other)
    assert found.recipe.as_json() == {"model_type": True, "options": True, "tokenizer": True}
    assert found.label == "recipe-kin"
    text = "It's 12345  sums; naïve\n\n\tcafé's 3+4=7"  # and it is: the tokens are the same
    ids = [
        Tokenizer.from_file(str(m.path / "tokenizer.json")).encode(text, add_special_tokens=False).ids
        for m in (one, other)
    ]
    assert ids[0] == ids[1]


def without_digits(found):
    found["pre_tokenizer"] = found["pre_tokenizer"]["pretokenizers"][1]


@pytest.mark.parametrize(
    "change",
    [
        without_digits,
        lambda found: found.update(normalizer={"type": "Lowercase"}),
        lambda found: found["model"]["vocab"].update(he=1023, the=900),
        lambda found: found["added_tokens"].append(
            found["added_tokens"][0] | {"id": 1024, "content": "people", "special": False}
        ),
        lambda found: found["model"].update(ignore_merges=True),
    ],
)
def test_what_makes_other_tokens_is_another_tokenizer(copy, change):
    rewritten(copy, change, "tokenizer.json")
    found = lineage.compare(ref("lab:a-medium-init"), ref(copy))
    assert found.recipe.tokenizer is False and found.label == "unknown"


LLAMA = {
    "": {}, "flat": {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "one": {"rope_parameters": {"rope_theta": 500_000, "rope_type": "linear", "factor": 2.0}},
    "other": {"rope_parameters": {"rope_theta": 500_000, "rope_type": "linear", "factor": 4.0}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "same"), [("flat", "one", True), ("one", "other", False), ("", "flat", False)]
)
def test_rope_is_compared_as_transformers_reads_it(tmp_path, one, other, same):
    base = json.loads((ref("lab:b-medium").path / "config.json").read_text())
    del base["rope_parameters"]
    forms = []
    for name in (one, other):
        (tmp_path / "config.json").write_text(json.dumps(base | LLAMA[name]))
        forms.append(normal_forms.architecture(tmp_path))
    assert (forms[0] == forms[1]) is same


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": "many"}')
    with pytest.raises(UserError, match=r"config\.json"):
        normal_forms.architecture(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        normal_forms.architecture(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {}}')
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read"):
        normal_forms.tokenizer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "of-tomorrow", "hidden_act": "gelu"}')
    assert normal_forms.architecture(tmp_path)[1]["hidden_act"] == "gelu"
