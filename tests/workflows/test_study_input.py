"""Studies that cannot be run are refused by name, with a way out, before any work."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from safetensors.torch import load_file, save_file

import resurface
from resurface.cli import main
from resurface.errors import UserError
from resurface.specs import Study

IDS = [{"id": "lab:a-small"}, {"id": "lab:b-medium"}]
STUDY = {
    "name": "tiny", "sources": IDS, "students": IDS,
    "sample": {"samples": 40, "min_tokens": 5, "max_new_tokens": 60, "batch_size": 40},
    "audit": {"benchmarks": ["lab:tracking"]},
    "subset": {"bytes": 1500, "count": 1},
    "train": {"learning_rate": 1e-3, "epochs": 1, "batch_size": 4, "micro_batch_size": 4, "cutoff": 64},
    "evaluate": {"tasks": ["lab:agreement", "lab:tracking"], "limit": 10},
    "predictors": {"names": ["excess_nll", "source_gold"], "documents": 10, "tasks": ["lab:facts/dev"],
                   "items": 4},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": IDS[:1]}, "sources: lab:a-small is all there is.*name two or more"),
        ({"students": []}, "students: none is all there is"),
        ({"students": [*IDS, IDS[0]]}, "students: a model is named twice: lab:a-small; name each once"),
        (
            {"students": [IDS[0] | {"tasks": ["lab:facts"]}, IDS[1]]},
            "students: lab:a-small has tasks of its own.*below the study's evaluate",
        ),
        ({"students": [IDS[0] | {"evaluate": {"limit": 3}}, IDS[1]]}, "lab:a-small has evaluate of its own"),
    ],
)
def test_what_is_no_study(change, message, tmp_path, capsys):
    with pytest.raises(UserError, match=message) as e:
        Study(**(STUDY | change))
    assert "Tuple" not in str(e.value) and "Extra inputs" not in str(e.value)  # one error, not its echo
    (file := tmp_path / "s.yaml").write_text(yaml.safe_dump(STUDY | change))
    assert main.main(["study", str(file), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert "error: " in shown and "  -> " in shown and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluate": {"tasks": ["lab:facts"], "num_fewshot": 2}}, "lab:facts has no examples"),
        ({"evaluate": {"tasks": ["lab:facts", "lab:facts"]}}, "asked for twice: lab:facts"),
        (
            {"evaluate": {"tasks": ["lab:facts"], "max_length": 5000}},
            "a prompt takes 5000 positions; lab:a-sm",
        ),
        ({"train": STUDY["train"] | {"cutoff": 5000}}, "a packed block takes 5000 positions; lab:a-small"),
        ({"train": STUDY["train"] | {"batch_size": 6}}, "batch_size 6 is not a multiple"),
        (
            {"sample": STUDY["sample"] | {"max_new_tokens": 5000}},
            "a document takes 5001 positions; lab:a-small",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused_before_any_work(change, message, tmp_path):
    with pytest.raises(UserError, match=message) as e:
        resurface.study(Study(**(STUDY | change)), tmp_path / "out")
    assert e.value.remedy and not (tmp_path / "out").exists()


@pytest.mark.parametrize("role", ["sources", "students"])
def test_one_model_under_two_names(role, tiny_model_dir, tmp_path):
    shutil.copytree(tiny_model_dir, copy := tmp_path / "copy")
    two = [{"id": str(tiny_model_dir)}, {"id": str(copy)}]
    with pytest.raises(UserError, match=f"{role}: {tiny_model_dir} and {copy} are one model") as e:
        resurface.study(Study(**(STUDY | {role: two})), tmp_path / "out")
    assert e.value.remedy == "leave one of them out" and not (tmp_path / "out").exists()


def test_a_source_without_weights_that_predictors_need(tiny_model_dir, tmp_path):
    shutil.copytree(tiny_model_dir, bare := tmp_path / "bare")
    (bare / "model.safetensors").rename(tmp_path / "kept.safetensors")
    cfg = Study(**(STUDY | {"sources": [IDS[0], {"id": str(bare)}]}))
    with pytest.raises(UserError, match=f"{bare}: no weights in") as e:
        resurface.study(cfg, tmp_path / "out")
    assert e.value.remedy and not (tmp_path / "out").exists()
    # of two shards, one is there
    weights = load_file(tmp_path / "kept.safetensors")
    first, *_ = weights
    save_file({first: weights[first]}, bare / "model-00001-of-00002.safetensors", {"format": "pt"})
    shards = {n: f"model-0000{1 + (n != first)}-of-00002.safetensors" for n in weights}
    (bare / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    with pytest.raises(UserError, match=r"lacks weights: model-00002-of-00002\.safetensors"):
        resurface.study(cfg, tmp_path / "out")
    (bare / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(UserError, match=r"index\.json names no weights"):
        resurface.study(cfg, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_with_one_subset_what_needs_two_is_null_with_a_reason(tmp_path):
    resurface.study(Study(**STUDY), tmp_path / "out")
    found = json.loads((tmp_path / "out" / "matrix.json").read_text())
    assert found["decomposition"] == {"f": None, "reason": "few_to_decompose: subset"}
    assert all(c["low"] is not None for c in found["cells"])  # of the items, which are many
    assert (tmp_path / "out" / "report.md").is_file()
    assert (tmp_path / "out" / "heatmap.svg").exists()
