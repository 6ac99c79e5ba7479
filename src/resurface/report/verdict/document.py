"""A verdict in words, tables and figures; every number comes from verdict.json."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import partial

from resurface.memorization.results import Curves, RelearningCurve
from resurface.report import controls
from resurface.report.document import Code, Document, Figure, Text
from resurface.report.figures import curves
from resurface.report.format import provenance
from resurface.report.verdict.sentences import lines
from resurface.report.verdict.tables import sections
from resurface.results import Verdict


def document(found: Verdict) -> Document:
    """Sentences, tables of everything that was measured, and figures."""
    treated: list[str | Code] = []
    for one in found.treated:
        treated += [", " if treated else "; treated: ", Code(one)]
    command: list[Text] = []
    if found.command is not None:  # none where it was called from Python
        command = [("command: ", Code(shlex.join(found.command)))]
    return Document(
        "Verdict",
        [
            *sections(found),
            *_figures(found),
            provenance(found.provenance, *command),
        ],
        summary=[("Base: ", Code(found.base), *treated, "."), *lines(found)],
    )


def _figures(found: Verdict) -> Iterator[Figure]:
    yield Figure("sampling.svg", "sampling", partial(_sampling_figure, found.scorecard.curve))
    if found.relearning is not None:
        yield Figure("relearning.svg", "relearning", partial(_relearning_figure, found.relearning))
    if found.controls is not None:
        yield from controls.figures(found.controls, "controls.svg", "control arms")


def _sampling_figure(found: Curves) -> str:
    series = []
    for name, curve in (("", found.members), ("non-members, ", found.floor)):
        if curve is not None:
            n = [p.n for p in curve.points]
            series.append((f"{name}before", n, [100 * p.before for p in curve.points]))
            series.append((f"{name}after", n, [100 * p.after for p in curve.points]))
    return curves(series, x="samples of each window", y="windows expected among them, %", log=True)


def _relearning_figure(relearning: RelearningCurve) -> str:
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
    return curves(shown, x="steps on other memorized windows", y="held-back windows extracted, %")
