"""What a study would do from here, and for how long: stated without starting it.

Finished artifacts are found by the study's own functions, and short pieces of the same functions are
timed; both leave nothing behind. An artifact that is unfinished counts as not begun.
"""

from __future__ import annotations

import heapq
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from resurface import artifacts
from resurface.artifacts import Artifact
from resurface.artifacts.fingerprint import file_sha256, fingerprint
from resurface.compatibility.plan import Remaining, StudyEstimate, Timing, Tokens
from resurface.compatibility.proxies import DOCUMENTS as PROXY_DOCUMENTS
from resurface.executors import try_jobs
from resurface.models import ModelConfig, ModelRef
from resurface.specs import Study
from resurface.stages import evaluation
from resurface.trust.consent import Consent
from resurface.workflows.stages import Stages
from resurface.workflows.studies import making, study, timing
from resurface.workflows.studies.design import DOCUMENTS, check_contrasts, design
from resurface.workflows.studies.relations import relations

SECONDS = 30.0
"""That all pieces may take, about: models whose first piece takes longer, and imports, come on top."""
_NAMES = ("_name_or_path", "transformers_version")  # of a configuration: what nothing depends on
_ALWAYS = ("similarity of text and benchmark", "statistics and report")

Timings = Mapping[str, Mapping[str, Timing]]


def estimate(
    cfg: Study,
    out: str | Path | None = None,
    *,
    workers: int = 1,
    trust_remote_code: bool = False,
    confirm_run_unsafe_code: bool = False,
) -> StudyEstimate:
    """What `study` with the same arguments would do, without starting it; nothing is left in `out`.

    Raises:
        UserError: as `study`.
    """
    root = Path(out) if out is not None else Path("runs") / cfg.name
    cfg = cfg.allow(Consent(trust_remote_code, confirm_run_unsafe_code))
    refs = study.preflight(cfg, root)
    related = relations(cfg, refs)
    check_contrasts(cfg, related)
    left = _left(cfg, root)
    planned = design(cfg, related)
    began = time.monotonic()
    timings, failed = _measured(cfg, left, refs, workers) if left.any else ({}, {})
    clock = _Clock(cfg, timings, evaluation.count_items(cfg.evaluate) if left.evaluations else 0)
    trained = [clock.trained_tokens(t) for _, t, *_ in left.untrained]
    seconds, incomplete = _seconds(left, clock, workers)
    return StudyEstimate(
        study=cfg.name,
        workers=workers,
        design=planned,
        remaining=left.counts(cfg),
        tokens=Tokens(
            sampled=round(sum(map(clock.sampled_tokens, left.texts))),
            trained=None if None in trained else round(sum(n for n in trained if n is not None)),
        ),
        items=clock.items * left.evaluations,
        seconds=seconds,
        incomplete=incomplete,
        measured=timings,
        not_measured=_not_measured(cfg, left, timings) | failed,
        measurement_s=round(time.monotonic() - began, 1),
    )


@dataclass
class _Left:
    """What is not finished. texts: sources; before: students; trained, untrained: cells that lack their
    evaluation, and also their training, as (source, student, subset, seed); predicted: students."""

    texts: list[str]
    before: list[str]
    trained: list[tuple[str, str, int, int]]
    untrained: list[tuple[str, str, int, int]]
    predicted: list[str]

    @property
    def any(self) -> bool:
        return bool(self.texts or self.before or self.trained or self.untrained or self.predicted)

    @property
    def evaluations(self) -> int:
        return len(self.before) + len(self.trained) + len(self.untrained)

    def counts(self, cfg: Study) -> Remaining:
        return Remaining(
            corpora=len(self.texts),
            cells=len(self.trained) + len(self.untrained),
            trainings=len(self.untrained),
            evaluations=self.evaluations,
            pairs_predicted=len(self.predicted) * len(cfg.sources),
        )


