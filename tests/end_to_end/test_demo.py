"""`resurface demo`: the shipped presets on the shipped models, here with less text and fewer items."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from resurface.cli import main
from resurface.errors import UserError
from resurface.specs import load_recipe, load_study, load_sweep

demo = importlib.import_module("resurface.workflows.demos")  # the package exports the function of this name
LESS = ("sample.tokens=12000", "evaluate.limit=12")


@pytest.fixture
def small(monkeypatch):
    def recipe(name):
        return load_recipe(
            name, overrides=(*LESS, "subset.tokens=8000", "extract.max_windows_per_stratum=20")
        )

    def study(name):
        kept = ["lab:a-medium", "lab:c-large"]
        models = [
            f"{role}=[{','.join('{id: ' + repr(m) + '}' for m in kept)}]" for role in ("sources", "students")
        ]
        return load_study(name, overrides=(*LESS, "subset.bytes=8000", *models))

    def sweep(name):
        change = {
            "sample.tokens": 12000, "subset.tokens": 8000, "evaluate.limit": 12,
            "extract.max_windows_per_stratum": 20,
        }  # fmt: skip
        found = load_sweep(name, overrides=("seeds=[0, 1]",))
        vary = {k: v[:1] for k, v in found.vary.items()}
        return found.model_copy(update={"change": found.change | change, "vary": vary})

    monkeypatch.setattr(demo, "load_recipe", recipe)
    monkeypatch.setattr(demo, "load_study", study)
    monkeypatch.setattr(demo, "load_sweep", sweep)


def test_the_demo_tells_what_its_files_say(small, tmp_path, capsys):
    out = tmp_path / "demo"
    assert main.main(["demo", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    found = json.loads((out / "demo.json").read_text())
    drop = found["self_training"]["models"][1]["extraction"]["against_base"]
    assert (
        f"{drop['before']} of {drop['windows']} windows extracted before, {drop['after']} after"
        in " ".join(said.split())
    )
    relations = [c["relation"] for c in found["matrix"]["cells"]]
    assert relations == ["self", "other", "other", "self"]
    report = (out / "report.md").read_text()
    assert "never" in report and "32 copies" in report  # per stratum, with the non-members
    assert "lab:c-large" in report
    before = (out / "matrix" / "matrix.json").stat().st_mtime_ns
    trained = {p: p.stat().st_mtime_ns for p in out.glob("*/train/*/manifest.json")}
    assert main.main(["demo", "--out", str(out)]) == 0  # continues: nothing is trained again
    assert {p: p.stat().st_mtime_ns for p in trained} == trained
    assert (out / "matrix" / "matrix.json").stat().st_mtime_ns > before


def test_the_complete_design_is_refused_at_once_without_its_encoder(tmp_path, monkeypatch):
    monkeypatch.setenv("RESURFACE_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UserError) as e:
        demo.demo(tmp_path / "full", full=True)
    assert "minilm-l6-v2" in str(e.value)
    assert not (tmp_path / "full").exists()


@pytest.mark.slow  # two minutes; each of its parts has a test of its own
def test_the_complete_design(small, tmp_path):
    out = tmp_path / "full"
    found = demo.demo(out, full=True)
    assert set(found.as_json()) == {"seeds", "frontier", "matrix", "report", "elapsed_s"}
    assert found.seeds.points[0].seeds == (0, 1)
    text = (out / "report.md").read_text()
    assert "several seeds" in text and "What can be chosen" in text
    assert (out / "frontier" / "frontier.svg").is_file()


@pytest.mark.slow
def test_the_demo_as_it_is(tmp_path):
    """Minutes. Extraction collapses in the shipped demo, or it would show nothing."""
    out = tmp_path / "demo"
    subprocess.run([sys.executable, "-m", "resurface", "demo", "--out", str(out)], check=True, timeout=1200)
    found = json.loads((out / "demo.json").read_text())
    drop = found["self_training"]["models"][-1]["extraction"]["against_base"]
    assert drop["before"] >= 200
    assert drop["low"] > 0.8
