"""Stage `evaluate`: score a model on lm-eval tasks and keep every item.

reads   a model            writes   evaluate/<name>-<fp8>/items-<task>.parquet
run     resurface evaluate smollm2-135m-instruct --tasks asset:piqa --limit 200

lm-eval does the scoring. One table per task, written when the task is done, so that a killed run
continues at the next task. Aggregates are derived from the items, never stored beside them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from resurface import artifacts, benchmarks, progress
from resurface.artifacts import Artifact
from resurface.config import Config
from resurface.errors import UserError
from resurface.tables import read_parquet, write_parquet

STAGE_VERSION = 1
_SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("doc_id", pa.int64()),
        ("doc_hash", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)


class EvaluateConfig(Config):
    """Which tasks, and how many items of each."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """lm-eval tasks by name (rows from the hub), or asset:NAME (no hub needed)."""
    limit: int | None = Field(default=None, gt=0)
    """Items per (sub)task; all by default."""
    limit_seed: int | None = Field(default=None, ge=0)
    """Choose the limited items at random with this seed; by default the first, as lm-eval does."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Examples in the prompt (default: the task's own)."""
    batch_size: int = Field(default=16, gt=0)
    """Requests per forward pass."""
    confirm_run_unsafe_code: bool = False
    """Let tasks such as HumanEval execute code that the model wrote, on this machine."""


