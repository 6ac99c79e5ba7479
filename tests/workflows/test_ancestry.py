"""What a treated model was made of: known by the manifests of its training, or taken on trust."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import resurface
from resurface import controls, models
from resurface.artifacts import Artifact
from resurface.errors import UserError
from resurface.memorization import ExtractConfig
from resurface.models import ModelConfig, ModelRef
from resurface.report.verdict import sentences as report
from resurface.results import Verdict
from resurface.specs import load_attacks
from resurface.stats.reasons import Reason
from resurface.workflows.verdicts.ancestry import ancestry

BASE = "lab:a-small"
WINDOWS = ExtractConfig(
    texts=("lab:a",), prefix=8, suffix=24, start="bos", max_windows_per_stratum=6, confirm=0
)
NONE = load_attacks("lab", overrides=["probe=null", "relearn=null", "membership=false"])


def ref(model: Any) -> ModelRef:
    return models.resolve(ModelConfig(id=str(model)))


def corpus(out: Path, seed: int) -> Artifact:
    return resurface.sample(BASE, tokens=2000, min_tokens=5, max_new_tokens=60, seed=seed, out=out)


def trained(base: str | Path, subset: Artifact, out: Path) -> Artifact:
    return resurface.train(base, subset, epochs=1, cutoff=64, batch_size=8, learning_rate=1e-4, out=out)


@pytest.fixture(scope="module")
def made(tmp_path_factory: Any) -> dict[str, Artifact]:
    out = tmp_path_factory.mktemp("ancestry")
    sampled = corpus(out, 0)
    audited = resurface.audit(sampled, benchmarks=["lab:facts"], ngram=4, out=out)
    subset = resurface.subset(audited, tokens=1000, count=1, out=out)
    return {
        "sampled": sampled,
        "audited": audited,
        "subset": subset,
        "other": corpus(out, 1),
        "model": trained(BASE, subset, out),
    }


@pytest.fixture
def moved(made: dict[str, Artifact], tmp_path: Path) -> Any:
    """Without one of the artifacts, which is put back."""
    gone: list[tuple[Path, Path]] = []

    def move(name: str) -> None:
        gone.append((made[name].path, tmp_path / name))
        shutil.move(*gone[-1])

    yield move
    for place, kept in gone:
        shutil.move(kept, place)


@pytest.mark.parametrize("name", ["sampled", "audited"])
def test_the_corpus_of_the_training_is_known_before_and_after_its_audit(made: Any, name: str) -> None:
    (known,), used = ancestry(ref(BASE), [ref(made["model"].path)], [made[name]])
    assert known.lineage == "known" and known.reason is known.corpus is None
    assert used == [made[name]]


def test_another_corpus_is_refused_before_the_work(made: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError) as e:
        resurface.verdict(BASE, [made["model"]], WINDOWS, NONE, tmp_path, corpus=[made["other"]])
    assert str(made["other"].path) in e.value.message and str(made["audited"].path) in e.value.message
    assert str(made["audited"].path) in str(e.value.remedy)
    assert not list(tmp_path.iterdir())


def test_another_base_is_refused_before_the_work(made: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"was made of lab:a-small, not of lab:a-medium") as e:
        resurface.verdict("lab:a-medium", [made["model"]], WINDOWS, NONE, tmp_path)
    assert str(made["model"].path) in e.value.message and "trained from" in str(e.value.remedy)
    assert not list(tmp_path.iterdir())


def test_without_a_corpus_that_of_the_training_is_used_and_named(made: Any, tmp_path: Path) -> None:
    a = resurface.verdict(BASE, [made["model"]], WINDOWS, NONE, tmp_path)
    found = json.loads(a.file("verdict.json").read_text())
    name = made["audited"].path.name
    assert found["held_out"] is not None and found["lineage"][0]["corpus"] == name
    said = report.lines(Verdict.from_json(found))[-1]
    assert said.startswith("Lineage:") and f"was made of {BASE}" in said and said.endswith(f"given: {name}.")
    given = resurface.verdict(BASE, [made["model"]], WINDOWS, NONE, tmp_path, corpus=[made["audited"]])
    assert "as none was given" not in given.file("report.md").read_text()


def test_a_model_from_elsewhere_is_taken_on_trust_and_that_is_said(made: Any, tmp_path: Path) -> None:
    shutil.copytree(ref(made["model"].path).path, tmp_path / "copy")
    a = resurface.verdict(BASE, [tmp_path / "copy"], WINDOWS, NONE, tmp_path / "out", corpus=[made["other"]])
    found = json.loads(a.file("verdict.json").read_text())
    assert found["lineage"][0]["lineage"] is None and found["lineage"][0]["reason"] == Reason.NO_MANIFEST
    assert f"not known for {tmp_path / 'copy'} (no manifest" in report.lines(Verdict.from_json(found))[-1]
    assert "taken on trust" in a.file("report.md").read_text()
    again = resurface.replay(a.path, tmp_path / "again")
    assert again.identical, again.different


def test_a_point_on_the_line_to_a_training_is_known_and_a_training_in_two_steps_is_not(
    made: Any, tmp_path: Path
) -> None:
    base, model = ref(BASE), ref(made["model"].path)
    cfg = controls.WeightsConfig(kind="line", scale=0.5)
    point = ref(controls.control_model(base, model, cfg, tmp_path, name="half").path)
    second = ref(trained(made["model"].path, made["subset"], tmp_path).path)
    noise = controls.WeightsConfig(kind="noise", scale=0.5)
    noisy = ref(controls.control_model(base, model, noise, tmp_path, name="noisy").path)
    known, used = ancestry(base, [point, second, model, noisy], [None] * 4)
    assert [t.lineage for t in known] == ["known", None, "known", None]
    assert (known[1].reason, known[3].reason) == (Reason.TRAINED_AGAIN, Reason.WEIGHTS_CHANGED)
    for made_of_small in (point, noisy):
        with pytest.raises(UserError, match="not of lab:a-medium"):
            ancestry(ref("lab:a-medium"), [made_of_small], [None])
    assert used == [None] * 4  # a corpus of some models alone would hold out nothing


def test_what_is_gone_is_not_known(made: Any, moved: Any) -> None:
    base, model = ref(BASE), ref(made["model"].path)
    moved("sampled")
    assert ancestry(base, [model], [made["audited"]])[0][0].lineage == "known"
    (known,), _ = ancestry(base, [model], [made["other"]])  # it might be what the audit was made from
    assert known.lineage is None and known.reason == Reason.CORPUS_GONE
    moved("subset")
    (known,), used = ancestry(base, [model], [None])
    assert known.lineage is None and known.reason == Reason.TRAINING_SET_GONE and used == [None]
    with pytest.raises(UserError, match="not of lab:a-medium"):
        ancestry(ref("lab:a-medium"), [model], [None])


def test_a_shuffled_training_set_has_the_corpus_of_what_was_shuffled(made: Any, tmp_path: Path) -> None:
    shuffled = controls.shuffle(made["subset"], controls.ShuffleConfig(), tmp_path)
    model = ref(trained(BASE, shuffled, tmp_path).path)
    (known,), _ = ancestry(ref(BASE), [model], [made["audited"]])
    assert known.lineage == "known"
