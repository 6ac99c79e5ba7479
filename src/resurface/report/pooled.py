"""Pooled sweeps (`workflows.pooling`) in words and a table."""

from __future__ import annotations

from resurface.report.capability import change, marked, shown, without
from resurface.report.document import Code, Document, Paragraph, Table
from resurface.report.format import counted, percent_ends
from resurface.report.reasons import said
from resurface.results import OverallChange, Pooled


def lines(found: Pooled) -> list[str]:
    """What all sweeps together show, in plain sentences."""
    overall, machines = found.overall, list(dict.fromkeys(found.machines.values()))
    out = [
        f"{counted(len(found.files), 'sweep')}, {counted(len(found.seeds), 'seed')}, "
        f"{counted(len(machines), 'machine')}: the same seed on another machine is no new evidence, so "
        "results of a seed are averaged over machines; intervals (95%) are for new seeds and new items, on "
        "these machines."
    ]
    text = f"Mean capability: {change(overall)} points"
    if isinstance(overall, OverallChange) and overall.change.known:
        text += f": {shown(overall.change)}"
    out.append(f"{text}.")
    out += without(marked(found.tasks), found.informative)
    if (apart := found.machine_difference) is not None:
        out.append(f"{machines[1]} minus {machines[0]}, the same seeds: {change(apart)} points.")
    if (e := found.extraction) is not None:
        drop = e.relative_drop
        out.append(
            f"Of {counted(e.windows, 'window')} {e.before} were extracted, now {e.after:.1f}: "
            f"{drop.value:.0%} fewer {percent_ends(drop)}."
        )
    if found.duplicates:
        out.append(f"Counted once, as the files repeat each other: {', '.join(found.duplicates)}.")
    return out


def document(found: Pooled) -> Document:
    """Sentences, and a row per task."""
    rows = [
        [t, str(r.n), f"{r.base:.3f}", change(r), said(r.uninformative) if r.uninformative else ""]
        for t, r in found.tasks.items()
    ]
    base = f"{found.overall.base:.3f}" if isinstance(found.overall, OverallChange) else "n/a"
    rows.append(["mean", "", base, change(found.overall), ""])
    files: list[str | Code] = ["Files: "]
    for file in found.files:
        files += [Code(file), ", "]
    return Document(
        "Pooled",
        [
            Table(["task", "items", "before", "change, points", ""], rows),
            Paragraph((*files[:-1], "."), detail=True),
        ],
        summary=lines(found),
    )
