"""What names with the prefix `lab:` stand for (see `resurface.providers`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resurface import lab
from resurface.lab import corpora, passages, settings, tasks, world
from resurface.lab.phrasing import PHRASINGS

_UNREAD = {"fresh": 60_000, "test": 1_000}
"""Documents of ordinary text: fresh, as much as half a pretraining corpus; test, some 50,000 tokens."""


def model(name: str) -> Path:
    """Directory of a shipped model."""
    return lab.shipped(name)


def texts(name: str) -> list[tuple[str, str, str]]:
    """Planted passages (lab:FAMILY), or ordinary documents that no model has read (/fresh, /test)."""
    bare, setting = settings.split(name)
    family, _, split = bare.removeprefix(tasks.PREFIX).partition("/")
    if split not in _UNREAD or family not in PHRASINGS:
        return [(p.passage_id, p.text, p.stratum) for p in passages.of(name)]
    known = world.make_world(setting.seed, setting.people)
    made = corpora.unseen(known, family, round(_UNREAD[split] * setting.scale), split)
    return [(f"{family}/{split}/{i:06d}", text, split) for i, text in enumerate(made)]


def check_task(name: str) -> None:
    """Raise UserError if there is no such skill, split or world."""
    tasks.parse(name)


def task(name: str) -> dict[str, Any]:
    """lm-eval's configuration of a task, rows included."""
    return tasks.config(name)


def tasks_fingerprint(names: Iterable[str]) -> str:
    """Changes when any question of the worlds of these tasks does."""
    return tasks.fingerprint(names)


def choices(name: str) -> int | None:
    """Choices of each item of a skill."""
    return tasks.CHOICES[tasks.parse(name)[0]]
