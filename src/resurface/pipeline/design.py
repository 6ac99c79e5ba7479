"""What a study will do and what it can show, known before any work; and whether its models can do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resurface import models
from resurface.compatibility import power
from resurface.compatibility.lineage import GROUPS
from resurface.errors import UserError
from resurface.pipeline.relations import Relations
from resurface.pipeline.stages import Session
from resurface.recipe import Study

DOCUMENTS = 20_000
"""Of a corpus for which neither documents nor tokens are given; see `SampleConfig`."""


def design(cfg: Study, related: Relations) -> dict[str, Any]:
    """Sizes of a study, and what its tests can see.

    Returns {sources, students, subsets, seeds, cells, sampled: {documents, tokens} of one corpus, None for
    what is not given, bytes of one subset, epochs, trained_bytes in all, evaluations, pairs_predicted,
    power: see `power.design`}.
    """
    sources, students, subsets = len(cfg.sources), len(cfg.students), cfg.subset.count
    seeds = len(cfg.trainings) // subsets
    assert cfg.subset.bytes is not None
    given = cfg.sample.samples is not None or cfg.sample.tokens is not None
    cells = sources * students * len(cfg.trainings)
    group = np.array([[GROUPS[related[s.id, t.id]["label"]] for t in cfg.students] for s in cfg.sources])
    selves, kin, unknown = (group == label for label in ("self", "kin", "unknown"))
    return {
        "sources": sources,
        "students": students,
        "subsets": subsets,
        "seeds": seeds,
        "cells": cells,
        "sampled": {
            "documents": cfg.sample.samples if given else DOCUMENTS,
            "tokens": cfg.sample.tokens,
        },
        "bytes": cfg.subset.bytes,
        "epochs": cfg.train.epochs,
        "trained_bytes": cells * cfg.subset.bytes * cfg.train.epochs,
        "evaluations": students + cells,
        "pairs_predicted": sources * students if cfg.predictors is not None else 0,
        "power": power.design(selves, kin, unknown, subsets, cfg.run_sd, seeds=seeds),
    }


def check_fit(cfg: Study, sessions: Mapping[str, Session]) -> None:
    """Refuse models that cannot take their part; sessions: every model of the study by id, opened.

    Raises:
        UserError: one model under two names, a context that is too short for what is asked.
    """
    for role, held in (("sources", cfg.sources), ("students", cfg.students)):
        first: dict[str, str] = {}
        for m in held:
            same = first.setdefault(sessions[m.id].ref.fingerprint, m.id)
            if same != m.id:
                raise UserError(
                    f"{role}: {same} and {m.id} are one model, file by file", remedy="leave one of them out"
                )
    for m in cfg.sources:
        session = sessions[m.id]
        assert session.start is not None
        need = len(session.start.given) + cfg.sample.max_new_tokens
        models.require_context(session.ref, need, "a document", "lower sample.max_new_tokens")
    for m in cfg.students:
        ref = sessions[m.id].ref
        models.require_context(ref, cfg.train.cutoff, "a packed block", "lower train.cutoff")
        if cfg.evaluate.max_length is not None:
            models.require_context(ref, cfg.evaluate.max_length, "a prompt", "lower evaluate.max_length")
