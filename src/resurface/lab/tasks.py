"""The lab's benchmark as lm-eval tasks: `lab:facts` (report split), `lab:facts/dev`, and so on."""

from __future__ import annotations

import functools
from typing import Any

from resurface.artifacts import fingerprint as _fingerprint
from resurface.errors import UserError
from resurface.lab import questions
from resurface.lab.world import make_world

PREFIX = "lab:"


def names(split: str = "report") -> tuple[str, ...]:
    """The tasks of one split, one per skill."""
    return tuple(f"{PREFIX}{s}" + ("" if split == "report" else f"/{split}") for s in questions.SKILLS)


def parse(name: str) -> tuple[str, str]:
    """Skill and split of a task name.

    Raises:
        UserError: no such skill or split.
    """
    skill, _, split = name.removeprefix(PREFIX).partition("/")
    split = split or "report"
    if skill not in questions.SKILLS or split not in questions.SPLITS:
        raise UserError(f"no lab task {name!r}", remedy="there are: " + ", ".join([*names(), *names("dev")]))
    return skill, split


@functools.cache
def rows(skill: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of a skill in the world that the shipped models know (seed 0)."""
    return questions.rows(make_world(), skill)


def fingerprint() -> str:
    """Changes when any question does."""
    return _fingerprint({skill: rows(skill) for skill in questions.SKILLS})


def config(name: str) -> dict[str, Any]:
    """lm-eval's configuration of a task, rows included; the evaluated split is its test split."""
    import datasets

    skill, split = parse(name)

    def dataset(**_: Any) -> Any:
        return datasets.DatasetDict({s: datasets.Dataset.from_list(r) for s, r in rows(skill).items()})

    return {
        "task": f"lab_{skill}_{split}",
        "custom_dataset": dataset,
        "output_type": "multiple_choice",
        "test_split": split,
        "doc_to_text": "{{query}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
