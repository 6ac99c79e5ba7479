"""Semantic similarity of each source's text and the study's benchmark, a proxy of METHODS D."""

from __future__ import annotations

from collections.abc import Mapping

from resurface import compatibility
from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet
from resurface.benchmarks import audit_texts
from resurface.compatibility import embedding
from resurface.compatibility.proxies import DOCUMENTS
from resurface.specs import Study
from resurface.stages import evaluation
from resurface.stats.reasons import Reason

NAMES = ("similarity", "similarity_nearest")
ITEMS = 512  # of a task: as many as documents


def similarities(
    cfg: Study, texts: Mapping[str, Artifact]
) -> tuple[dict[str, dict[str, float | None]], dict[str, str]]:
    """source -> {similarity, similarity_nearest}, and value -> why it was not measured.

    texts: source -> subset artifact, of which the first subset's first documents count. They say
    nothing of students, so a source has the same values for all of them.

    Raises:
        UserError: the encoder or a task cannot be used.
    """
    if cfg.encoder is None:
        return {s: dict.fromkeys(NAMES) for s in texts}, dict.fromkeys(NAMES, Reason.NO_ENCODER)
    encoder = embedding.load(cfg.encoder)
    benchmark = {
        label: encoder.embed(audit_texts.item_texts(label, task, ITEMS))
        for tasks in evaluation.load_tasks(cfg.evaluate).values()
        for label, task in tasks.items()
    }
    found: dict[str, dict[str, float | None]] = {}
    for source, subset in texts.items():
        rows = read_parquet(subset.file("subset-0.parquet"), ["text"])["text"].to_pylist()
        corpus = encoder.embed(rows[:DOCUMENTS])
        found[source] = {**compatibility.similarity(corpus, benchmark)}
    return found, {}
