"""How a study's sources and students are related: as their files say, unless the study states it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resurface.compatibility import lineage
from resurface.models import ModelRef
from resurface.specs import Study

Relations = dict[tuple[str, str], dict[str, Any]]


def relations(cfg: Study, refs: Mapping[str, ModelRef]) -> Relations:
    """(source, student) -> label and evidence, for every pair; refs: every model of the study by id.

    Each is {source, student, label, by, files, weights, recipe}. files: the label that the files give,
    weights and recipe: why (see `lineage.compare`). by: files, or study where the label is stated there.
    """
    seen: dict[frozenset[str], dict[str, Any]] = {}  # a pair is compared once, in whichever role
    found: Relations = {}
    for student in cfg.students:
        for source in cfg.sources:
            pair = frozenset((source.id, student.id))
            if pair not in seen:
                seen[pair] = lineage.compare(refs[source.id], refs[student.id])
            stated = {frozenset((s.source, s.student)): s.label for s in cfg.lineage}.get(pair)
            files = seen[pair]
            found[source.id, student.id] = {
                "source": source.id,
                "student": student.id,
                "label": stated or files["label"],
                "by": "study" if stated else "files",
                "files": files["label"],
                "weights": files["weights"],
                "recipe": files["recipe"],
            }
    return found
