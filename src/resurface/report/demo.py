"""The demo in words and tables: a self-training (or its sweeps) and a matrix."""

from __future__ import annotations

from typing import Any

from resurface.compatibility.results import StudyResult
from resurface.report import format, study, sweep
from resurface.report import run as training
from resurface.report.format import table
from resurface.report.reasons import said

Table = tuple[str, list[str], list[list[str]]]

_STORY = (
    "The student, lab:a-medium, was trained from nothing on a corpus whose every token is known: facts about "
    "people, sums, grammar, stories, and passages of random words planted a known number of times.",
    "It then wrote its own training text, from its start token alone, and was trained on that alone.",
)


def tables(found: dict[str, Any]) -> list[Table]:
    """(title, header, rows) of everything that was measured."""
    out: list[Table] = []
    if (run := found.get("self_training")) is not None:
        out.append(("Capability (change against base, 95% interval)", *training.score_cells(run)))
        out.append(("Planted passages recited word for word", *training.extraction_cells(run)))
    for key, title in (("seeds", "One recipe, several seeds"), ("frontier", "What can be chosen")):
        if key in found:
            out.append((title, *sweep.cells(found[key])))
    title = "Source x student: change of mean accuracy in points, 95% interval"
    return [*out, (title, *study.gain_cells(_matrix(found)))]


def words(found: dict[str, Any]) -> list[str]:
    """The result in plain sentences."""
    out = list(_STORY)
    if (run := found.get("self_training")) is not None:
        out += training.lines(run)
    for key in ("seeds", "frontier"):
        if key in found:
            out += sweep.lines(found[key])
    out.append("Then several models' texts were given to several students, the same bytes of each:")
    return out + study.lines(_matrix(found))


def markdown(found: dict[str, Any]) -> str:
    """report.md."""
    text = ["# resurface demo", "", *(f"- {format.markdown(line)}" for line in words(found)), ""]
    for title, header, rows in tables(found):
        text += [f"## {format.markdown(title)}", "", *table(header, rows), ""]
    made = _matrix(found).provenance
    text += [f"Machine: {format.machine(made.machine)}; "]
    text += [f"commit {made.code.commit or said(made.code.reason)}."]
    text += ["Everything behind these numbers lies in the folders beside this file.", ""]
    return "\n".join(text)


def _matrix(found: dict[str, Any]) -> StudyResult:
    return StudyResult.from_json(found["matrix"])
