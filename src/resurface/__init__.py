"""resurface: self-training of language models, measured.

The verbs of the command line as functions, each taking and returning artifacts:

    corpus = resurface.sample("lab:a-medium", tokens=20_000)
    clean = resurface.audit(corpus, benchmarks=("lab:facts",))
    tuned = resurface.train("lab:a-medium", resurface.subset(clean, tokens=15_000, count=1), epochs=1)
    resurface.aggregate(resurface.evaluate(tuned, tasks=("lab:facts",)))

`resurface.assets` and `resurface.doctor` are modules. Nothing heavy is imported until it is used.
"""

import importlib

# not even __future__ is imported, which could come from the working directory: see `isolation`
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EXPORTS = {
    "demo": "resurface.pipeline",
    "run": "resurface.pipeline",
    "sample": "resurface.pipeline",
    "audit": "resurface.pipeline",
    "subset": "resurface.pipeline",
    "train": "resurface.pipeline",
    "evaluate": "resurface.pipeline",
    "extract": "resurface.pipeline",
    "study": "resurface.pipeline",
    "estimate": "resurface.pipeline",
    "lineage": "resurface.pipeline",
    "predict": "resurface.pipeline",
    "verdict": "resurface.pipeline",
    "sweep": "resurface.pipeline",
    "replay": "resurface.replaying",
    "compare": "resurface.memorization",
    "aggregate": "resurface.evaluation",
    "load_study": "resurface.recipe",
    "Study": "resurface.recipe",
    "Sweep": "resurface.recipe",
    "load_sweep": "resurface.recipe",
    "load_recipe": "resurface.recipe",
    "load": "resurface.artifacts",
    "Artifact": "resurface.artifacts",
    "Recipe": "resurface.recipe",
    "Consent": "resurface.consent",
    "ModelConfig": "resurface.models",
    "SampleConfig": "resurface.sampling",
    "AuditConfig": "resurface.auditing",
    "SubsetConfig": "resurface.subsets",
    "TrainConfig": "resurface.training",
    "EvaluateConfig": "resurface.evaluation",
    "ExtractConfig": "resurface.memorization",
    "UserError": "resurface.errors",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> "Any":
    if name in ("assets", "doctor"):
        return importlib.import_module(f"resurface.{name}")
    if name not in _EXPORTS:
        raise AttributeError(f"module 'resurface' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
