"""The heat map of a matrix: every number and label is in it as text, whatever the names are."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from resurface.compatibility.results import Matrix, PairGain
from resurface.report import figures
from resurface.report import study as tables
from resurface.report.format import gain
from resurface.stats.estimate import Estimate

NAMES = ["lab:a$_1$", "org/model & <b>", "/very/long/path/to/the/models/of/somebody/first/model"]
LABELS = ["self", "weight-kin", "cross-family", "unknown", "self", "unknown, stated", "recipe-kin",
          "recipe-kin", "self"]  # fmt: skip


def cells(names=NAMES):
    pairs = [(s, t) for t in names for s in names]
    gains = [Estimate(g / 100, g / 100 - 0.011, g / 100 + 0.012) for g in range(-4, len(pairs) - 4)]
    return [pair(s, t, g) for (s, t), g in zip(pairs, gains, strict=True)]


def pair(source, student, gain):
    return PairGain(source=source, student=student, relation="other", gain=gain)


def labels(rows):
    return {(c.source, c.student): label for c, label in zip(rows, LABELS, strict=False)}


def texts(svg):
    root = ElementTree.fromstring(svg)
    return ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_every_number_and_label_is_there():
    rows = cells()
    svg = figures.heatmap(rows, labels(rows))
    shown = texts(svg)
    for c in rows:
        level, bounds = gain(c.gain).split(" ", 1)
        assert level in shown and bounds in shown
    assert [shown.count(x) for x in ("self", "unknown", "unknown, stated", "recipe-kin")] == [3, 1, 1, 2]
    for name in NAMES[:2]:  # once as a source, once as a student
        assert shown.count(name) == 2
    assert shown.count("…" + NAMES[2][-27:]) == 2
    assert svg.count("fill: url(#") == 2  # hatched: two of unknown lineage


def test_the_same_matrix_gives_the_same_bytes():
    rows = cells()
    first = figures.heatmap(rows, labels(rows))
    assert figures.heatmap(rows, labels(rows)) == first
    assert figures.heatmap(rows[::-1], labels(rows)) != first


def test_colour_goes_both_ways_from_0():
    levels = (-0.04, -0.01, 0.0, 0.04)
    rows = [
        pair(c.source, c.student, Estimate(x, x, x)) for c, x in zip(cells(["x", "y"]), levels, strict=True)
    ]
    svg = figures.heatmap(rows, labels(rows))
    for colour in ("#67001f", "#f6f7f7", "#053061"):  # ends of red and blue, and the middle
        assert colour in svg


@pytest.mark.parametrize("value", [0.0, None])
def test_without_intervals_or_gains(value):
    rows = [pair(c.source, c.student, Estimate(value, reason="none")) for c in cells(["x", "y"])]
    svg = figures.heatmap(rows, labels(rows))
    assert texts(svg).count("+0.0" if value is not None else "not known") == 4
    assert not any("[" in t for t in texts(svg))


def test_long_names_that_end_alike_are_written_out():
    one, other = "/models/of/the/first/group/a/model-1b", "/models/of/the/other/group/a/model-1b"
    assert figures._tails([one, other], most=12) == [one, other]
    assert figures._tails([one, "x"], most=12) == ["…" + one[-11:], "x"]


def test_a_table_without_an_interval():
    row = pair("s", "t", Estimate(0.012, reason="one item"))
    assert tables.gain_cells(Matrix.model_construct(cells=(row,), lineage=None))[1] == [["s", "+1.2"]]