def evaluate(
    model_dir: Path,
    model_fingerprint: str,
    cfg: EvaluateConfig,
    out: str | Path,
    *,
    name: str = "scores",
    dtype: str = "float32",
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> Artifact:
    """Score the model in `model_dir`.

    Items have one row per (item, metric): task, doc_id (position in the task's split), doc_hash,
    metric (`acc`, `acc_norm`, `exact_match/strict-match`, ...), value. Where the gold answer is
    scored by likelihood, `gold_logprob_per_byte` is added: its log-probability (nats) per UTF-8 byte.

    Raises:
        UserError: unknown task, rows that cannot be loaded, a task that executes generated code
            without leave, few-shot examples that are not there.
    """
    config = cfg.model_dump(mode="json") | {"dtype": dtype}
    inputs = {"model": {"fingerprint": model_fingerprint, "path": str(model_dir)}}
    with artifacts.build(out, "evaluate", name, version=STAGE_VERSION, config=config, inputs=inputs) as b:
        if b.artifact is not None:
            return b.artifact
        _quiet()
        tasks: dict[str, Any] = {}
        for wanted in cfg.tasks:
            tasks |= benchmarks.load_tasks(wanted, cfg.num_fewshot)
        for task_name, task in tasks.items():
            if getattr(task, "UNSAFE_CODE", False) and not cfg.confirm_run_unsafe_code:
                raise UserError(
                    f"task {task_name} executes code that the model writes",
                    remedy="in a sandbox, allow it with --confirm-run-unsafe-code",
                )
        files = {n: f"items-{n.replace(':', '-').replace('/', '-')}.parquet" for n in tasks}
        left = [n for n in tasks if not (b.path / files[n]).exists()]
        lm: Any = _load(model_dir, dtype, device, cfg.batch_size, trust_remote_code) if left else None
        for i, task_name in enumerate(left, start=len(tasks) - len(left) + 1):
            lm.label = f"{task_name} ({i} of {len(tasks)} tasks)"
            rows = _run_task(lm, task_name, tasks[task_name], cfg)
            write_parquet(pa.Table.from_pylist(rows, schema=_SCHEMA), b.path / files[task_name])
            b.save_state()
        items = {
            n: len(set(read_parquet(b.path / f, ["doc_id"])["doc_id"].to_pylist())) for n, f in files.items()
        }
        return b.finish({"tasks": len(tasks), "items": items}, keep=set(files.values()))


def _load(model_dir: Path, dtype: str, device: str, batch_size: int, trust_remote_code: bool) -> Any:
    from lm_eval.models.huggingface import HFLM

    class Scorer(HFLM):
        """lm-eval's own model with our progress: rows of forward passes out of requests."""

        bar: progress.Task | None = None
        label = ""

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
            with progress.task(self.label, len(requests), "requests") as self.bar:
                return super().loglikelihood(requests, disable_tqdm=True)

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
            with progress.task(self.label, len(requests), "requests") as self.bar:
                return super().generate_until(requests, disable_tqdm=True)

        def _model_call(self, inps: Any, *args: Any, **kwargs: Any) -> Any:
            logits = super()._model_call(inps, *args, **kwargs)
            if self.bar is not None:
                self.bar.advance(len(inps))
            return logits

        def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
            ids = super()._model_generate(context, *args, **kwargs)
            if self.bar is not None:
                self.bar.advance(len(context))
            return ids

    return Scorer(
        pretrained=str(model_dir), dtype=dtype, device=device, batch_size=batch_size,
        trust_remote_code=trust_remote_code, use_safetensors=True,
    )  # fmt: skip


def _quiet() -> None:
    for logger in ("lm_eval", "lm-eval", "datasets"):
        logging.getLogger(logger).setLevel(logging.ERROR)


def choose_items(n: int, limit: int | None, seed: int | None) -> list[int] | None:
    """Positions of the items to score; None for all of n."""
    if limit is None or limit >= n:
        return None
    if seed is None:
        return list(range(limit))
    return sorted(np.random.default_rng(seed).choice(n, limit, replace=False).tolist())


def _run_task(lm: Any, name: str, task: Any, cfg: EvaluateConfig) -> list[dict[str, Any]]:
    import lm_eval

    if cfg.num_fewshot is not None:
        task.set_config(key="num_fewshot", value=cfg.num_fewshot)
    own = task.config.task
    chosen = choose_items(len(task.eval_docs), cfg.limit, cfg.limit_seed)
    found = lm_eval.simple_evaluate(
        model=lm,
        tasks=[task],
        samples={own: chosen} if chosen is not None else None,
        log_samples=True,
        bootstrap_iters=0,
        confirm_run_unsafe_code=cfg.confirm_run_unsafe_code,
        verbosity="ERROR",
    )
    samples = found["samples"][own]
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for s in samples:
        for metric, value in _metrics(s, task):
            key = (int(s["doc_id"]), metric)
            rows[key] = {
                "task": name, "doc_id": key[0], "doc_hash": s["doc_hash"], "metric": metric, "value": value,
            }  # fmt: skip
    return [rows[k] for k in sorted(rows)]


def _metrics(sample: dict[str, Any], task: Any) -> Iterator[tuple[str, float | None]]:
    """(metric, value) of one item; values that are not a number per item are left out."""
    several = sample.get("filter", "none") != "none"
    for metric in sample["metrics"]:
        value = sample.get(metric)
        if metric == "perplexity":  # lm-eval keeps the log-likelihood under this name
            metric = "logprob"
        if isinstance(value, bool | int | float | np.number):
            number = float(value)
            yield (
                f"{metric}/{sample['filter']}" if several else metric,
                number if math.isfinite(number) else None,
            )
    gold = gold_logprob_per_byte(sample, task)
    if gold is not None:
        yield "gold_logprob_per_byte", gold


def gold_logprob_per_byte(sample: dict[str, Any], task: Any) -> float | None:
    """Log-probability of the gold continuation in nats per UTF-8 byte, or None where there is none."""
    if task.OUTPUT_TYPE not in ("multiple_choice", "loglikelihood"):
        return None
    arguments, answers = sample["arguments"], sample["filtered_resps"]
    gold = 0
    if task.OUTPUT_TYPE == "multiple_choice":
        target = sample["target"]
        if task.multiple_input:  # WinoGrande: one continuation after several contexts
            target = task.doc_to_text(sample["doc"])
        try:
            gold = int(target)
        except (TypeError, ValueError):
            return None
    if not 0 <= gold < len(answers):
        return None
    text = arguments[gold][1]
    answer = answers[gold]
    logprob = float(answer[0] if isinstance(answer, list | tuple) else answer)
    return logprob / len(text.encode()) if text and math.isfinite(logprob) else None


def aggregate(artifact: Artifact) -> list[dict[str, Any]]:
    """One row per (task, metric): mean, standard error of the mean, n (items that have it)."""
    rows = []
    for file in sorted(n for n in artifact.manifest["files"] if n.startswith("items-")):
        table = read_parquet(artifact.path / file).to_pylist()
        for metric in sorted({r["metric"] for r in table}):
            values = np.array([r["value"] for r in table if r["metric"] == metric and r["value"] is not None])
            n = len(values)
            rows.append(
                {
                    "task": table[0]["task"],
                    "metric": metric,
                    "mean": float(values.mean()) if n else None,
                    "stderr": float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else None,
                    "n": n,
                }
            )
    return rows
