"""A sweep in words, a table and a figure; every number comes from its `SweepResult` (sweep.json)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resurface.artifacts.disk import atomic_write
from resurface.report import controls
from resurface.report.capability import change, marked, shown, without
from resurface.report.figures import forest, frontier
from resurface.report.format import commit, counted, drop, machine, markdown, percent_ends, table
from resurface.results import NoChange, OverallChange, SweepPoint, SweepResult

MARK = "\N{DAGGER}"


def cells(found: SweepResult) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a point of the grid per row, with its varied settings."""
    rows = []
    for p in found.points:
        e = p.extraction
        drops = map(drop, (None, None) if e is None else (e.all, e.held_out))
        rows.append([*_settings(p), change(p.overall), *drops, "*" if p.on_frontier else ""])
    return [*_varied(found), "capability, points", "extraction", "absent from the corpus", "frontier"], rows


def lines(found: SweepResult) -> list[str]:
    """Which points show what, in plain sentences."""
    n, seeds = len(found.points), len(found.seeds)
    out = [
        f"{counted(n, 'point')}, {counted(seeds, 'seed')} each; "
        "intervals (95%) are for "
        + ("new seeds and new items." if seeds > 1 else "new items only: one seed says nothing of others.")
    ]
    for p in found.points:
        if isinstance(p.overall, OverallChange) and p.overall.change.known:
            out += _point(p, p.overall)
    # the base is the same at many points: what it can hardly show is said once
    bases: dict[str, tuple[dict[str, str], OverallChange | NoChange]] = {}
    for p in found.points:
        marks = marked(p.tasks)
        bases.setdefault(str(marks), (marks, p.informative))
    for marks, informative in bases.values():
        out += without(marks, informative if n == 1 else None)
    if found.history:
        out.append(f"History: {found.history}")
    for p in found.points:
        if p.controls is not None:
            answer, *_ = controls.lines(p.controls)
            out.append(f"{name(p)}: {answer}" if n > 1 else answer)
    return out


def _point(p: SweepPoint, overall: OverallChange) -> list[str]:
    """What a point shows of capability and extraction."""
    text = f"{name(p)}: mean capability {change(overall)} points: {shown(overall.change)}"
    e = p.extraction
    if e is not None and (fall := e.all).relative.known:
        text += f"; of {counted(fall.windows, 'window')} {fall.before} were extracted, now "
        text += f"{fall.after:.1f}: {fall.relative.value:.0%} fewer {percent_ends(fall.relative)}"
    out = [f"{text}."]
    if e is not None and (other := e.non_members) is not None:
        out.append(
            f"{name(p)}: of {counted(other.windows, 'window')} that no model was trained on, "
            f"{other.before} were extracted, now {other.after:.1f}."
        )
    return out


def name(point: SweepPoint) -> str:
    """What tells a point from the others: its varied settings."""
    return named(point.settings)


def named(settings: Mapping[str, Any]) -> str:
    """The same of settings by dotted name."""
    return ", ".join(f"{_short(k)} {v}" for k, v in settings.items()) or "the recipe"


def _short(setting: str) -> str:
    return setting.split(".")[-1]


def _varied(found: SweepResult) -> list[str]:
    """What differs from point to point."""
    return [_short(k) for k in found.points[0].settings]


def _settings(point: SweepPoint) -> list[str]:
    return [str(v) for v in point.settings.values()]


def write(found: SweepResult, root: Path) -> None:
    """report.md, frontier.svg where extraction was measured, controls.svg where there are control arms."""
    text = [f"# {found.name}", "", *(f"- {markdown(line)}" for line in lines(found)), ""]
    text += ["Change of mean accuracy against the base; windows extracted before -> after (mean over seeds)"]
    text += ["and the relative drop; 95% intervals. `*`: no other point keeps more and loses more.", ""]
    text += table(*cells(found))
    if found.by_case and found.points[0].extraction:
        forest(found.points, root / "cases.svg")
        text += ["", "![drop of extraction and change of capability, case by case](cases.svg)"]
    elif any(p.extraction for p in found.points):
        frontier(found.points, root / "frontier.svg")
        text += ["", "![extraction against capability](frontier.svg)"]
    text += _controls(found.points, root)
    text += ["", "## Change per task, in points", "", *_tasks(found)]
    made = found.provenance
    text += ["", "## Provenance", "", f"- machine: {machine(made.machine)}", f"- commit: {commit(made.code)}"]
    text += [f"- seeds: {found.seeds}; settings: `sweep.yaml` beside this file", ""]
    atomic_write(root / "report.md", "\n".join(text))


def _tasks(found: SweepResult) -> list[str]:
    """A point per row, a task per column."""
    tasks = list(found.points[0].tasks)
    marks = [set(marked(p.tasks)) for p in found.points]
    header, rows = [*_varied(found), *tasks], []
    for p, of in zip(found.points, marks, strict=True):
        changes = [change(p.tasks[t]) + (MARK if t in of else "") for t in tasks]
        rows.append([*_settings(p), *changes])
    if not any(marks):
        return table(header, rows)
    rows = [[*row, change(p.informative)] for row, p in zip(rows, found.points, strict=True)]
    text = table([*header, "mean of the others"], rows)
    return [*text, "", f"{MARK} at ceiling, or at or near chance, before: a change can hardly appear."]


def _controls(points: Sequence[SweepPoint], root: Path) -> list[str]:
    """A section and a figure per point that has control arms."""
    text: list[str] = []
    for i, p in enumerate(points):
        if p.controls is not None:
            file = root / ("controls.svg" if len(points) == 1 else f"controls-{i}.svg")
            title = "" if len(points) == 1 else f": {markdown(name(p))}"
            text += ["", f"## Control arms{title}", "", *controls.section(p.controls, file)]
    return text
