"""Figures, as the text of an SVG that looks the same on every machine."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from resurface.compatibility.results import PairGain
from resurface.report.format import ends
from resurface.report.format import points as in_points
from resurface.results import SweepPoint
from resurface.trust.escaping import printable

F = TypeVar("F", bound=Callable[..., str])


def plain_style(draw: F) -> F:
    """Draw as matplotlib is shipped: a `matplotlibrc` of the working directory decides nothing (it
    could have labels set by LaTeX, which is a program)."""

    @functools.wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> str:
        from matplotlib import style

        with style.context("default"):
            return draw(*args, **kwargs)

    return drawn  # type: ignore[return-value]


@plain_style
def frontier(points: Sequence[SweepPoint]) -> str:
    """Share of extracted windows that remains, against the change of capability; one mark per point."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for p in points:
        change, drop = p.overall.change, p.extraction.all.relative if p.extraction is not None else None
        if change is None or change.value is None or drop is None or drop.value is None:
            continue
        x, y = 100 * change.value, 100 * (1 - drop.value)
        sides: dict[str, Any] = {}
        if change.low is not None and change.high is not None:
            sides["xerr"] = [[x - 100 * change.low], [100 * change.high - x]]
        if drop.low is not None and drop.high is not None:
            sides["yerr"] = [[max(100 * (drop.high - 1) + y, 0)], [max(100 * (1 - drop.low) - y, 0)]]
        on = p.on_frontier
        axes.errorbar(
            x, y, **sides, fmt="o", markersize=6 if on else 4, color="#0b6e4f" if on else "#9a9a9a",
            elinewidth=0.8, zorder=3 if on else 2,
        )  # fmt: skip
        label = ", ".join(str(v) for v in p.settings.values())
        if on and label:
            axes.annotate(
                plain(label), (x, y), xytext=(5, 5), textcoords="offset points", fontsize=7, parse_math=False
            )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axvline(-1, color="black", linewidth=0.6, linestyle=":")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:g}")
    if keys := [k.split(".")[-1] for k in points[0].settings]:
        axes.set_title("labels: " + plain(", ".join(keys)), fontsize=8, loc="left", parse_math=False)
    axes.set_xlabel("change of capability, points (dotted: the margin of a point)")
    axes.set_ylabel("extracted windows that remain, %")
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure, FigureCanvasSVG)


def svg(figure: Any, canvas: Any) -> str:
    """Same figure, same bytes: no date, fixed ids, text as text."""
    import matplotlib

    drawn = io.StringIO()
    settings = matplotlib.rc_context({"svg.hashsalt": "resurface", "svg.fonttype": "none"})
    with settings, warnings.catch_warnings():
        # the font that text is measured with lacks a letter, which in an SVG stays text; a name is very long
        warnings.filterwarnings("ignore", "Glyph |constrained_layout not applied")
        canvas(figure).print_svg(drawn, metadata={"Date": None})
    return drawn.getvalue()


def plain(text: str) -> str:
    """A name as a label: nothing that an SVG cannot hold, and no underscore first, which hides a line from
    its legend. Where it is drawn, `parse_math` has to be off: a name may hold a dollar sign."""
    text = printable(text)
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def as_written(legend: Any) -> None:
    """Let a legend show its labels as they are written; see `plain`."""
    for text in legend.get_texts():
        text.set_parse_math(False)


COLOURS = ("#0b6e4f", "#d55e00", "#0072b2", "#cc79a7", "#e69f00", "#56b4e9", "#9a9a9a", "#000000")


