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
    "demo": "resurface.workflows",
    "run": "resurface.workflows",
    "sample": "resurface.workflows",
    "audit": "resurface.workflows",
    "subset": "resurface.workflows",
    "train": "resurface.workflows",
    "evaluate": "resurface.workflows",
    "extract": "resurface.workflows",
    "study": "resurface.workflows",
    "estimate": "resurface.workflows",
    "lineage": "resurface.workflows",
    "predict": "resurface.workflows",
    "verdict": "resurface.workflows",
    "sweep": "resurface.workflows",
    "replay": "resurface.workflows.replaying",
    "compare": "resurface.workflows",
    "aggregate": "resurface.stages.evaluation",
    "load_study": "resurface.specs",
    "Study": "resurface.specs",
    "Sweep": "resurface.specs",
    "load_sweep": "resurface.specs",
    "load_recipe": "resurface.specs",
    "load": "resurface.artifacts",
    "Artifact": "resurface.artifacts",
    "Recipe": "resurface.specs",
    "Consent": "resurface.trust.consent",
    "ModelConfig": "resurface.models",
    "SampleConfig": "resurface.stages.sampling",
    "AuditConfig": "resurface.stages.auditing",
    "SubsetConfig": "resurface.stages.subsets",
    "TrainConfig": "resurface.stages.training",
    "EvaluateConfig": "resurface.stages.evaluation",
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
