"""The only module that knows all stages: runs a recipe from a model to a report.

    sample -> audit -> subset -> train (per subset) -> evaluate, extract (base, every checkpoint)

Every stage is an artifact, so a run that was stopped anywhere is continued by the same command:
what is finished is reused, what is unfinished resumes. Everything that can be refused is refused
in `_preflight`, before the first token is sampled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resurface import (
    artifacts,
    auditing,
    benchmarks,
    evaluation,
    memorization,
    models,
    progress,
    sampling,
    subsets,
    texts,
    training,
)
from resurface.artifacts import Artifact
from resurface.errors import UserError
from resurface.models import ModelConfig, ModelRef, StartTokens
from resurface.recipe import Recipe, to_yaml
from resurface.report.summary import summarize, write_report

RECIPE_FILE = "recipe.yaml"
RUN_FILE = "run.json"


@dataclass
class Session:
    """A resolved model and what is loaded of it: one engine serves several stages."""

    ref: ModelRef
    dtype: str
    device: str
    tokenizer: Any
    start: StartTokens | None
    _model: Any = field(default=None, repr=False)

    @classmethod
    def open(cls, cfg: ModelConfig, start: str | None = None) -> Session:
        """Resolve a model and its tokenizer; weights are loaded on first use.

        start: policy of the start token; None for stages that need none.
        """
        ref = models.resolve(cfg)
        tokenizer = models.load_tokenizer(ref)
        chosen = models.start_tokens(ref, tokenizer, start) if start else None
        dtype = str(models.torch_dtype(cfg.dtype, cfg.device)).removeprefix("torch.")
        return cls(ref, dtype, str(models.pick_device(cfg.device)), tokenizer, chosen)

    def engine(self, batch_size: int) -> Any:
        from resurface.engines.hf import HFEngine

        if self._model is None:
            self._model = models.load_model(self.ref, self.dtype, self.device)
        return HFEngine(self._model, batch_size)

    def close(self) -> None:
        self._model = None


# ------------------------------------------------------------------------------ single stages


def sample(
    model: ModelConfig, cfg: sampling.SampleConfig, out: str | Path, *, name: str = "corpus"
) -> Artifact:
    """Stage sample on a MODEL; see `resurface.sampling`."""
    s = Session.open(model, cfg.start)
    assert s.start is not None
    return sampling.sample(
        s.ref,
        _Lazy(lambda: s.engine(cfg.batch_size)),
        s.tokenizer,
        s.start,
        cfg,
        out,
        dtype=s.dtype,
        name=name,
    )


def train(
    model: ModelConfig,
    subset: Artifact,
    cfg: training.TrainConfig,
    out: str | Path,
    *,
    replicate: int = 0,
    name: str = "model",
) -> Artifact:
    """Stage train on a MODEL; see `resurface.training`."""
    ref = models.resolve(model)
    return training.train(ref, subset, cfg, out, replicate=replicate, device=model.device, name=name)


def evaluate(
    model: ModelConfig, cfg: evaluation.EvaluateConfig, out: str | Path, *, name: str = "scores"
) -> Artifact:
    """Stage evaluate on a MODEL; see `resurface.evaluation`."""
    benchmarks.check_tasks(cfg.tasks)
    s = Session.open(model)
    return evaluation.evaluate(
        s.ref.path,
        s.ref.fingerprint,
        cfg,
        out,
        name=name,
        dtype=s.dtype,
        device=s.device,
        trust_remote_code=model.trust_remote_code,
    )


def extract(
    model: ModelConfig,
    cfg: memorization.ExtractConfig,
    out: str | Path,
    *,
    corpus: Artifact | None = None,
    name: str = "windows",
) -> Artifact:
    """Stage extract on a MODEL; see `resurface.memorization`.

    corpus: the synthetic corpus, to mark windows that share an n-gram with it.
    """
    documents = _load_texts(cfg)
    s = Session.open(model, None if cfg.start == "none" else cfg.start)
    synthetic = None
    if corpus is not None:
        from resurface.tables import read_corpus

        synthetic = read_corpus(corpus, ["text"])["text"].to_pylist()
    return memorization.extract(
        _Lazy(lambda: s.engine(cfg.batch_size)),
        s.tokenizer,
        s.ref.fingerprint,
        str(s.ref.path),
        cfg,
        documents,
        out,
        name=name,
        start_ids=s.start.start_ids if s.start else (),
        corpus_texts=synthetic,
        corpus_input=artifacts.as_input(corpus) if corpus else None,
        dtype=s.dtype,
    )


class _Lazy:
    """An engine whose weights are loaded when it is first asked for something.

    A reused artifact asks for nothing, so a run that is finished costs no model load.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._engine: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._engine is None:
            self._engine = self._make()
        return getattr(self._engine, name)


def _load_texts(cfg: memorization.ExtractConfig) -> list[texts.Document]:
    return [document for spec in cfg.texts for document in texts.load_texts(spec)]


# ------------------------------------------------------------------------------ the whole run


