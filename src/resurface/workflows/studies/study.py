"""A study: every source's text for every student, and the matrix of gains.

per source   sample -> audit -> subset (K sets of whole documents)
per student  evaluate before
per cell     train on each subset -> evaluate after -> gain, paired by item
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from resurface import compatibility, models, progress
from resurface.artifacts import Artifact, provenance
from resurface.artifacts.disk import atomic_write, disk_errors
from resurface.artifacts.parquet import read_parquet
from resurface.artifacts.records import StageRecord
from resurface.compatibility import Cell, GainGrid
from resurface.compatibility.embedding import load as load_encoder
from resurface.compatibility.lineage import GROUPS
from resurface.compatibility.proxies import Text
from resurface.compatibility.results import (
    Decomposition,
    MadeOn,
    Matrix,
    PairLineage,
    Proxies,
    Scores,
    StudyResult,
    Undecomposed,
)
from resurface.engines.loaded_model import LoadedModel
from resurface.errors import UserError
from resurface.executors import raise_failed, try_jobs
from resurface.models import ModelConfig, ModelRef
from resurface.report import estimate as planned
from resurface.report import study as report
from resurface.report.markdown import write as write_report
from resurface.specs import Study, load_study, to_yaml
from resurface.stages import auditing, evaluation, subsets, training
from resurface.stages.evaluation import headline_items
from resurface.stats.reasons import Unmeasured
from resurface.trust.consent import Consent
from resurface.workflows import raw
from resurface.workflows.ranking import candidates
from resurface.workflows.stages import Stages, check_root, evaluate, sample, train
from resurface.workflows.studies import predictor_table
from resurface.workflows.studies.design import check_contrasts, check_fit, design
from resurface.workflows.studies.findings import findings
from resurface.workflows.studies.relations import Relations, relations
from resurface.workflows.studies.similarity import similarities

STUDY_FILE = "study.yaml"


def study(
    cfg: Study,
    out: str | Path | None = None,
    *,
    workers: int = 1,
    trust_remote_code: bool = False,
    confirm_run_unsafe_code: bool = False,
) -> StudyResult:
    """Run a study; returns the matrix (also matrix.json and report.md in `out`, default runs/NAME).

    The same study there is continued: a cell that is finished is not trained again.
    workers: processes that share the cores. trust_remote_code, confirm_run_unsafe_code: as for `run`.

    Raises:
        UserError: a model, task or benchmark that cannot be used, or `out` is another study's.
        ResurfaceError: parts of it failed, twice each; everything else is done and kept.
    """
    root = Path(out) if out is not None else Path("runs") / cfg.name
    cfg = cfg.allow(Consent(trust_remote_code, confirm_run_unsafe_code))
    related = relations(cfg, preflight(cfg, root))
    check_contrasts(cfg, related)
    _mark(cfg, root)
    for line in planned.lines(design(cfg, related)):
        progress.note(line)
    _work(cfg, root, workers)
    # from here on everything is there: it is read, in order, and put together
    stages = Stages(root, aloud=False)
    made = _made(cfg, root, stages)
    return put_together(cfg, root, related, made, Run(workers, tuple(stages.records)))


@dataclass(frozen=True)
class Made:
    """Every artifact that a finished study is evaluated from, by the ids of its models.

    texts: source -> subset. before: student -> its scores. after: source, student -> scores, one per pair of
    subset and seed in the order of `Study.trainings`. predicted: source, student -> what predictors say.
    """

    texts: dict[str, Artifact]
    before: dict[str, Artifact]
    after: dict[tuple[str, str], list[Artifact]]
    predicted: dict[tuple[str, str], Artifact]


def _made(cfg: Study, root: Path, stages: Stages) -> Made:
    texts = {m.id: text_of(cfg, m, root, stages) for m in cfg.sources}
    before: dict[str, Artifact] = {}
    after: dict[tuple[str, str], list[Artifact]] = {}
    predicted: dict[tuple[str, str], Artifact] = {}
    for student in cfg.students:
        before[student.id] = before_of(cfg, student, root, stages)
        for source in cfg.sources:
            after[source.id, student.id] = [
                cell_of(cfg, source, student, texts[source.id], k, seed, root, stages)
                for k, seed in cfg.trainings
            ]
        if cfg.predictors is not None:
            predicted |= {(s, student.id): a for s, a in predicted_of(cfg, student, root).items()}
    return Made(texts, before, after, predicted)


@dataclass(frozen=True)
class Run:
    """How a study was made."""

    workers: int
    stages: tuple[StageRecord, ...]
    made_on: tuple[MadeOn, ...] | None = None
    """By what its evaluations were made, where that is not what puts it together."""


def put_together(
    cfg: Study,
    root: Path,
    related: Relations,
    made: Made,
    how: Run,
) -> StudyResult:
    """Evaluate a finished study; writes matrix.json, report.md and what goes with them into `root`."""
    similar, not_measured = similarities(cfg, made.texts)
    cells: list[Cell] = []
    scores: dict[str, Scores] = {}
    proxies: list[Proxies] = []
    for student in cfg.students:
        items = headline_items(made.before[student.id])
        scores[student.id] = _scores(items)
        for source in cfg.sources:
            after: list[list[Any]] = [[] for _ in range(cfg.subset.count)]
            for (k, _), tuned in zip(cfg.trainings, made.after[source.id, student.id], strict=True):
                after[k].append(headline_items(tuned))
            relation = GROUPS[related[source.id, student.id].label]
            cells.append(compatibility.cell(source.id, student.id, relation, items, after))
        proxies += [
            Proxies.of(source, student.id, nll | similar[source])
            for source, nll in mean_nll_of(cfg, student, made.texts).items()
        ]
    shown = matrix(cells, proxies, not_measured, tuple(related.values()))
    predicted = judged = None
    if cfg.predictors is not None:
        predicted = predictor_table.rows(made.predicted)
        judged = predictor_table.table(GainGrid.of(shown.cells), predicted, proxies, scores)
    found = StudyResult(
        **dict(shown),
        workers=how.workers,
        stages=how.stages,
        made_on=how.made_on,
        study=cfg.model_dump(mode="json"),
        provenance=provenance.collect(),
        wall_time_s=round(sum(s.wall_time_s for s in how.stages), 1),
        before=scores,
        predictors=predicted,
        judged=judged,
    )
    if judged is not None:
        _write_json(predictor_table.calibration(found).as_json(), root / "calibration.json")
    _write_json(found.as_json(), root / "matrix.json")
    write_report(report.document(found), root)
    raw.of_study(cfg, made.before, made.after, {"provenance": found.provenance.as_json()}, root)
    return found


def _write_json(found: Mapping[str, object], file: Path) -> None:
    atomic_write(file, json.dumps(found, indent=1) + "\n")


def _work(cfg: Study, root: Path, workers: int) -> None:
    """Make every artifact; ResurfaceError with all that failed, after everything else is there."""
    texts = {f"text of {m.id}": partial(text_of, cfg, m, root) for m in cfg.sources}
    before = {f"{m.id} before": partial(before_of, cfg, m, root) for m in cfg.students}
    failed = try_jobs("corpora, students before", texts | before, workers)
    cells = {
        _label(cfg, source, student, k, seed): partial(_cell_job, cfg, source, student, k, seed, root)
        for student in cfg.students
        for source in cfg.sources
        for k, seed in cfg.trainings
        if not {f"text of {source.id}", f"{student.id} before"} & failed.keys()
    }
    failed |= try_jobs("training", cells, workers)
    untried = len(cfg.sources) * len(cfg.students) * len(cfg.trainings) - len(cells)
    waiting = f" ({untried} cells wait for what failed)" if untried else ""
    predicted: dict[str, partial[Any]] = {}
    if cfg.predictors is not None and not texts.keys() & failed.keys():
        predicted = {f"predictors for {m.id}": partial(predicted_of, cfg, m, root) for m in cfg.students}
        failed |= try_jobs("predictors", predicted, workers)
    raise_failed(cfg.name + waiting, failed, len(texts) + len(before) + len(cells) + len(predicted))


def matrix(
    cells: list[Cell],
    proxies: Sequence[Proxies],
    not_measured: Mapping[str, str],
    lineage: tuple[PairLineage, ...] | None = None,
) -> Matrix:
    """Everything derived from the cells: gains, decomposition, and the findings from them.

    not_measured: proxy -> why it is None.
    """
    pairs = compatibility.cell_intervals(cells)
    grid = GainGrid.of(pairs)
    split: Decomposition | Undecomposed
    try:
        split = compatibility.decompose(grid)
    except Unmeasured as e:  # the design does not allow it
        split = Undecomposed(reason=str(e))
    return Matrix(
        cells=tuple(pairs),
        run_sd=compatibility.run_sd(cells),
        lineage=lineage,
        **dict(findings(grid, split, proxies, not_measured, grid.gains.shape[2])),
    )


def cell_name(cfg: Study, source: ModelConfig, student: ModelConfig, k: int, seed: int) -> str:
    """What the artifacts of a cell are called: trained on subset k with this seed."""
    return f"{short_name(student.id)}-on-{short_name(source.id)}-{k}" + (f"-seed{seed}" if cfg.seeds else "")


def short_name(model: str) -> str:
    """What the artifacts of a model are called."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in model.removeprefix("lab:"))[-40:]


