"""How a study's sources and students are related: as their files say, unless the study states it."""

from __future__ import annotations

from collections.abc import Mapping

from resurface.compatibility import lineage
from resurface.compatibility.results import PairLineage
from resurface.models import ModelRef
from resurface.specs import Study

Relations = dict[tuple[str, str], PairLineage]
"""(source, student) -> how they are related, for every pair of a study."""


def relations(cfg: Study, refs: Mapping[str, ModelRef]) -> Relations:
    """Label and evidence of every pair; refs: every model of the study by id."""
    seen: dict[frozenset[str], lineage.Comparison] = {}  # a pair is compared once, in whichever role
    found: Relations = {}
    for student in cfg.students:
        for source in cfg.sources:
            pair = frozenset((source.id, student.id))
            if pair not in seen:
                seen[pair] = lineage.compare(refs[source.id], refs[student.id])
            stated = {frozenset((s.source, s.student)): s.label for s in cfg.lineage}.get(pair)
            files = seen[pair]
            found[source.id, student.id] = PairLineage(
                source=source.id,
                student=student.id,
                label=stated or files.label,
                by="study" if stated else "files",
                files=files.label,
                weights=files.weights,
                recipe=files.recipe,
            )
    return found
