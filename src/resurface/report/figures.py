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
