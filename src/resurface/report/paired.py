"""Two extractions compared (`memorization.compare`), for people."""

from __future__ import annotations

from typing import Any

from resurface.report.format import Table, bounds, clusters, percent, percent_range, points, printable


def table(found: dict[str, Any]) -> Table:
    """Windows recited, of all and of each part."""
    rows = []
    for name, part in _parts(found):
        drop = part["relative_drop"]
        shown = "n/a" if drop is None else percent(drop) + percent_range(part)
        counts = [str(part[k]) for k in ("windows", "before", "after", "retained")]
        rows.append([name, *counts, shown])
    return "Windows recited", ["", "windows", "before", "after", "retained", "relative drop"], rows


def lines(found: dict[str, Any]) -> list[str]:
    """What the table does not hold: token accuracy, near-duplicates, and notes, each once."""
    tokens = found["token_accuracy"]
    out = [
        f"Token accuracy: {percent(tokens['before'])} before, {percent(tokens['after'])} after, "
        f"{points(tokens['change'])} points"
    ]
    if tokens["low"] is None:
        out[0] += f" ({tokens['reason']})."
    else:
        out[0] += f" {bounds(tokens)}."
    if found["near_duplicates"]:
        out.append(
            f"{found['near_duplicates']} of the windows are near-duplicates of others: {clusters(found)}."
        )
    if found["held_out"] is None:
        out.append(f"Held out: not told, {found['held_out_reason']} (--corpus).")
    notes: dict[str, list[str]] = {}
    for name, part in _parts(found):
        if part["note"] is not None:
            notes.setdefault(part["note"], []).append(name)
    return [printable(x) for x in [*out, *(f"{', '.join(of)}: {note}." for note, of in notes.items())]]


def _parts(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    parts = [("all", found)] if found["non_members"] is None else [("all but non-members", found)]
    if found["held_out"] is not None:
        parts.append(("held out", found["held_out"]))
    parts += [(f"stratum {s['stratum']}", s) for s in found["strata"]]
    return parts + [(f"kind {k['kind']}", k) for k in found["kinds"] or ()]
