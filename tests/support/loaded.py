"""A model in memory, or a stand-in for its engine, as `LoadedModel`: nothing is on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from resurface.engines.hf import HFEngine
from resurface.engines.loaded_model import LoadedModel
from resurface.models import ModelRef


class Held(LoadedModel):
    """model: a module, or an engine, which is asked as it is. label: stands for the fingerprint of weights.
    context: positions that it has, in tokens; None: it does not say."""

    def __init__(self, model: Any, tokenizer: Any, label: str, context: int | None = None) -> None:
        ref = ModelRef(label, "directory", Path("no-directory"), label)
        super().__init__(ref, "float32", "cpu", tokenizer, _model=model)
        self._context = context

    @property
    def context(self) -> int | None:
        return self._context

    def engine(self, batch_size: int, expected: int | None = None) -> Any:
        return HFEngine(self._model, batch_size) if isinstance(self._model, torch.nn.Module) else self._model
