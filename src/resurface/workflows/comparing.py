"""Two measurements of the same items: scores of two evaluations, or two extractions, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resurface import memorization
from resurface.artifacts import Artifact
from resurface.errors import UserError
from resurface.memorization.results import PairedComparison
from resurface.stages import evaluation
from resurface.stats.paired_items import ScoreComparison, compare_items
from resurface.workflows.stages import Given, given

_LISTED = 5
"""Items named in an error."""


def compare(
    a: Given, b: Given, *, non_members: Sequence[str] = ("never",)
) -> ScoreComparison | PairedComparison:
    """What changed from A to B: two artifacts of `evaluate`, or two of `extract`, on the same items.

    Scores: of each task's headline metric, see `stats.paired_items`. Extractions: see `memorization.compare`;
    non_members: strata that no model was trained on, which are counted apart.

    Raises:
        UserError: artifacts of other stages, or one of each; the same model twice; items or versions of tasks
            that differ; windows or start tokens that differ.
    """
    before, after = given(a), given(b)
    for one in (before, after):
        if one.stage not in ("evaluate", "extract"):
            raise UserError(
                f"{one.path} was made by stage {one.stage}: it has no items to compare",
                remedy="name two artifacts of evaluate, or two of extract",
            )
    if before.stage != after.stage:
        raise UserError(
            f"{before.path} holds {before.stage} rows, {after.path} {after.stage} rows",
            remedy="name two artifacts of evaluate, or two of extract",
        )
    if _measured(before) == _measured(after):
        raise UserError(
            f"{before.path} and {after.path} are of the same model: there is nothing to compare",
            remedy="name what was measured of two models",
        )
    if before.stage == "extract":
        return memorization.compare(before, after, non_members)
    return _scores(before, after)


def _measured(a: Artifact) -> tuple[Any, Any]:
    """Model and precision."""
    return a.inputs["model"].fingerprint, a.config.get("dtype")


def _scores(before: Artifact, after: Artifact) -> ScoreComparison:
    _asked_the_same(before, after)
    sides = [evaluation.items(x) for x in (before, after)]
    named = [dict.fromkeys(task for task, _ in side) for side in sides]
    metrics = {
        task: evaluation.headline_metric([m for side in sides for t, m in side if t == task])
        for task in named[0] | named[1]
    }
    old, new = (
        {t: side.get((t, metrics[t]), {}) for t in tasks} for side, tasks in zip(sides, named, strict=True)
    )
    return compare_items(old, new, metrics)


def _asked_the_same(before: Artifact, after: Artifact) -> None:
    """Raise one UserError with everything by which the tasks of both differ."""
    causes = [
        f"{what} {old} and {new}"
        for what, old, new in zip(
            ("lm_eval", "benchmark rows", "num_fewshot"), _version(before), _version(after), strict=True
        )
        if old != new and None not in (old, new)
    ]
    hashes = [evaluation.item_hashes(x) for x in (before, after)]
    both = [t for t in hashes[0] if t in hashes[1]]
    causes += [cause for t in both if (cause := _other_items(t, hashes[0][t], hashes[1][t]))]
    if not both:
        causes.append(f"no task in common ({', '.join(hashes[0])}; {', '.join(hashes[1])})")
    elif not any(hashes[0][t].keys() & hashes[1][t].keys() for t in both):
        causes.append("no item in common")
    if causes:
        raise UserError(
            f"{before.path} and {after.path} were asked other items: {'; '.join(causes)}",
            remedy="evaluate both with the same tasks, limits and versions",
        )


def _version(scores: Artifact) -> tuple[str | None, ...]:
    """lm-eval, the rows of asset: tasks (None: there are none), examples in the prompt."""
    inputs = scores.inputs
    rows = inputs["rows"].fingerprint if "rows" in inputs else None
    shots = scores.config.get("num_fewshot")  # 0 is none, and not what the task says
    return inputs["lm_eval"].fingerprint, rows, "by the task" if shots is None else str(shots)


def _other_items(task: str, before: Mapping[int, str], after: Mapping[int, str]) -> str | None:
    other = sorted(i for i in before.keys() & after.keys() if before[i] != after[i])
    if not other:
        return None
    named = ", ".join(map(str, other[:_LISTED])) + (", ..." if len(other) > _LISTED else "")
    return f"{task}: {len(other)} items that differ ({named})"
