"""A MODEL and a configuration in, an artifact out: each stage on what a user may name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resurface import (
    artifacts,
    benchmarks,
    evaluation,
    memorization,
    models,
    progress,
    provenance,
    sampling,
    texts,
    training,
)
from resurface.artifacts import Artifact
from resurface.lab import building
from resurface.lab import families as lab_families
from resurface.models import ModelConfig, ModelRef, StartTokens


class Stages:
    """Announces the stages of a run below `root` and keeps what its summary tells of each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records: list[dict[str, Any]] = []

    def __call__(self, label: str, make: Callable[[], Artifact]) -> Artifact:
        progress.note(f"== {label}")
        a = make()
        self.records.append(
            {
                "label": label,
                "artifact": a.path.relative_to(self.root).as_posix(),
                "wall_time_s": a.manifest["wall_time_s"],
                "counts": a.counts,
            }
        )
        progress.note(f"   {a.path} ({progress.duration(a.manifest['wall_time_s'])})")
        return a


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
    documents = load_texts(cfg)
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


def build_lab(
    names: Sequence[str],
    out: str | Path,
    *,
    seed: int = 0,
    people: int = 240,
    precision: str = "auto",
) -> list[Artifact]:
    """Train lab models from nothing (none named: all); see `resurface.lab`."""
    specs = [lab_families.get(n) for n in names] or list(lab_families.MODELS)
    if precision == "auto":
        precision = "bfloat16" if provenance.cpu_bfloat16()["fast"] else "float32"
    return [building.build(s, out, seed=seed, people=people, precision=precision) for s in specs]


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


def load_texts(cfg: memorization.ExtractConfig) -> list[texts.Document]:
    return [document for spec in cfg.texts for document in texts.load_texts(spec)]
