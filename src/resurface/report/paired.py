"""Two extractions compared (`memorization.compare`), for people."""

from __future__ import annotations

from resurface.memorization.results import PairedComparison, PairedDrop
from resurface.report.document import Document, Table
from resurface.report.format import clusters, ends_or_why, percent, percent_range, points
from resurface.report.reasons import said


def document(found: PairedComparison) -> Document:
    """Windows extracted, and what the table does not hold."""
    return Document("Windows extracted", [table(found)], lines(found))


def table(found: PairedComparison) -> Table:
    """Windows extracted, of all and of each part."""
    rows = []
    for name, part in _parts(found):
        r = part.relative
        shown = "n/a" if r.value is None else percent(r.value) + percent_range(r)
        counts = [str(n) for n in (part.windows, part.before, part.after, part.retained)]
        rows.append([name, *counts, shown])
    header = ["", "windows", "before", "after", "retained", "relative drop"]
    return Table(header, rows, caption="Windows extracted")


def lines(found: PairedComparison) -> list[str]:
    """What the table does not hold: token accuracy, near-duplicates, and notes, each once."""
    tokens = found.token_accuracy
    change = tokens.change
    if tokens.before is None or tokens.after is None or change.value is None:
        out = [f"Token accuracy: not measured, {said(change.reason)}."]
    else:
        out = [
            f"Token accuracy: {percent(tokens.before)} before, {percent(tokens.after)} after, "
            f"{points(change.value)} points {ends_or_why(change)}."
        ]
    if found.near_duplicates:
        out.append(
            f"{found.near_duplicates} of the windows are near-duplicates of others: "
            f"{clusters(found.clusters)}."
        )
    if found.held_out is None:
        out.append(f"Absent from the corpus: not measured, {said(found.held_out_reason)} (--corpus).")
    notes: dict[str, list[str]] = {}
    for name, part in _parts(found):
        if part.notes:
            notes.setdefault("; ".join(map(said, part.notes)), []).append(name)
    return [*out, *(f"{', '.join(of)}: {note}." for note, of in notes.items())]


def _parts(found: PairedComparison) -> list[tuple[str, PairedDrop]]:
    """(name, drop) of all windows and of each part."""
    parts: list[tuple[str, PairedDrop]] = [
        ("all" if found.non_members is None else "all but non-members", found)
    ]
    if found.held_out is not None:
        parts.append(("absent from the corpus", found.held_out))
    parts += [(f"stratum {s.stratum}", s) for s in found.strata]
    return parts + [(f"kind {k.kind}", k) for k in found.kinds or ()]
