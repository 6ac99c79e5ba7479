"""A resolved model and what is loaded of it, handed down: one engine serves several stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from resurface import models
from resurface.models import ModelConfig, ModelRef
from resurface.models.start_tokens import StartTokens, start_tokens


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
        chosen = start_tokens(ref, tokenizer, start) if start else None
        dtype = str(models.dtype_for(ref.path, cfg.dtype, cfg.device)).removeprefix("torch.")
        return cls(ref, dtype, str(models.pick_device(cfg.device)), tokenizer, chosen)

    def engine(self, batch_size: int) -> Any:
        from resurface.engines.hf import HFEngine

        if self._model is None:
            self._model = models.load_model(self.ref, self.dtype, self.device)
        return HFEngine(self._model, batch_size)

    def close(self) -> None:
        self._model = None


class Lazy:
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