def _left(cfg: Study, root: Path) -> _Left:
    left = _Left([], [], [], [], [])
    stages = Stages(root, aloud=False)
    texts: dict[str, Artifact] = {}
    with artifacts.finished_only():
        for m in cfg.sources:
            try:
                texts[m.id] = making.text_of(cfg, m, root, stages)
            except artifacts.Unfinished as e:
                if e.stage == "sample":
                    left.texts.append(m.id)
        for student in cfg.students:
            try:
                making.before_of(cfg, student, root, stages)
            except artifacts.Unfinished:
                left.before.append(student.id)
            for source in cfg.sources:
                for k, seed in cfg.trainings:
                    if (lacks := _lacks(cfg, source, student, texts, k, seed, root, stages)) is not None:
                        to = left.trained if lacks == "evaluate" else left.untrained
                        to.append((source.id, student.id, k, seed))
            if cfg.predictors is not None:
                try:
                    making.predicted_of(cfg, student, root)
                except artifacts.Unfinished:
                    left.predicted.append(student.id)
    return left


def _lacks(
    cfg: Study,
    source: ModelConfig,
    student: ModelConfig,
    texts: Mapping[str, Artifact],
    k: int,
    seed: int,
    root: Path,
    stages: Stages,
) -> str | None:
    """The first stage of a cell that is not finished."""
    if source.id not in texts:
        return "train"  # on a text that is not there
    try:
        making.cell_of(cfg, source, student, texts[source.id], k, seed, root, stages)
    except artifacts.Unfinished as e:
        return e.stage
    return None


# ------------------------------------------------------------------------------ measuring


def _measured(
    cfg: Study, left: _Left, refs: Mapping[str, ModelRef], workers: int
) -> tuple[dict[str, dict[str, Timing]], dict[str, str]]:
    """Model id -> its timings, and job -> why it failed. Of models of one shape, one is measured."""
    by_id = {m.id: m for m in (*cfg.sources, *cfg.students)}
    needs = {m: _stages(left, m, cfg) for m in by_id}
    alike: dict[Any, list[str]] = {}
    for m, held in by_id.items():
        alike.setdefault((_shape(refs[m]), held.dtype, held.device), []).append(m)
    groups = {ids[0]: ids for ids in alike.values() if any(needs[m] for m in ids)}
    wanted = {m: sorted({stage for i in ids for stage in needs[i]}) for m, ids in groups.items()}
    together = min(workers, len(groups))
    each = SECONDS * together / sum(len(stages) for stages in wanted.values())
    found: dict[str, dict[str, Timing]] = {}
    with tempfile.TemporaryDirectory(prefix="resurface-") as scratch:
        places = {m: Path(scratch) / str(i) for i, m in enumerate(groups)}
        for place in places.values():
            place.mkdir()
        jobs = {
            f"pieces of {m}": partial(timing.measure, cfg, by_id[m], stages, places[m], each)
            for m, stages in wanted.items()
        }
        failed = try_jobs("short measurement", jobs, workers)
        for m, ids in groups.items():
            if f"pieces of {m}" not in failed:
                found |= dict.fromkeys(ids, timing.read(places[m]))
    return found, failed


def _shape(ref: ModelRef) -> str:
    """Hash of a model's architecture and tokenizer: what its speed depends on."""
    config = json.loads((ref.path / "config.json").read_text())
    tokenizer = ref.path / "tokenizer.json"
    known = file_sha256(tokenizer) if tokenizer.is_file() else ref.fingerprint
    return fingerprint({"config": {k: v for k, v in config.items() if k not in _NAMES}, "tokenizer": known})


def _stages(left: _Left, model: str, cfg: Study) -> set[str]:
    untrained = {t for _, t, *_ in left.untrained}
    student = model in (m.id for m in cfg.students)
    wanted = {
        "sample": model in left.texts,
        "evaluate": model in {*left.before, *untrained} or any(t == model for _, t, *_ in left.trained),
        "train": model in untrained,
        "proxies": student,  # read anew by every call
        "predictors": model in left.predicted,
    }
    return {stage for stage, needed in wanted.items() if needed}


def _not_measured(cfg: Study, left: _Left, timings: Timings) -> dict[str, str]:
    found = {
        f"{stage} of {m}": row.reason
        for m, rows in timings.items()
        for stage, row in rows.items()
        if row.reason is not None
    }
    if cfg.sample.tokens is None:
        found |= {
            f"length of documents of {m}": "none was drawn to its end: max_new_tokens is assumed"
            for m in left.texts
            if not timings.get(m, {}).get("sample", Timing()).whole
        }
    return found | dict.fromkeys(_ALWAYS, "not timed")


