"""A verdict on disk: report.md with words, tables and figures; every number comes from verdict.json."""

from __future__ import annotations

import shlex
from pathlib import Path

from resurface.artifacts.disk import atomic_write
from resurface.memorization.results import Curves, RelearningCurve
from resurface.report import controls
from resurface.report.figures import curves
from resurface.report.format import code, machine, markdown, table
from resurface.report.reasons import said
from resurface.report.verdict.sentences import lines
from resurface.report.verdict.tables import tables
from resurface.results import Verdict


def write(found: Verdict, root: Path) -> None:
    """report.md, sampling.svg, and relearning.svg and controls.svg where these were measured."""
    text = ["# Verdict", "", f"Base: {code(found.base)}; treated: "]
    text[-1] += ", ".join(map(code, found.treated)) + "."
    text += ["", *(f"- {markdown(line)}" for line in lines(found)), ""]
    figures = {"sampling.svg": "sampling"}
    _sampling_figure(found.scorecard.curve, root / "sampling.svg")
    if found.relearning is not None:
        figures["relearning.svg"] = "relearning"
        _relearning_figure(found.relearning, root / "relearning.svg")
    if found.controls is not None and found.controls.margins is not None:
        figures["controls.svg"] = "control arms"
        controls.figure(found.controls, root / "controls.svg")
    for title, header, rows in tables(found):
        text += [f"## {markdown(title)}", "", *table(header, rows), ""]
    text += [f"![{alt}]({file})" for file, alt in figures.items()]
    made = found.provenance
    text += ["", f"Machine: {machine(made.machine)}; "]
    text[-1] += f"commit {made.code.commit or said(made.code.reason)}."
    if found.command is not None:  # none where it was called from Python
        text.append(f"Command: {code(shlex.join(found.command))}")
    text.append("")
    atomic_write(root / "report.md", "\n".join(text))


def _sampling_figure(found: Curves, file: Path) -> None:
    series = []
    for name, curve in (("", found.members), ("non-members, ", found.floor)):
        if curve is not None:
            n = [p.n for p in curve.points]
            series.append((f"{name}before", n, [100 * p.before for p in curve.points]))
            series.append((f"{name}after", n, [100 * p.after for p in curve.points]))
    curves(series, file, x="samples of each window", y="windows expected among them, %", log=True)


def _relearning_figure(relearning: RelearningCurve, file: Path) -> None:
    rows = relearning.curve
    series: dict[str, list[float | None]] = {
        "base": [r.base for r in rows],
        "treated": [r.treated for r in rows],
        "never saw": [r.never for r in rows],
        "non-members, treated": [r.floor for r in rows],
    }
    steps = [r.step for r in rows]
    shown = [
        (name, steps, [100 * y for y in shares if y is not None])
        for name, shares in series.items()
        if None not in shares
    ]
    curves(shown, file, x="steps on other memorized windows", y="held-back windows extracted, %")
