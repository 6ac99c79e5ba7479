"""`resurface predict` end to end: a tiny study with predictors, its calibration, and corpora to rank."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import pytest
import torch

import resurface
from resurface import artifacts, models
from resurface.artifacts.parquet import read_corpus
from resurface.cli import main
from resurface.compatibility import predictors
from resurface.compatibility.calibration import fit
from resurface.compatibility.results import StudyResult
from resurface.errors import UserError
from resurface.models import ModelConfig
from resurface.specs import Study
from resurface.workflows.ranking import candidates
from resurface.workflows.studies import predictor_table

NAMES = ("excess_nll", "pilot", "lark", "topk_overlap")


def rank(*args, **options):
    """As `predict --json` prints it."""
    return json.loads(json.dumps(resurface.predict(*args, **options).as_json()))


@pytest.fixture(scope="module")
def model_dirs(tiny_model_dir, tmp_path_factory):
    """Three models of one shape and tokenizer, from near to far."""
    found = [tiny_model_dir]
    for i, noise in enumerate((0.03, 0.2)):
        path = tmp_path_factory.mktemp("models") / f"noisy-{i}"
        shutil.copytree(tiny_model_dir, path)
        model = models.load_model(models.resolve(ModelConfig(id=str(tiny_model_dir))))
        torch.manual_seed(i)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * noise)
        model.save_pretrained(path)
        found.append(path)
    return found


@pytest.fixture(scope="module")
def cfg(model_dirs):
    ids = [{"id": str(m)} for m in model_dirs]
    return {
        "name": "tiny", "sources": ids, "students": ids,
        "sample": {"samples": 30, "min_tokens": 5, "max_new_tokens": 40, "batch_size": 30},
        "audit": {"benchmarks": ["lab:tracking"]},
        "subset": {"bytes": 1200, "count": 1},
        "train": {"learning_rate": 1e-2, "batch_size": 4, "micro_batch_size": 4, "cutoff": 64},
        "evaluate": {"tasks": ["lab:agreement"], "limit": 40},
        "predictors": {"names": NAMES, "documents": 20, "tasks": ["lab:agreement/dev"], "items": 6},
    }  # fmt: skip


@pytest.fixture(scope="module")
def study(cfg, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    return resurface.study(Study(**cfg), out).as_json(), out


@pytest.fixture(scope="module")
def corpora(study):
    found, out = study
    return [str(out / s["artifact"]) for s in found["stages"] if s["label"].startswith("audit ")]


@pytest.fixture(scope="module")
def shared_out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


def test_a_study_measures_evaluates_and_calibrates(study, cfg):
    found, out = study
    pairs = {(c["source"], c["student"]) for c in found["cells"]}
    measured = {(r["source"], r["student"], r["predictor"]) for r in found["predictors"]}
    assert measured == {(*p, n) for p in pairs for n in NAMES}
    assert all(r["value"] is not None for r in found["predictors"])
    rows = found["judged"]["predictors"]
    assert set(NAMES) | {"lineage", "always_self", "source_score", "nll_per_byte"} <= set(rows)
    assert rows["pilot"]["student_passes"] > 0 and rows["lineage"]["student_passes"] == 0
    report = (out / "report.md").read_text()
    assert "## Predictors of the gain" in report and "| pilot (3 x 3) |" in report
    kept = json.loads((out / "calibration.json").read_text())
    assert {(p["source"], p["student"]) for p in kept["pairs"]} == pairs
    assert kept["provenance"]["command"] == found["provenance"]["command"]
    for r in found["predictors"]:
        (same,) = [v for v in kept["values"] if [v[k] for k in ("source", "student", "predictor")]
                   == [r[k] for k in ("source", "student", "predictor")]]  # fmt: skip
        assert same["value"] == r["value"]


def test_corpora_are_ranked_by_the_line_of_the_study(study, corpora, model_dirs, shared_out):
    found, out = study
    student = str(model_dirs[0])
    ranked = rank(student, corpora, calibration=out, names=["excess_nll", "lark"], out=shared_out)
    value = {(r["source"], r["student"]): r["value"] for r in found["predictors"]
             if r["predictor"] == "excess_nll"}  # fmt: skip
    gains = {(c["source"], c["student"]): c["gain"] for c in found["cells"]}
    line = fit([value[p] for p in gains], list(gains.values()), [t for _, t in gains])
    assert [r["gain"] for r in ranked["ranking"]] == sorted(
        (r["gain"] for r in ranked["ranking"]), reverse=True
    )
    for row in ranked["ranking"]:
        first, other = row["predictors"]
        assert (first["predictor"], other["predictor"]) == ("excess_nll", "lark")
        expected = line.predict(first["value"], first["error"] or 0.0)
        assert [row[k] for k in ("gain", "low", "high")] == pytest.approx(
            [expected.value, expected.low, expected.high]
        )
        assert (row["p_positive"], row["extrapolated"]) == (expected.p_positive, expected.extrapolated)
        assert row["low"] < row["gain"] < row["high"]
        assert row["student_passes"] == first["student_passes"] + other["student_passes"]
    assert sum(r["best"] for r in ranked["ranking"]) == pytest.approx(1)
    assert {r["corpus"] for r in ranked["ranking"]} == set(corpora)


def test_a_subset_of_the_study_has_the_value_that_the_study_measured(study, model_dirs, shared_out):
    found, out = study
    source, student = str(model_dirs[1]), str(model_dirs[0])
    subset = out / next(s["artifact"] for s in found["stages"] if s["label"] == f"subset {source}")
    ranked = rank(student, [subset], calibration=out, names=["excess_nll"], out=shared_out)
    row = ranked["ranking"][0]["predictors"][0]
    (same,) = [r for r in found["predictors"] if (r["source"], r["student"], r["predictor"])
               == (source, student, "excess_nll")]  # fmt: skip
    assert row["value"] == pytest.approx(same["value"], rel=1e-6)


def test_what_was_measured_is_not_measured_again(study, corpora, model_dirs, shared_out, monkeypatch):
    asked = dict(calibration=study[1], names=["lark"], out=shared_out)
    once = rank(str(model_dirs[0]), corpora, **asked)
    monkeypatch.setattr(predictors, "measure", None)
    assert rank(str(model_dirs[0]), corpora, **asked)["ranking"] == once["ranking"]


def test_of_the_student_itself_as_many_documents_are_drawn_as_are_scored(
    study, corpora, model_dirs, tmp_path
):
    found = rank(
        str(model_dirs[0]),
        corpora[:1],
        calibration=study[1],
        names=["topk_overlap"],
        documents=12,
        out=tmp_path,
    )
    assert found["ranking"][0]["predictors"][0]["value"] is not None
    (own,) = (tmp_path / "sample").glob("own-*[0-9a-f]")
    assert artifacts.load(own).counts["documents"] == 12


def test_two_predictors_are_fitted_together(study, corpora, model_dirs, shared_out):
    found = rank(str(model_dirs[0]), corpora, calibration=study[1], names=["excess_nll+lark"], out=shared_out)
    assert found["predictor"] == "excess_nll+lark" and len(found["fit"]["slopes"]) == 2
    assert all(r["gain"] is not None for r in found["ranking"])


def test_texts_without_log_probabilities_have_no_value_where_these_are_needed(
    study, corpora, model_dirs, shared_out, tmp_path, capsys
):
    file = tmp_path / "texts.jsonl"
    texts = read_corpus(artifacts.load(corpora[1]), ["text"])["text"].to_pylist()
    file.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts if t))
    found = rank(
        str(model_dirs[0]),
        [corpora[0], file],
        calibration=study[1],
        names=["excess_nll", "lark"],
        out=shared_out,
    )
    last = found["ranking"][-1]
    assert last["corpus"] == str(file) and last["gain"] is None and last["reason"] == "no_logprobs"
    assert last["best"] is None and found["ranking"][0]["best"] == 1
    by_name = {r["predictor"]: r for r in last["predictors"]}
    assert by_name["excess_nll"]["value"] is None and by_name["lark"]["value"] is not None
    found = rank(str(model_dirs[0]), [file], calibration=study[1], names=["topk_overlap"], out=shared_out)
    assert found["ranking"][0]["reason"] == "no_source_weights"
    arguments = ["predict", str(model_dirs[0]), "--corpus", str(file), "--predictor", "topk_overlap"]
    assert main.main([*arguments, "--calibration", str(study[1]), "--out", str(shared_out)]) == 0
    assert "not measured: the source's weights are not at hand" in capsys.readouterr().out


def test_the_verb_ranks_and_says_what_it_rests_on(study, corpora, model_dirs, shared_out, capsys):
    arguments = ["predict", str(model_dirs[0]), "--predictor", "lark", "--calibration", str(study[1])]
    arguments += [x for c in corpora for x in ("--corpus", c)] + ["--out", str(shared_out)]
    assert main.main(arguments) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "excess" not in text and "lark" in text and "Calibrated on study tiny: 9 pairs" in text
    assert main.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["predictor"] == "lark" and len(found["ranking"]) == 3


def refused(student, corpora, study, tmp_path, **options):
    with pytest.raises(UserError) as e:
        rank(student, corpora, **({"calibration": study[1], "out": tmp_path} | options))
    assert e.value.remedy and not list(tmp_path.iterdir())
    return e.value.message


def test_what_cannot_be_ranked_is_refused_before_any_work(study, corpora, model_dirs, tmp_path):
    student, out = str(model_dirs[0]), tmp_path / "out"
    out.mkdir()

    def no(given=corpora, **options):
        return refused(student, given, study, out, **options)

    assert "no predictor 'pilott'" in no(names=["pilott"])
    assert "does not calibrate mauve" in no(names=["mauve"])  # the study did not measure it
    assert "no calibration at" in no(calibration=tmp_path / "none")
    (tmp_path / "bad.json").write_text("[]")
    assert "is not a calibration" in no(calibration=tmp_path / "bad.json")
    assert "named twice" in no([corpora[0], corpora[0]], names=["lark"])
    assert "no corpus to rank" in no([], names=["lark"])
    assert "no corpus /nowhere" in no(["/nowhere"], names=["lark"])
    trained = next(s["artifact"] for s in study[0]["stages"] if s["label"].startswith("train "))
    assert "was made by stage train" in no([study[1] / trained], names=["lark"])


def test_reported_tasks_are_no_development_tasks(cfg, tmp_path):
    asked = cfg | {"predictors": cfg["predictors"] | {"tasks": ["lab:agreement"]}}
    with pytest.raises(UserError, match="lab:agreement is reported"):
        resurface.study(Study(**asked), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_calibration_that_cannot_choose_says_so(study, corpora, model_dirs, tmp_path):
    kept = json.loads((study[1] / "calibration.json").read_text())
    assert kept["selected"]["name"] is None  # three sources are too few to leave one out
    with pytest.raises(UserError, match="cannot say which predictor is best"):
        rank(str(model_dirs[0]), corpora, calibration=study[1], out=tmp_path)
    few = kept | {"pairs": kept["pairs"][:7]}
    (tmp_path / "few.json").write_text(json.dumps(few))
    with pytest.raises(UserError, match="needs 8 pairs or more, not 7"):
        rank(str(model_dirs[0]), corpora, calibration=tmp_path / "few.json", names=["lark"], out=tmp_path)


def test_a_value_beyond_the_calibration_is_marked(study, corpora, model_dirs, tmp_path, shared_out):
    kept = json.loads((study[1] / "calibration.json").read_text())
    for row in kept["values"]:
        row["value"] += 100
    (tmp_path / "far.json").write_text(json.dumps(kept))
    found = rank(
        str(model_dirs[0]), corpora, calibration=tmp_path / "far.json", names=["lark"], out=shared_out
    )
    assert all(r["extrapolated"] for r in found["ranking"])


def test_the_shipped_calibration_is_that_of_the_results_and_ranks(corpora, shared_out):
    results = Path(__file__).parents[2] / "results/lab/compatibility/matrix.json"
    shipped = resources.files("resurface") / "presets" / "studies" / "lab-compatibility.json"
    kept = json.loads(shipped.read_text())
    study = StudyResult.from_json(json.loads(results.read_text()))
    assert kept == json.loads(json.dumps(predictor_table.calibration(study).as_json()))
    assert {v["predictor"] for v in kept["values"]} <= {p.name for p in predictors.find()}
    found = rank("lab:a-small", corpora[:2], documents=16, out=shared_out)
    assert found["predictor"] == kept["selected"]["name"] and found["fit"]["pairs"] == 49
    assert all(-0.5 < r["gain"] < 0.5 for r in found["ranking"])


def test_the_source_of_a_corpus_counts_only_while_it_is_what_it_was(study, corpora, model_dirs, tmp_path):
    corpus = artifacts.load(corpora[1])
    from resurface.workflows.ranking.rank import _source

    assert _source(corpus).id == str(model_dirs[1])
    kept = model_dirs[1] / "model.safetensors"
    shutil.move(kept, tmp_path / "away")
    shutil.copy(model_dirs[2] / "model.safetensors", kept)
    try:
        assert _source(corpus) is None
    finally:
        shutil.move(tmp_path / "away", kept)
    assert candidates.drawn(corpus).keys()
