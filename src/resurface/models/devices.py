"""Where a model is held, and in which precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resurface import progress
from resurface.errors import UserError
from resurface.models.files import DAMAGED, read_json
from resurface.models.saved import OFF, SAVED


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


def dtype_for(path: Path, dtype: str, device: str = "auto") -> Any:
    """As `torch_dtype`, for the model in `path`.

    `auto` is float32 for a checkpoint that was stored in float32 because a shorter precision loses part of
    its update: loaded in that precision it would lose it again.

    Raises:
        UserError: see `torch_dtype`; a record of its precision that is damaged.
    """
    import torch

    chosen = torch_dtype(dtype, device)
    if dtype != "auto" or chosen == torch.float32 or not (path / SAVED).is_file():
        return chosen
    saved = read_json(path / SAVED, str(path))
    kept = saved.get("update_kept_in_source")
    if saved.get("dtype") != "float32" or (isinstance(kept, int | float) and abs(kept - 1) <= OFF):
        return chosen
    progress.note(
        f"{path} is computed in float32: {str(chosen).removeprefix('torch.')} would lose part of its update; "
        "to compare it with its base, compute that in float32 as well (dtype: float32)"
    )
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
        raise UserError(f"{path}/config.json: the dtype {name!r} is not a dtype of weights", remedy=DAMAGED)
    return found
