"""A batch that cannot fit is refused before it is begun."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from resurface import hardware
from resurface.engines.base import SamplingParams
from resurface.engines.hf import HFEngine
from resurface.engines.memory import free_memory, require_room, room
from resurface.errors import UserError
from resurface.models import ModelConfig, load_model, resolve


@pytest.fixture(scope="module")
def model(tiny_model_dir: Any) -> Any:
    return load_model(resolve(ModelConfig(id=str(tiny_model_dir))))


def test_a_batch_that_cannot_fit_is_refused_with_one_that_does(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 100 * room(model.config, 1, 16)
    monkeypatch.setattr(hardware, "free_memory", lambda: free)
    params = SamplingParams(1.0, 0, 16, (0,), 0)
    with pytest.raises(UserError, match=r"a batch of 100,000 documents of up to 17 tokens") as e:
        next(HFEngine(model, 100_000).sample([0], range(100_000), params))
    fits = int(str(e.value.remedy).removeprefix("--batch-size "))
    assert fits > 100  # what it takes at least is less than what it takes at most
    require_room(model, fits, 17)
    assert len(list(HFEngine(model, 100_000).sample([0], [0, 1], params))) == 2  # they are no larger batch


def test_where_nobody_tells_nothing_is_refused(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "free_memory", lambda: None)
    assert free_memory(torch.device("cpu")) is None
    require_room(model, 10**9, 1000)
