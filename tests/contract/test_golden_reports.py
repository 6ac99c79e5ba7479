"""Every report under results/ is what today's code writes of the numbers beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resurface.compatibility.results import StudyResult
from resurface.report import demo, pooled, run, study, sweep
from resurface.report.verdict import write
from resurface.results import DemoResult, Pooled, RunSummary, SweepResult, Verdict

RESULTS = Path(__file__).parents[2] / "results"
WRITERS = {
    "sweep.json": lambda found, root: sweep.write(SweepResult.from_json(found), root),
    "matrix.json": lambda found, root: study.write(StudyResult.from_json(found), root),
    "verdict.json": lambda found, root: write.write(Verdict.from_json(found), root),
    "pooled.json": lambda found, root: pooled.write(Pooled.from_json(found), root),
    "demo.json": lambda found, root: (root / "report.md").write_text(
        demo.markdown(DemoResult.from_json(found))
    ),
    "summary.json": lambda found, root: run.write_report(RunSummary.from_json(found), root / "report.md"),
}
OLD = "lab/relearning-dev/"
"""Development files of a format that was never released; what they lack was not kept."""
REPORTS = sorted(p.relative_to(RESULTS).as_posix() for p in RESULTS.rglob("report.md"))
REPORTS = [r for r in REPORTS if not r.startswith(OLD)]


def test_reports_are_there():
    assert len(REPORTS) > 10


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_what_its_numbers_say(name, tmp_path):
    report = RESULTS / name
    (source,) = (p for p in report.parent.glob("*.json") if p.name in WRITERS)
    WRITERS[source.name](json.loads(source.read_text()), tmp_path)
    assert (tmp_path / "report.md").read_text() == report.read_text()
