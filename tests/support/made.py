"""Results that tests write by hand."""

from __future__ import annotations

from typing import Any

from resurface.memorization.results import Drop, ReplicateDrops
from resurface.results import OverallChange, SweepPoint, SweepResult, TaskChange
from resurface.stats.estimate import Estimate

MADE = {
    "created": "2026-01-01T00:00:00+00:00",
    "code": {"commit": "x", "dirty": False},
    "machine": {
        "os": "Linux",
        "python": "3",
        "cpu": "c",
        "cores": 1,
        "memory_gib": None,
        "accelerator": None,
    },
    "packages": {},
}


def extraction(*, held_out: bool = False, **drop: Any) -> ReplicateDrops:
    """Of 60 windows 3 are left, on average over two seeds. drop: what is otherwise."""
    known: dict[str, Any] = {
        "windows": 435, "before": 60, "after": 3.0, "after_each": (2, 4), "clusters_before": 60,
        "relative": Estimate(0.95, 0.88, 0.98),
    }  # fmt: skip
    of = Drop(**known | drop)
    return ReplicateDrops(all=of, held_out=of if held_out else None, strata=(), non_members=None)


def overall(change: float, low: float | None = None, high: float | None = None, **more: Any) -> OverallChange:
    """A change; without ends an interval of no width."""
    ends = Estimate(change, change if low is None else low, change if high is None else high)
    known = {"base": 0.5, "mean": 0.5 + change, "each": (change,), "item_variance": 0.0}
    return OverallChange(change=ends, **known | more)


def task(change: float, **more: Any) -> TaskChange:
    """The same of a task of nine items."""
    return TaskChange(**dict(overall(change)) | {"n": 9, "uninformative": None} | more)


def sweep_point(change: OverallChange, **more: Any) -> SweepPoint:
    """A point of one task, of the same change, without extraction."""
    known: dict[str, Any] = {
        "settings": {}, "seeds": (0, 1), "tasks": {}, "overall": change, "extraction": None,
        "informative": {"change": None, "reason": "all_tasks_informative"}, "artifacts": (),
        "on_frontier": False,
    }  # fmt: skip
    return SweepPoint(**known | more)


def sweep_result(*points: SweepPoint, **settings: Any) -> SweepResult:
    """A sweep `s` of two seeds."""
    return SweepResult(
        sweep={"name": "s", "seeds": [0, 1], **settings}, command=None, provenance=MADE, workers=1,
        points=points,
    )  # fmt: skip
