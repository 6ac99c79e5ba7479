"""The demo in words and tables: a self-training (or its sweeps) and a matrix."""

from __future__ import annotations

from resurface.report import format, study, sweep
from resurface.report import run as training
from resurface.report.format import table
from resurface.report.reasons import said
from resurface.results import DemoResult

Table = tuple[str, list[str], list[list[str]]]

_STORY = (
    "The student, lab:a-medium, was trained from nothing on a corpus whose every token is known: facts about "
    "people, sums, grammar, stories, and passages of random words planted a known number of times.",
    "It then wrote its own training text, from its start token alone, and was trained on that alone.",
)


def tables(found: DemoResult) -> list[Table]:
    """(title, header, rows) of everything that was measured."""
    out: list[Table] = []
    if (run := found.self_training) is not None:
        out.append(("Capability (change against base, 95% interval)", *training.score_cells(run)))
        out.append(("Planted passages extracted word for word", *training.extraction_cells(run)))
    if found.seeds is not None:
        out.append(("One recipe, several seeds", *sweep.cells(found.seeds)))
    if found.frontier is not None:
        out.append(("What can be chosen", *sweep.cells(found.frontier)))
    title = "Source x student: change of mean accuracy in points, 95% interval"
    return [*out, (title, *study.gain_cells(found.matrix))]


def words(found: DemoResult) -> list[str]:
    """The result in plain sentences."""
    out = list(_STORY)
    if (run := found.self_training) is not None:
        out += training.lines(run)
    for one in found.sweeps:
        out += sweep.lines(one)
    out.append("Then several models' texts were given to several students, the same bytes of each:")
    return out + study.lines(found.matrix)


def markdown(found: DemoResult) -> str:
    """report.md."""
    text = ["# resurface demo", "", *(f"- {format.markdown(line)}" for line in words(found)), ""]
    for title, header, rows in tables(found):
        text += [f"## {format.markdown(title)}", "", *table(header, rows), ""]
    made = found.matrix.provenance
    text += [f"Machine: {format.machine(made.machine)}; "]
    text += [f"commit {made.code.commit or said(made.code.reason)}."]
    text += ["Everything behind these numbers lies in the folders beside this file.", ""]
    return "\n".join(text)
