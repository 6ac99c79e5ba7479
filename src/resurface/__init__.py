"""resurface: self-training of language models, measured.

The verbs of the command line as functions. Nothing heavy is imported until a function is used.
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "run": "resurface.pipeline",
    "sample": "resurface.pipeline",
    "audit": "resurface.auditing",
    "subset": "resurface.subsets",
    "train": "resurface.pipeline",
    "evaluate": "resurface.pipeline",
    "extract": "resurface.pipeline",
    "replay": "resurface.replaying",
    "load_recipe": "resurface.recipe",
    "load": "resurface.artifacts",
    "Artifact": "resurface.artifacts",
    "Recipe": "resurface.recipe",
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


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'resurface' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
