"""Every report under results/ is what today's code writes of the numbers beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resurface.report.kinds import KINDS
from resurface.report.markdown import markdown

RESULTS = Path(__file__).parents[2] / "results"
OLD = "lab/relearning-dev/"
"""Development files of a format that was never released; what they lack was not kept."""
REPORTS = sorted(p.relative_to(RESULTS).as_posix() for p in RESULTS.rglob("report.md"))
REPORTS = [r for r in REPORTS if not r.startswith(OLD)]


def test_reports_are_there():
    assert len(REPORTS) > 10


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_what_its_numbers_say(name):
    report = RESULTS / name
    (source,) = (p for p in report.parent.glob("*.json") if p.name in KINDS)
    kind = KINDS[source.name]
    document = kind.document(kind.read(json.loads(source.read_text())))
    assert markdown(document) == report.read_text()
    for figure in document.figures():
        assert (report.parent / figure.file).is_file()
