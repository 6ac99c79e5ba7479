"""Pooled sweeps (`workflows.pooling`) in words and a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resurface.report.capability import shown, without
from resurface.report.format import change, counted, table


def lines(found: dict[str, Any]) -> list[str]:
    """What all sweeps together show, in plain sentences."""
    overall, machines = found["overall"], list(dict.fromkeys(found["machines"].values()))
    out = [
        f"{counted(len(found['files']), 'sweep')}, {counted(len(found['seeds']), 'seed')}, "
        f"{counted(len(machines), 'machine')}: the same seed on another machine is no new evidence, so "
        "results of a seed are averaged over machines; intervals (95%) are for new seeds and new items, on "
        "these machines."
    ]
    text = f"Mean capability: {change(overall)} points"
    out.append(
        f"{text}: {shown(overall['low'], overall['high'])}." if overall["low"] is not None else f"{text}."
    )
    marks = {t: r["uninformative"] for t, r in found["tasks"].items() if r["uninformative"]}
    out += without(marks, found["informative"])
    if (apart := found["machine_difference"]) is not None:
        out.append(f"{machines[1]} minus {machines[0]}, the same seeds: {change(apart)} points.")
    if (e := found["extraction"]) is not None:
        out.append(
            f"Of {counted(e['windows'], 'window')} {e['before']} were extracted, now {e['after']:.1f}: "
            f"{e['relative_drop']:.0%} fewer [{e['low']:.0%}, {e['high']:.0%}]."
        )
    if found["duplicates"]:
        out.append(f"Counted once, as the files repeat each other: {', '.join(found['duplicates'])}.")
    return out


def write(found: dict[str, Any], root: Path) -> None:
    """report.md."""
    rows = [
        [t, str(r["n"]), f"{r['base']:.3f}", change(r), r["uninformative"] or ""]
        for t, r in found["tasks"].items()
    ]
    rows.append(["mean", "", f"{found['overall']['base']:.3f}", change(found["overall"]), ""])
    text = ["# Pooled", "", *(f"- {line}" for line in lines(found)), ""]
    text += table(["task", "items", "before", "change, points", ""], rows)
    text += ["", f"Files: {', '.join(f'`{f}`' for f in found['files'])}.", ""]
    (root / "report.md").write_text("\n".join(text))
