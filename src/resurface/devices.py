"""Where a model is held, and in which precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resurface.errors import UserError
from resurface.model_files import DAMAGED, read_json


def pick_device(device: str = "auto") -> Any:
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        picked = torch.device(device)
        torch.empty(0, device=picked)
    except (RuntimeError, AssertionError) as e:
        raise UserError(f"device {device!r} is not usable here ({e})", remedy="see `resurface doctor`") from e
    return picked


def torch_dtype(dtype: str, device: str = "auto") -> Any:
    """`auto` is float32 on every CPU.

    Where bfloat16 is emulated it is far slower; where it is not (AMX), decoding gains little and
    logits keep only 8 bits, so that greedy choices tie.
    """
    import torch

    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype in named:
        return named[dtype]
    if dtype != "auto":
        raise UserError(f"dtype {dtype!r} is unknown", remedy="auto, " + ", ".join(named))
    kind = pick_device(device).type
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float32


def stored_dtype(path: Path) -> Any:
    """The precision that a model's configuration states: what is made of the model keeps it.

    Raises:
        UserError: it is no floating-point precision.
    """
    import torch

    config = read_json(path / "config.json", str(path))
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    found = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise UserError(f"{path}/config.json: the dtype {name!r} is no precision of weights", remedy=DAMAGED)
    return found