def audited_of(cfg: Study, source: ModelConfig, root: Path, stages: Stages) -> Artifact:
    name = short_name(source.id)
    corpus = stages(f"sample {source.id}", lambda: sample(source, cfg.sample, root, name=name))
    return stages(f"audit {source.id}", lambda: auditing.audit(corpus, cfg.audit, root, name=name))


def text_of(cfg: Study, source: ModelConfig, root: Path, stages: Stages | None = None) -> Artifact:
    name, stages = short_name(source.id), stages or Stages(root)
    audited = audited_of(cfg, source, root, stages)
    return stages(f"subset {source.id}", lambda: subsets.subset(audited, cfg.subset, root, name=name))


def _scores(items: dict[str, dict[int, float]]) -> Scores:
    tasks = {t: float(np.mean(list(values.values()))) for t, values in items.items() if values}
    return Scores(mean=float(np.mean(list(tasks.values()))) if tasks else None, tasks=tasks)


def before_of(cfg: Study, student: ModelConfig, root: Path, stages: Stages | None = None) -> Artifact:
    name, stages = short_name(student.id), stages or Stages(root)
    return stages(f"evaluate {student.id}", partial(evaluate, student, cfg.evaluate, root, name=name))


def _cell_job(
    cfg: Study, source: ModelConfig, student: ModelConfig, k: int, seed: int, root: Path
) -> Artifact:
    text = text_of(cfg, source, root, Stages(root, aloud=False))
    return cell_of(cfg, source, student, text, k, seed, root, Stages(root))


