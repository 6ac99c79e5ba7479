"""How models are related, pair by pair."""

from __future__ import annotations

from resurface.compatibility.lineage import Comparison, LineageResult
from resurface.report.document import Document, Table
from resurface.report.reasons import said


def document(found: LineageResult) -> Document:
    """A pair per row, with the evidence."""
    header = ["model", "model", "label", "weights", "same in recipe"]
    return Document("Lineage", [Table(header, [_row(p) for p in found.pairs], caption="Lineage")])


def _row(pair: Comparison) -> list[str]:
    z = pair.weights.z
    weights = said(pair.weights.reason) if z is None else f"z = {z:.1f}"
    return [pair.one, pair.other, pair.label, weights, ", ".join(pair.recipe.same) or "nothing"]
