"""Figures, as SVG that looks the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def frontier(points: Sequence[dict[str, Any]], file: Path) -> None:
    """Share of recited windows that remains, against the change of capability; one mark per point."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for p in points:
        change, drop = p["overall"], (p["extraction"] or {}).get("all")
        if change["change"] is None or not drop or drop["relative_drop"] is None:
            continue
        x, y = 100 * change["change"], 100 * (1 - drop["relative_drop"])
        sides: dict[str, Any] = {}
        if change["low"] is not None:
            sides["xerr"] = [[x - 100 * change["low"]], [100 * change["high"] - x]]
        if drop["low"] is not None:
            sides["yerr"] = [[max(100 * (drop["high"] - 1) + y, 0)], [max(100 * (1 - drop["low"]) - y, 0)]]
        on = p["on_frontier"]
        axes.errorbar(
            x, y, **sides, fmt="o", markersize=6 if on else 4, color="#0b6e4f" if on else "#9a9a9a",
            elinewidth=0.8, zorder=3 if on else 2,
        )  # fmt: skip
        label = ", ".join(str(v) for v in p["settings"].values())
        if on and label:
            axes.annotate(label, (x, y), xytext=(5, 5), textcoords="offset points", fontsize=7)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axvline(-1, color="black", linewidth=0.6, linestyle=":")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:g}")
    if keys := [k.split(".")[-1] for k in points[0]["settings"]]:
        axes.set_title("labels: " + ", ".join(keys), fontsize=8, loc="left")
    axes.set_xlabel("change of capability, points (dotted: the margin of a point)")
    axes.set_ylabel("recited windows that remain, %")
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, FigureCanvasSVG, file)


def save(figure: Any, canvas: Any, file: Path) -> None:
    """Same figure, same bytes: no date, fixed ids, text as text."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "resurface", "svg.fonttype": "none"}):
        canvas(figure).print_svg(file, metadata={"Date": None})


COLOURS = ("#0b6e4f", "#d55e00", "#0072b2", "#cc79a7", "#e69f00", "#56b4e9", "#9a9a9a", "#000000")


def curves(
    series: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    file: Path,
    *,
    x: str,
    y: str,
    log: bool = False,
) -> None:
    """(name, x, y) each a line with its marks; log: of the x axis."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for (name, across, up), colour in zip(series, COLOURS, strict=False):
        axes.plot(across, up, marker="o", markersize=3.5, linewidth=1.2, color=colour, label=name)
    if log:
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, FigureCanvasSVG, file)


def forest(points: Sequence[dict[str, Any]], file: Path) -> None:
    """One row per point: relative drop of extraction and change of capability, each with its interval."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.2 + 0.35 * len(points)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    names = [", ".join(str(v) for v in p["settings"].values()) for p in points]
    for i, p in enumerate(points):
        for axes, row, key in (
            (left, p["extraction"]["all"], "relative_drop"),
            (right, p["overall"], "change"),
        ):
            if row[key] is None:
                continue
            x = 100 * row[key]
            low, high = (x if row[k] is None else 100 * row[k] for k in ("low", "high"))
            sides = [[max(x - low, 0)], [max(high - x, 0)]]
            axes.errorbar(x, i, xerr=sides, fmt="o", markersize=5, color=COLOURS[0], elinewidth=1)
    left.set_yticks(range(len(points)), names)
    left.invert_yaxis()
    left.set_xlabel("extraction: relative drop, %")
    left.axvline(95, color="black", linewidth=0.6, linestyle=":")
    right.axvline(0, color="black", linewidth=0.8)
    right.axvline(-1, color="black", linewidth=0.6, linestyle=":")
    right.set_xlabel("capability: change, points")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, FigureCanvasSVG, file)
