"""In which precision a model is computed."""

from __future__ import annotations

import json

import pytest

from resurface.models import devices
from resurface.models.saved import SAVED


@pytest.fixture
def gpu(monkeypatch):
    """A machine where `auto` is bfloat16."""
    import torch

    plain = devices.torch_dtype
    monkeypatch.setattr(
        devices, "torch_dtype", lambda dtype, _="auto": torch.bfloat16 if dtype == "auto" else plain(dtype)
    )


@pytest.mark.parametrize(
    ("stored", "kept", "asked", "expected"),
    [
        ("float32", 0.03, "auto", "float32"),  # what bfloat16 would round away was kept on purpose
        ("float32", None, "auto", "float32"),
        ("float32", 0.999, "auto", "bfloat16"),
        ("bfloat16", 0.03, "auto", "bfloat16"),  # gone already
        ("float32", 0.03, "bfloat16", "bfloat16"),
        (None, None, "auto", "bfloat16"),
    ],
)
def test_what_was_stored_in_float32_is_not_rounded_when_it_is_loaded(
    tmp_path, gpu, stored, kept, asked, expected
):
    if stored:
        saved = {"dtype": stored, "update_kept": 1.0, "update_kept_in_source": kept}
        (tmp_path / SAVED).write_text(json.dumps(saved))
    assert str(devices.dtype_for(tmp_path, asked)) == f"torch.{expected}"