def run(recipe: Recipe, out: str | Path | None = None) -> dict[str, Any]:
    """Self-train `recipe.model` and measure it; returns the summary (also written as JSON).

    out: directory of the run (default: runs/<recipe name>). The same recipe there is continued.

    Raises:
        UserError: anything about the recipe, the model or the machine that would fail later.
    """
    root = Path(out) if out is not None else Path("runs") / recipe.name
    _preflight(recipe, root)
    stages: list[dict[str, Any]] = []

    @contextmanager
    def stage(label: str) -> Iterator[Callable[[Artifact], Artifact]]:
        progress.note(f"== {label}")

        def done(a: Artifact) -> Artifact:
            stages.append(
                {
                    "label": label,
                    "artifact": a.path.relative_to(root).as_posix(),
                    "wall_time_s": a.manifest["wall_time_s"],
                    "counts": a.counts,
                }
            )
            progress.note(f"   {a.path} ({progress.duration(a.manifest['wall_time_s'])})")
            return a

        yield done

    with stage("sample") as done:
        corpus = done(sample(recipe.model, recipe.sample, root))
    with stage("audit") as done:
        audited = done(auditing.audit(corpus, recipe.audit, root, name="corpus"))
    with stage("subset") as done:
        subset = done(subsets.subset(audited, recipe.subset, root))
    measured = [_measure(recipe, recipe.model, "base", root, audited, stage)]
    for k in range(recipe.subset.count):
        with stage(f"train, subset {k}") as done:
            trained = done(train(recipe.model, subset, recipe.train, root, replicate=k, name=f"subset{k}"))
        for epoch, path in training.checkpoints(trained).items():
            tuned = recipe.model.model_copy(update={"id": str(path), "revision": None})
            label = f"subset {k}, epoch {epoch}"
            measured.append(
                _measure(recipe, tuned, label, root, audited, stage) | {"subset": k, "epoch": epoch}
            )
    summary = summarize(recipe, root, stages, corpus, audited, measured)
    artifacts.atomic_write(root / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_report(summary, root / "report.md")
    return summary


def _measure(
    recipe: Recipe, model: ModelConfig, label: str, root: Path, audited: Artifact, stage: Any
) -> dict[str, Any]:
    """Evaluate and extract one model of the run."""
    name = label.replace(", ", "-").replace(" ", "")
    with stage(f"evaluate, {label}") as done:
        found: dict[str, Any] = {
            "label": label,
            "scores": done(evaluate(model, recipe.evaluate, root, name=name)),
        }
    if recipe.extract is not None:
        with stage(f"extract, {label}") as done:
            found["extraction"] = done(extract(model, recipe.extract, root, corpus=audited, name=name))
    return found


def _preflight(recipe: Recipe, root: Path) -> None:
    """Refuse now what would fail hours from now."""
    identity = {"recipe": recipe.model_dump(mode="json", exclude={"description"})}
    marker = root / RUN_FILE
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file", remedy="choose another --out")
    if marker.exists():
        known = json.loads(marker.read_text())
        if known["recipe"] != identity["recipe"]:
            theirs, ours = known["recipe"], identity["recipe"]
            differs = [k for k in ours if theirs.get(k) != ours[k]]
            raise UserError(
                f"{root} belongs to another recipe (different: {', '.join(differs)})",
                remedy=f"choose another --out, or continue that one with --recipe {root / RECIPE_FILE}",
            )
    elif root.exists() and any(root.iterdir()):
        raise UserError(f"{root} is not empty and holds no run", remedy="choose another --out")
    need, sampled = recipe.subset.tokens * recipe.subset.count, recipe.sample.tokens
    independent = recipe.subset.with_replacement or not recipe.subset.disjoint
    if sampled is not None and not independent and need > sampled:
        raise UserError(
            f"subset asks for {recipe.subset.count} x {recipe.subset.tokens:,} tokens out of a corpus of "
            f"{sampled:,}",
            remedy="raise sample.tokens, or lower subset.tokens or subset.count",
        )
    benchmarks.check_tasks(recipe.evaluate.tasks)
    if not recipe.audit.allow_missing:
        auditing.check_benchmarks(recipe.audit.benchmarks)
    if recipe.extract is not None:
        _load_texts(recipe.extract)
    session = Session.open(recipe.model, recipe.sample.start)
    context = json.loads((session.ref.path / "config.json").read_text()).get("max_position_embeddings")
    longest = max(recipe.sample.max_new_tokens + 1, recipe.train.cutoff)
    if context and longest > context:
        raise UserError(
            f"{recipe.model.id} has {context} positions; the recipe asks for {longest}",
            remedy="lower sample.max_new_tokens or train.cutoff",
        )
    weights = sum(p.stat().st_size for p in session.ref.path.glob("*.safetensors"))
    kept = -(-recipe.train.epochs // recipe.train.checkpoint_every) * recipe.subset.count
    with artifacts.disk_errors(root):
        artifacts.require_space(root, weights * (kept + 6))
        root.mkdir(parents=True, exist_ok=True)
        artifacts.atomic_write(marker, json.dumps(identity, indent=1) + "\n")
        artifacts.atomic_write(root / RECIPE_FILE, to_yaml(recipe))