def _label(cfg: Study, source: ModelConfig, student: ModelConfig, k: int, seed: int) -> str:
    return f"{source.id} -> {student.id}, subset {k}" + (f", seed {seed}" if cfg.seeds else "")


def cell_of(
    cfg: Study,
    source: ModelConfig,
    student: ModelConfig,
    text: Artifact,
    k: int,
    seed: int,
    root: Path,
    stages: Stages,
) -> Artifact:
    label = _label(cfg, source, student, k, seed)
    name = cell_name(cfg, source, student, k, seed)
    how = cfg.train.model_copy(update={"seed": seed})
    trained = stages(f"train {label}", lambda: train(student, text, how, root, replicate=k, name=name))
    last = list(training.checkpoints(trained).values())[-1]
    tuned = student.model_copy(update={"id": str(last), "revision": None})
    return stages(f"evaluate {label}", lambda: evaluate(tuned, cfg.evaluate, root, name=name))


def predicted_of(cfg: Study, student: ModelConfig, root: Path) -> dict[str, Artifact]:
    """source -> what predictors say of its text for this student."""
    stages = Stages(root, aloud=False)
    texts = {m.id: (text_of(cfg, m, root, stages), audited_of(cfg, m, root, stages)) for m in cfg.sources}
    return predictor_table.measure_student(cfg, student, texts, root, short_name)


def mean_nll_of(cfg: Study, student: ModelConfig, texts: dict[str, Artifact]) -> dict[str, dict[str, float]]:
    """Source -> mean NLL of its first subset under the student, per token and per byte."""
    loaded = LoadedModel.open(student, cfg.train.start)
    assert loaded.start is not None
    engine = loaded.engine(64)
    found = {}
    for source, subset in texts.items():
        rows = read_parquet(subset.file("subset-0.parquet"), ["text"])["text"].to_pylist()
        text = Text(rows, loaded.tokenizer, loaded.start.start_ids)
        found[source] = compatibility.mean_nll(engine, text)
    return found


def preflight(cfg: Study, root: Path) -> dict[str, ModelRef]:
    """Refuse now what would fail later; returns every model by id, and writes nothing.

    Raises:
        UserError: see `study`.
    """
    tasks = evaluation.load_tasks(cfg.evaluate)
    auditing.check_benchmarks(cfg.audit)
    training.check_batch(cfg.train)
    if cfg.encoder is not None:
        load_encoder(cfg.encoder)
    if cfg.predictors is not None:
        candidates.check(cfg.predictors, cfg.evaluate.tasks)
    marker = root / STUDY_FILE
    check_root(root, marker, "study")
    if marker.exists() and _work_of(load_study(str(marker))) != _work_of(cfg):
        raise UserError(f"{root} belongs to another study", remedy="choose another --out")
    refs = {m.id: models.resolve(m) for m in (*cfg.sources, *cfg.students)}
    opened = {m.id: LoadedModel.open(m, cfg.sample.start) for m in (*cfg.sources, *cfg.students)}
    check_fit(cfg, opened)
    for m in cfg.students:
        evaluation.check_room(tasks, refs[m.id], cfg.evaluate)
    return refs


def _work_of(cfg: Study) -> Mapping[str, object]:
    """Settings that decide what is done; by value, for an older file lacks newer options."""
    return cfg.model_dump(exclude={"description", "run_sd", "pair_sd", "contrasts"})


def _mark(cfg: Study, root: Path) -> None:
    """From now on `root` is this study's."""
    with disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        atomic_write(root / STUDY_FILE, to_yaml(cfg))
