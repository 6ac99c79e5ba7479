"""What a study would do and could show, as types; field by field what `estimate STUDY --json` prints."""

from __future__ import annotations

from typing import ClassVar

from resurface.compatibility.results import Power, Result


class Sampled(Result):
    """Of one corpus; None is what does not limit it."""

    documents: int | None
    tokens: int | None


class Design(Result):
    """Sizes of a study, and what its tests can see."""

    sources: int
    students: int
    subsets: int
    """Of each source."""
    seeds: int
    """Trainings of a pair on one subset."""
    cells: int
    """Trainings in all."""
    sampled: Sampled
    bytes: int
    """UTF-8 bytes of one subset."""
    epochs: int
    trained_bytes: int
    """In all, every epoch counted."""
    evaluations: int
    pairs_predicted: int
    """Source and student; 0 without predictors."""
    power: Power


class Remaining(Result):
    """Counts of what is not finished."""

    corpora: int
    cells: int
    trainings: int
    evaluations: int
    pairs_predicted: int

    @property
    def any(self) -> bool:
        return bool(self.corpora or self.cells or self.trainings or self.evaluations or self.pairs_predicted)


class Tokens(Result):
    """Of what is not finished."""

    sampled: int
    trained: int | None
    """None where no short training has counted them."""


class Timing(Result):
    """How long one stage of one model takes here, from short pieces of it; only `reason` where there is none.

    Units are tokens (sample, train), items (evaluate) or documents (proxies, predictors of one pair).
    """

    left_out: ClassVar[tuple[str, ...]] = (
        "fixed_s", "per_unit_s", "units", "pieces", "startup_s", "documents", "whole", "tokens_per_byte",
        "bytes_per_document", "reason",
    )  # fmt: skip

    fixed_s: float | None = None
    """Seconds before the first unit: loading weights and tasks."""
    per_unit_s: float | None = None
    units: int | None = None
    """Of the largest piece."""
    pieces: int | None = None
    startup_s: float | None = None
    """Seconds that the first call in a process takes longer."""
    documents: int | None = None
    """sample: of the largest piece."""
    whole: bool | None = None
    """sample: whether these were drawn to their end."""
    tokens_per_byte: float | None = None
    """train."""
    bytes_per_document: float | None = None
    """proxies."""
    reason: str | None = None
    """Why there is no time."""

    def seconds(self, units: float | None) -> float | None:
        """Of so many units; None where either is not known."""
        if units is None or self.fixed_s is None or self.per_unit_s is None:
            return None
        return self.fixed_s + units * self.per_unit_s


class NotMeasured(Result):
    """What has no time, and why.

    what: a stage; "stages", all of a model; "length", of its documents; "similarity", of texts and
    benchmarks; "report", with its statistics.
    """

    what: str
    model: str | None = None
    reason: str


class StudyEstimate(Result):
    """What a study would do from here, and for how long."""

    study: str
    """Its name."""
    workers: int
    """Processes that share the machine."""
    design: Design
    remaining: Remaining
    tokens: Tokens
    items: int
    """Answers of all evaluations that are not finished."""
    seconds: dict[str, float | None]
    """Expected wall time, None where it is not known: "before" (corpora, and students before training),
    "cells" (training and evaluation), "predictors", "proxies", "total"."""
    incomplete: bool
    """Whether a job has no time, so that all of it takes longer."""
    measured: dict[str, dict[str, Timing]]
    """Model -> stage -> its timing."""
    not_measured: tuple[NotMeasured, ...]
    measurement_s: float
    """Seconds that the measurement took."""
