"""A study on tiny real models: every cell is there, reused, resumed, and derived from its artifacts."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import resurface
from resurface import artifacts, cli, evaluation, models
from resurface.errors import UserError
from resurface.models import ModelConfig
from resurface.pipeline import matrix
from resurface.recipe import Study, load_study, to_yaml


@pytest.fixture(scope="module")
def other_model_dir(tiny_model_dir, tmp_path_factory):
    """The same shape and tokenizer, other weights."""
    path = tmp_path_factory.mktemp("other") / "other"
    shutil.copytree(tiny_model_dir, path)
    model = models.load_model(models.resolve(ModelConfig(id=str(tiny_model_dir))))
    torch.manual_seed(7)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def small(tiny_model_dir, other_model_dir):
    ids = [{"id": str(tiny_model_dir)}, {"id": str(other_model_dir)}]
    return {
        "name": "tiny", "sources": ids, "students": ids,
        "sample": {"samples": 40, "min_tokens": 5, "max_new_tokens": 60, "batch_size": 40},
        "audit": {"benchmarks": ["lab:tracking"]},
        "subset": {"bytes": 1500, "count": 2},
        "train": {"learning_rate": 1e-2, "epochs": 2, "checkpoint_every": 2, "batch_size": 4,
                  "micro_batch_size": 4, "cutoff": 64},
        "evaluate": {"tasks": ["lab:agreement", "lab:tracking"], "limit": 10},
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    return resurface.study(Study(**small), out), out


def test_every_cell_is_measured(run, small):
    found, out = run
    ids = [m["id"] for m in small["sources"]]
    assert [(c["student"], c["source"]) for c in found["cells"]] == [(t, s) for t in ids for s in ids]
    assert [c["relation"] for c in found["cells"]] == ["self", "unknown", "unknown", "self"]
    labels = [s["label"].split(" ")[0] for s in found["stages"]]
    assert labels.count("train") == 8 and labels.count("evaluate") == 10 and labels.count("sample") == 2
    assert json.loads((out / "matrix.json").read_text())["cells"] == found["cells"]
    assert found["self_advantage"]["smallest_p"] == 0.5 and found["self_advantage"]["permutations"] == 2
    assert found["lineage_advantage"]["p"] is None and found["lineage_advantage"]["reason"]
    assert set(found["proxy_correlations"]) == {"nll_per_token", "nll_per_byte"}


def test_a_gain_is_the_difference_of_the_scores_on_disk(run):
    found, out = run
    cell = found["cells"][1]
    by_label = {s["label"]: artifacts.load(out / s["artifact"]) for s in found["stages"]}

    def accuracy(label):
        items = evaluation.headline_items(by_label[label])
        return np.mean([np.mean(list(v.values())) for v in items.values()])

    after = [accuracy(f"evaluate {cell['source']} -> {cell['student']}, subset {k}") for k in (0, 1)]
    assert cell["gain"] == pytest.approx(np.mean(after) - accuracy(f"evaluate {cell['student']}"))
    assert cell["low"] <= cell["gain"] <= cell["high"]


def test_students_are_trained_on_the_same_documents(run):
    found, out = run
    used = {}
    for s in found["stages"]:
        if s["label"].startswith("train"):
            a = artifacts.load(out / s["artifact"])
            source, k = s["label"].split(" ")[1], a.config["replicate"]
            used.setdefault((source, k), set()).add(a.manifest["inputs"]["subset"]["fingerprint"])
    assert len(used) == 4 and all(len(v) == 1 for v in used.values())


def test_a_finished_study_is_reused_and_another_is_refused(run, small):
    found, out = run
    before = {p: p.stat().st_mtime_ns for p in out.glob("*/*/manifest.json")}
    again = resurface.study(Study(**small), out)
    assert again["cells"] == found["cells"]
    assert {p: p.stat().st_mtime_ns for p in out.glob("*/*/manifest.json")} == before
    with pytest.raises(UserError, match="belongs to another study"):
        resurface.study(Study(**(small | {"name": "else"})), out)


def test_studies_that_cannot_be_run_are_refused(small):
    for change, message in (
        ({"sources": small["sources"][:1]}, "sources"),
        ({"students": small["students"] * 2}, "named twice"),
        ({"subset": {"tokens": 100, "count": 1}}, "subset.bytes is not set"),
        ({"typo": 1}, "typo"),
    ):
        with pytest.raises(UserError, match=message):
            Study(**(small | change))


def test_the_verb_prints_the_matrix(run, small, tmp_path, capsys):
    _, out = run
    file = tmp_path / "s.yaml"
    file.write_text(to_yaml(Study(**small)))
    assert load_study(str(file)) == Study(**small)
    assert cli.main(["study", str(file), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "Mean gain with self text" in shown and "Self-advantage" in shown and "(self)" in shown
    assert cli.main(["study", "absent.yaml"]) == 2
    assert "no study 'absent.yaml'" in capsys.readouterr().err


def test_lab_models_are_related_as_the_table_says():
    def ref(name):
        return models.ModelRef(f"lab:{name}", "lab", None, name)

    assert matrix.relation(ref("a-medium"), ref("a-medium")) == "self"
    assert matrix.relation(ref("a-medium"), ref("a-large")) == "kin"
    assert matrix.relation(ref("a-medium"), ref("c-large")) == "other"
