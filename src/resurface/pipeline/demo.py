"""The embedded default: the findings, small, on models whose pretraining data is known.

recipe `lab`   self-trains lab:a-medium; capability and planted passages before and after
study `demo`   three sources for three students: self, same lineage, another family
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from resurface import artifacts, progress
from resurface.pipeline.matrix import study
from resurface.pipeline.running import run
from resurface.recipe import load_recipe, load_study
from resurface.report import matrix as matrix_report
from resurface.report import summary as summary_report
from resurface.report.summary import table


def demo(out: str | Path | None = None, *, full: bool = False) -> dict[str, Any]:
    """Run the demo into `out` (default runs/demo); the same command continues it.

    full: the complete design (recipe `lab-full`, study `lab`): hours, not minutes.

    Returns {"self_training": the run's summary, "matrix": the study's, "report": a path}.
    """
    root = Path(out) if out is not None else Path("runs") / ("demo-full" if full else "demo")
    progress.note("== part 1 of 2: self-training")
    summary = run(load_recipe("lab-full" if full else "lab"), root / "self-training")
    progress.note("== part 2 of 2: a source x student matrix")
    found = study(load_study("lab" if full else "demo"), root / "matrix")
    result = {"self_training": summary, "matrix": found, "report": str(root / "report.md")}
    artifacts.atomic_write(root / "demo.json", json.dumps(result, indent=1) + "\n")
    artifacts.atomic_write(root / "report.md", _report(summary, found))
    return result


def words(result: dict[str, Any]) -> list[str]:
    """The result in plain sentences."""
    return [
        "Self-training:",
        *(f"  {line}" for line in summary_report.lines(result["self_training"])),
        "Matrix (change of mean accuracy, in points):",
        *(f"  {line}" for line in matrix_report.lines(result["matrix"])),
    ]


def _report(summary: dict[str, Any], found: dict[str, Any]) -> str:
    text = ["# resurface demo", "", "## Self-training", ""]
    text += [f"- {line}" for line in summary_report.lines(summary)]
    text += ["", *table(*summary_report.score_cells(summary)), ""]
    text += table(*summary_report.extraction_cells(summary))
    text += ["", "## Source x student", "", "Gain in points of mean accuracy, 95% interval.", ""]
    text += table(*matrix_report.gain_cells(found))
    text += ["", *(f"- {line}" for line in matrix_report.lines(found)), ""]
    text += ["Everything behind these numbers: `self-training/` and `matrix/` beside this file.", ""]
    return "\n".join(text)
