"""Benchmarks by name: their tasks, their rows out of an asset, every text of theirs for the audit."""

from resurface.benchmarks.tasks import (
    ASSET,
    PREFIX,
    asset_tasks,
    audit_only,
    check_tasks,
    load_tasks,
    manager,
    missing_splits,
    prompt_and_gold,
    prompt_then_gold,
    prompts_and_answers,
    runs_code,
)

__all__ = [
    "ASSET",
    "PREFIX",
    "asset_tasks",
    "audit_only",
    "check_tasks",
    "load_tasks",
    "manager",
    "missing_splits",
    "prompt_and_gold",
    "prompt_then_gold",
    "prompts_and_answers",
    "runs_code",
]
