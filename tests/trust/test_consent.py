"""Consent to run foreign code: of the command line and of a call's own argument, never of a file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from resurface import specs, workflows
from resurface.benchmarks import task_code
from resurface.cli import main
from resurface.compatibility.predict import PredictorsConfig
from resurface.errors import UserError
from resurface.memorization import Attacks
from resurface.models import ModelConfig
from resurface.stages.evaluation import EvaluateConfig
from resurface.trust.consent import Consent
from resurface.workflows import replaying
from resurface.workflows.ranking import candidates

EVERYTHING = Consent(remote_code=True, generated_code=True)


@pytest.fixture
def armed(tiny_model_dir: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A model whose own code writes a file when it is imported, and that file."""
    path, marker = tmp_path / "armed", tmp_path / "it-ran"
    shutil.copytree(tiny_model_dir, path)
    (path / "own.py").write_text(
        f"open({str(marker)!r}, 'a').close()\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    config = json.loads((path / "config.json").read_text())
    config |= {"model_type": "own", "architectures": ["OwnModel"]}
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (path / "config.json").write_text(json.dumps(config))
    return path, marker


def smoke(model: str, **change: Any) -> dict[str, Any]:
    data = yaml.safe_load(specs.presets()["smoke"])
    data["model"] = {"id": model, **change}
    return data


STUDY = {
    "name": "s",
    "sources": [{"id": "lab:a-small"}, {"id": "lab:b-medium"}],
    "students": [{"id": "lab:a-small"}, {"id": "lab:b-medium"}],
    "audit": {"benchmarks": ["lab:facts"]},
    "subset": {"bytes": 1000},
    "evaluate": {"tasks": ["lab:facts"]},
}


def _study(tmp: Path) -> Any:
    students = [{"id": "lab:a-small", "trust_remote_code": True}, {"id": "lab:b-medium"}]
    return specs.load_study(written(tmp, STUDY | {"students": students}))


def _sweep(keys: dict[str, Any]) -> Callable[[Path], Any]:
    def load(tmp: Path) -> Any:
        sweep = specs.load_sweep(written(tmp, {"name": "s", "recipe": "smoke", **keys}))
        return [sweep.recipe_of(p, 0) for p in sweep.points()]

    return load


def _attacks(tmp: Path) -> Any:
    never = {"id": "lab:a-small", "trust_remote_code": True}
    return specs.load_attacks(written(tmp, {"never_saw": never}))


def _arm(tmp: Path) -> Any:
    arm = {"name": "x", "kind": "model", "model": {"id": "lab:a-small", "trust_remote_code": True}}
    return specs.load_recipe(written(tmp, smoke("m") | {"controls": {"arms": [arm]}}))


def written(tmp: Path, data: dict[str, Any]) -> str:
    file = tmp / "given.yaml"
    file.write_text(yaml.safe_dump(data))
    return str(file)


WAYS: dict[str, Callable[[Path], Any]] = {
    "recipe": lambda tmp: specs.load_recipe(written(tmp, smoke("m", trust_remote_code=True))),
    "recipe, tasks": lambda tmp: specs.load_recipe(
        written(tmp, smoke("m") | {"evaluate": {"tasks": ["piqa"], "confirm_run_unsafe_code": True}})
    ),
    "set": lambda tmp: specs.load_recipe("smoke", overrides=["model.trust_remote_code=true"]),
    "a word for true": lambda tmp: specs.load_recipe("smoke", overrides=["model.trust_remote_code='yes'"]),
    "study, one model": _study,
    "sweep, change": _sweep({"change": {"model.trust_remote_code": True}}),
    "sweep, cases": _sweep({"cases": {"a": {"evaluate.confirm_run_unsafe_code": True}}}),
    "attacks": _attacks,
    "arm": _arm,
    "python": lambda tmp: ModelConfig(id="m", trust_remote_code=True),  # type: ignore[call-arg]
    "manifest": lambda tmp: Attacks.model_validate({"never_saw": {"id": "m", "trust_remote_code": True}}),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_data_consents(way: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pass --(trust-remote-code|confirm-run-unsafe-code) on the command"):
        WAYS[way](tmp_path)


def test_what_older_files_say_is_still_read(tmp_path: Path) -> None:
    file = written(tmp_path, smoke("m", trust_remote_code=False))
    assert specs.load_recipe(file).model == ModelConfig(id="m")


def test_consent_reaches_every_part_and_no_file() -> None:
    study = specs.Study.model_validate(STUDY).allow(EVERYTHING)
    held = [*study.sources, *study.students]
    assert all(m.trust_remote_code for m in held) and study.evaluate.confirm_run_unsafe_code
    again = pickle.loads(pickle.dumps(study))  # what a worker process gets
    assert all(m.trust_remote_code for m in again.sources)
    assert study.students[0].model_copy(update={"id": "x"}).trust_remote_code
    assert "trust" not in specs.to_yaml(study) and "unsafe" not in specs.to_yaml(study)
    assert specs.Study.model_validate(study.model_dump()).sources[0].trust_remote_code is False
    assert specs.Study.model_validate(STUDY).sources[0].trust_remote_code is False
    sweep = specs.Sweep(name="s", recipe="smoke", vary={"train.epochs": (1, 2)}).allow(EVERYTHING)
    made = sweep.recipe_of(sweep.points()[0], 0)
    assert made.model.trust_remote_code and made.evaluate.confirm_run_unsafe_code
    # every consent is a flag of a verb, and one of these is called by its name
    assert {f.name for f in dataclasses.fields(Consent)} == {"remote_code", "generated_code"}


def test_code_of_a_model_runs_by_the_flag_alone(
    armed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, marker = armed
    verb = ["sample", str(path), "--samples", "2", "--max-new-tokens", "4", "--min-tokens", "1"]
    assert main.main([*verb, "--out", str(tmp_path / "out")]) == 2
    assert not marker.exists()
    assert main.main([*verb, "--out", str(tmp_path / "out"), "--trust-remote-code"]) == 0
    assert marker.exists()
    out = capsys.readouterr().out
    made = next(Path(line) for line in out.splitlines() if "corpus-" in line)
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["inputs"]["model"]["trust_remote_code"] is True
    marker.unlink()
    # a manifest that was made with consent gives none
    with pytest.raises(UserError, match="runs code from its own repository"):
        replaying.replay(made, tmp_path / "again")
    assert not marker.exists()
    assert replaying.replay(made, tmp_path / "again", trust_remote_code=True).identical
    corpus = workflows.sample(
        str(path), None, tmp_path / "api", trust_remote_code=True, samples=1, max_new_tokens=2, min_tokens=1
    )
    assert corpus.counts["documents"] == 1


# ------------------------------------------------------------------------------ tasks


class Entry:
    def __init__(self, kind: str, cfg: dict[str, Any] | None = None, tags: set[str] | None = None) -> None:
        self.kind, self.cfg, self.tags = type("Kind", (), {"name": kind}), cfg, tags or set()


def test_a_group_that_holds_an_unsafe_task_is_unsafe() -> None:
    index = {
        "safe": Entry("TASK", {}),
        "code": Entry("TASK", {"unsafe_code": True}),
        "group": Entry("GROUP", {"task": ["safe", "inner"]}),
        "inner": Entry("GROUP", {"task": [{"task": "code"}, "group"]}),
        "tag": Entry("TAG", tags={"code"}),
        "plain": Entry("GROUP", {"task": "safe"}),
    }
    assert {n for n in index if task_code.runs_code(n, index)} == {"code", "group", "inner", "tag"}


def test_tasks_that_predict_need_consent_as_well() -> None:
    with pytest.raises(UserError, match="humaneval runs code"):
        candidates.check(PredictorsConfig(tasks=("humaneval",)), ())


def test_unsafe_evaluation_needs_the_flag(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from resurface.stages import evaluation

    cfg = EvaluateConfig(tasks=("humaneval",))
    with pytest.raises(UserError, match="--confirm-run-unsafe-code"):
        evaluation.load_tasks(cfg)
    asked = []
    monkeypatch.setattr(evaluation.benchmarks, "load_tasks", lambda *a, unsafe: asked.append(unsafe) or {})
    evaluation.load_tasks(cfg.allow(EVERYTHING))
    assert asked == [True]


def test_code_of_a_metric_is_fetched_by_the_flag_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import evaluate

    fetched = []
    monkeypatch.setattr(evaluate, "load", lambda path: fetched.append(path))
    with (
        pytest.raises(UserError, match="--confirm-run-unsafe-code"),
        task_code.guarded("some_task", allowed=False),
        contextlib.suppress(Exception),
    ):  # as lm-eval does, which goes on without the metric
        evaluate.load("rouge")
    assert fetched == []
    with task_code.guarded("some_task", allowed=True):
        evaluate.load("rouge")
    assert fetched == ["rouge"]


def test_nothing_here_is_read_in_place_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets
    import evaluate

    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "facts").mkdir(parents=True)
    (tmp_path / "owner" / "facts" / "train.jsonl").write_text('{"text": "planted"}\n')
    (tmp_path / "rouge").mkdir()
    (tmp_path / "rouge" / "rouge.py").write_text("open('it-ran', 'w')\n")
    with pytest.raises(UserError, match="of the working directory"), task_code.guarded("t", allowed=True):
        datasets.load_dataset("owner/facts")
    with pytest.raises(UserError, match="of the working directory"), task_code.guarded("t", allowed=True):
        evaluate.load("rouge")
    assert not (tmp_path / "it-ran").exists()
    file = tmp_path / "owner" / "facts" / "train.jsonl"
    (tmp_path / "json").mkdir()  # the name of a format, which no folder shadows
    with task_code.guarded("t", allowed=False):
        rows = datasets.load_dataset("json", data_files=str(file), cache_dir=str(tmp_path / "cache"))
    assert rows["train"]["text"][:] == ["planted"]
