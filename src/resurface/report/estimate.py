"""What a study would do, in words: its design, what of it is left, and the expected time."""

from __future__ import annotations

from resurface.compatibility.plan import Design, NotMeasured, StudyEstimate, Timing
from resurface.compatibility.results import ContrastPower, Power
from resurface.progress import duration
from resurface.report.document import Document, Table
from resurface.report.format import Cells, counted, p_value
from resurface.report.reasons import said

_UNITS = {
    "sample": "tokens",
    "evaluate": "items",
    "train": "tokens",
    "proxies": "documents",
    "predictors": "documents",
}
_PHASES = {"before": "corpora and students before", "cells": "training and evaluation"}
_UNMEASURED = {
    "length": "length of documents",
    "stages": "pieces",
    "similarity": "similarity of text and benchmark",
    "report": "statistics and report",
}


def document(found: StudyEstimate) -> Document:
    """The design, what is left of it, and the speeds that the time was worked out from."""
    caption = "Measured here: units per second + start"
    speeds = [Table(*cells(found), caption=caption)] if found.measured else []
    return Document("Estimate", speeds, [*lines(found.design), *left(found)])


def lines(d: Design) -> list[str]:
    """A design in plain sentences: its size, and what it can show."""
    drawn = d.sampled
    size = f"{drawn.tokens:,} tokens" if drawn.tokens is not None else f"{drawn.documents:,} documents"
    out = [
        f"{d.cells} cells: {d.sources} sources x {d.students} students x {d.subsets} subsets"
        + (f" x {d.seeds} seeds." if d.seeds > 1 else "."),
        f"To sample: {d.sources} corpora of {size}; subsets of {d.bytes:,} bytes.",
        f"To train on: {d.trained_bytes:,} bytes ({counted(d.epochs, 'epoch')}); "
        f"evaluations: {d.evaluations}"
        + (f"; pairs for predictors: {d.pairs_predicted}." if d.pairs_predicted else "."),
    ]
    return out + [_contrast(name, row, d.power) for name, row in d.power.contrasts.items()]


_CONTRASTS = {
    "self_vs_same_lineage": "Self against same lineage",
    "same_lineage_vs_other": "Same lineage against other",
    "self_vs_other": "Self against other",
}


def _contrast(name: str, row: ContrastPower, power: Power) -> str:
    """What the models of a study identify of it, on what that rests, and what it can show."""
    one, other = row.cells.values()
    rests = f"{one} and {other} pairs; {counted(row.students, 'student')} with both"
    if not row.identified:
        return f"{_CONTRASTS[name]}: not identified: {said(row.reason)} ({rests})."
    if row.smallest_p is None:
        return f"{_CONTRASTS[name]}: estimated, not tested: {said(row.reason)} ({rests})."
    least = f"smallest attainable {p_value(row.smallest_p)}"
    if row.detectable_pairs is None:
        return f"{_CONTRASTS[name]}: cannot be shown: {said(row.reason)} ({least}; {rests})."
    return (
        f"{_CONTRASTS[name]}: with runs that differ by {power.run_sd:g} points, and pairs that differ by "
        f"{power.pair_sd:g}, {row.detectable_pairs:.1f} points are shown with power {power.power:.0%} "
        f"({row.detectable:.1f} if only runs differ; {least}; {rests})."
    )


def left(found: StudyEstimate) -> list[str]:
    """What is left of a study, in plain sentences."""
    remain, d, tokens = found.remaining, found.design, found.tokens
    out = [
        f"Finished: {d.cells - remain.cells} of {d.cells} cells, "
        f"{d.sources - remain.corpora} of {d.sources} corpora; remaining: {remain.cells} cells."
    ]
    if not remain.any:
        return [*out, "Nothing remains to be computed; the same command puts the matrix together."]
    out.append(
        f"Remaining: {tokens.sampled:,} tokens to sample; about "
        + (f"{tokens.trained:,}" if tokens.trained is not None else "an unknown number of")
        + f" tokens to train on ({counted(remain.trainings, 'training')}); "
        f"{found.items:,} items to evaluate ({counted(remain.evaluations, 'evaluation')})"
        + (f"; {remain.pairs_predicted} pairs for predictors." if remain.pairs_predicted else ".")
    )
    times = dict(found.seconds)
    if (total := times.pop("total")) is None:
        out.append("Expected time: not measured.")
    else:
        parts = "; ".join(
            f"{_PHASES.get(phase, phase)} {'not measured' if s is None else duration(s)}"
            for phase, s in times.items()
            if s != 0
        )
        out.append(
            f"Expected time with {counted(found.workers, 'worker')}: "
            f"{'more than' if found.incomplete else 'about'} {duration(total)} ({parts}), "
            f"from a measurement of {duration(found.measurement_s)}."
        )
    return out + [f"Not measured: {_unmeasured(each)} ({said(each.reason)})." for each in found.not_measured]


def _unmeasured(each: NotMeasured) -> str:
    what = _UNMEASURED.get(each.what, each.what)
    return f"{what} of {each.model}" if each.model is not None else what


def cells(found: StudyEstimate) -> Cells:
    """Header and rows: speed of every model in every stage that was timed."""
    stages = [s for s in _UNITS if any(s in rows for rows in found.measured.values())]

    def speed(row: Timing | None) -> str:
        if row is None or row.per_unit_s is None:
            return "-"
        start = f"{row.fixed_s:.1f} s"
        return f"{1 / row.per_unit_s:,.0f}/s + {start}" if row.per_unit_s else start

    rows = [[m, *(speed(of.get(s)) for s in stages)] for m, of in found.measured.items()]
    return ["model", *(f"{s} ({_UNITS[s]})" for s in stages)], rows