@plain_style
def curves(
    series: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
    log: bool = False,
) -> str:
    """(name, x, y) each a line with its marks; log: of the x axis."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for (name, across, up), colour in zip(series, COLOURS, strict=False):
        axes.plot(across, up, marker="o", markersize=3.5, linewidth=1.2, color=colour, label=plain(name))
    if log:
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    as_written(axes.legend(frameon=False, fontsize=8))
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure, FigureCanvasSVG)


@plain_style
def forest(points: Sequence[SweepPoint]) -> str:
    """One row per point: relative drop of extraction and change of capability, each with its interval."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.2 + 0.35 * len(points)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    names = [", ".join(str(v) for v in p.settings.values()) for p in points]
    for i, p in enumerate(points):
        fall = p.extraction.all.relative if p.extraction is not None else None
        for axes, e in ((left, fall), (right, p.overall.change)):
            if e is None or e.value is None:
                continue
            x = 100 * e.value
            low, high = (x if end is None else 100 * end for end in (e.low, e.high))
            sides = [[max(x - low, 0)], [max(high - x, 0)]]
            axes.errorbar(x, i, xerr=sides, fmt="o", markersize=5, color=COLOURS[0], elinewidth=1)
    left.set_yticks(range(len(points)), list(map(plain, names)), parse_math=False)
    left.invert_yaxis()
    left.set_xlabel("extraction: relative drop, %")
    left.axvline(95, color="black", linewidth=0.6, linestyle=":")
    right.axvline(0, color="black", linewidth=0.8)
    right.axvline(-1, color="black", linewidth=0.6, linestyle=":")
    right.set_xlabel("capability: change, points")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return svg(figure, FigureCanvasSVG)


@plain_style
def heatmap(cells: Sequence[PairGain], labels: Mapping[tuple[str, str], str]) -> str:
    """Gains of a matrix: sources in rows, students in columns, blue above 0 and red below.

    labels: (source, student) -> lineage; self has a frame, unknown is hatched.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    sources = list(dict.fromkeys(c.source for c in cells))
    students = list(dict.fromkeys(c.student for c in cells))
    figure = Figure(figsize=(2.6 + 1.25 * len(students), 1.6 + 0.75 * len(sources)), layout="constrained")
    axes = figure.add_subplot()
    most = max([0.005, *(abs(c.gain.value) for c in cells if c.gain.value is not None)])
    for c in cells:
        x, y, gain = students.index(c.student), sources.index(c.source), c.gain.value
        label = labels[c.source, c.student]
        colour = "#dddddd" if gain is None else colormaps["RdBu"](0.5 + 0.5 * gain / most)
        place = (x - 0.5, y - 0.5), 1, 1
        axes.add_patch(Rectangle(*place, facecolor=colour, edgecolor="white", linewidth=1.5))
        if label.startswith("unknown"):
            axes.add_patch(Rectangle(*place, fill=False, edgecolor="#999999", linewidth=0, hatch="/"))
        if label.startswith("self"):
            axes.add_patch(Rectangle((x - 0.45, y - 0.45), 0.9, 0.9, fill=False, linewidth=1.2))
        ink = "white" if gain is not None and abs(gain) > 0.6 * most else "black"
        known = "not known" if gain is None else in_points(gain)
        for text, size, up in ((known, 10, -0.22), (ends(c.gain), 7, 0.06), (label, 7, 0.28)):
            axes.text(
                x, y + up, plain(text), ha="center", va="center", fontsize=size, color=ink, parse_math=False
            )  # a name may hold a dollar sign
    axes.set_xlim(-0.5, len(students) - 0.5)
    axes.set_ylim(len(sources) - 0.5, -0.5)
    for axis, names in ((axes.xaxis, students), (axes.yaxis, sources)):
        axis.set_ticks(range(len(names)), list(map(plain, _tails(names))), parse_math=False, fontsize=8)
    axes.tick_params(axis="x", rotation=25)
    axes.tick_params(length=0)
    axes.set_xlabel("student")
    axes.set_ylabel("source of the text")
    axes.set_title("gain in points, 95% interval, lineage (hatched: unknown)", fontsize=9, loc="left")
    axes.spines[:].set_visible(False)
    return svg(figure, FigureCanvasSVG)


def _tails(names: Sequence[str], most: int = 28) -> list[str]:
    """The ends of long names, which differ where paths do not; whole if two would look the same."""
    short = [n if len(n) <= most else "…" + n[1 - most :] for n in names]
    return [s if short.count(s) == 1 else n for s, n in zip(short, names, strict=True)]