# ------------------------------------------------------------------------------ extrapolating


@dataclass
class _Clock:
    """Seconds and tokens of a study's jobs, from `timings`; None is what could not be measured."""

    cfg: Study
    timings: Timings
    items: int  # of one evaluation

    def _row(self, model: str, stage: str) -> Timing:
        return self.timings.get(model, {}).get(stage, Timing())

    def sampled_tokens(self, source: str) -> float:
        """Of a corpus; at most, if no document was drawn to its end."""
        if self.cfg.sample.tokens is not None:
            return self.cfg.sample.tokens
        row, length = self._row(source, "sample"), float(self.cfg.sample.max_new_tokens)
        if row.whole and row.units is not None and row.documents is not None:
            length = row.units / row.documents
        return (self.cfg.sample.samples or DOCUMENTS) * length

    def sample(self, source: str) -> float | None:
        tokens, row = self.sampled_tokens(source), self._row(source, "sample")
        if row.whole and row.units is not None:
            # batches are drawn whole, also the one in which the budget is reached
            tokens = math.ceil(tokens / row.units) * row.units
        return row.seconds(tokens)

    def trained_tokens(self, student: str) -> float | None:
        """Of one training, all epochs."""
        each = self._row(student, "train").tokens_per_byte
        assert self.cfg.subset.bytes is not None
        return None if each is None else self.cfg.subset.bytes * self.cfg.train.epochs * each

    def train(self, student: str) -> float | None:
        return self._row(student, "train").seconds(self.trained_tokens(student))

    def evaluate(self, student: str) -> float | None:
        return self._row(student, "evaluate").seconds(self.items)

    def cell(self, student: str) -> float | None:
        parts = (self.train(student), self.evaluate(student))
        return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]

    def proxies(self, student: str) -> float | None:
        row, size = self._row(student, "proxies"), self.cfg.subset.bytes
        assert size is not None
        if row.bytes_per_document is None:
            return None
        documents = min(PROXY_DOCUMENTS, size / row.bytes_per_document)
        return row.seconds(documents * len(self.cfg.sources))

    def predictors(self, student: str) -> float | None:
        assert self.cfg.predictors is not None
        one = self._row(student, "predictors").seconds(self.cfg.predictors.documents)
        return None if one is None else one * len(self.cfg.sources)

    def startup(self, stages: set[str]) -> float:
        """What the first calls in a process cost, where that is most."""
        return sum(max((self._row(m, s).startup_s or 0.0 for m in self.timings), default=0.0) for s in stages)


def _seconds(left: _Left, clock: _Clock, workers: int) -> tuple[dict[str, float | None], bool]:
    """Expected wall time of each phase and in all, and whether a job lacks a time: then it takes longer."""
    students = [m.id for m in clock.cfg.students] if left.any else []
    jobs = {
        "corpora and students before": (
            {"sample", "evaluate"},
            [clock.sample(m) for m in left.texts] + [clock.evaluate(m) for m in left.before],
            workers,
        ),
        "training and evaluation": (
            {"train", "evaluate"},
            [clock.cell(t) for _, t, *_ in left.untrained] + [clock.evaluate(t) for _, t, *_ in left.trained],
            workers,
        ),
        "predictors": ({"predictors"}, [clock.predictors(m) for m in left.predicted], workers),
        "proxies": ({"proxies"}, [clock.proxies(m) for m in students], 1),  # once all else is there
    }
    found: dict[str, float | None] = {}
    warm: set[str] = set()
    for phase, (stages, times, processes) in jobs.items():
        known = [t for t in times if t is not None]
        found[phase] = None
        if known or not times:
            cold = clock.startup(stages - warm) if times else 0.0
            found[phase] = round(makespan(known, processes) + cold, 1)
        if times and workers == 1:  # else every phase has new processes
            warm |= stages
    known = [t for t in found.values() if t is not None]
    found["total"] = round(sum(known), 1) if known else None
    return found, any(None in times for _, times, _ in jobs.values())


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last of jobs is done that are taken in order by so many workers."""
    busy = [0.0] * workers
    for each in seconds:
        heapq.heapreplace(busy, busy[0] + each)
    return max(busy)
