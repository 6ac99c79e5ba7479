"""Resume points of a training: durable, verified before use, rotated by their step number.

    checkpoint-N/weights.safetensors   what is trained, under its names in memory
    checkpoint-N/...                   Trainer's own files: moments, rates, random states, log
    checkpoint-N/complete              size and SHA-256 of every file, and of the epochs' models kept so far

`save_pretrained` renames, fuses and splits tensors of many families for the hub, and Trainer's resume reads
the result without mapping it back: GPT-NeoX's trained head would be the base's again. So weights are
written and read here, by the model's own names, all of them.

`complete` is written once everything else is on the disk itself: a power loss can take a point, not make
half a point pass for a whole one. A point is whole only together with the models of the epochs before it,
which resuming does not make again. The older of two points goes when a third is durable.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resurface import progress
from resurface.artifacts.disk import atomic_write, fsync_dir, fsync_tree
from resurface.artifacts.fingerprint import file_sha256
from resurface.errors import UserError

WEIGHTS = "weights.safetensors"
MARKER = "complete"
KEPT = 2
"""Whole points that are kept; while the next one is written there are one more."""


@dataclass(frozen=True)
class Digest:
    """What the files of a folder must be."""

    files: Mapping[str, tuple[int, str]]
    """Path below the folder -> size in bytes, SHA-256."""

    @classmethod
    def of(cls, root: Path) -> Digest:
        """The folder as it is now, MARKER left out."""
        found = sorted(p for p in root.rglob("*") if p.is_file() and p.name != MARKER)
        return cls({p.relative_to(root).as_posix(): (p.stat().st_size, file_sha256(p)) for p in found})

    @classmethod
    def read(cls, data: Any) -> Digest:
        """From JSON; ValueError, TypeError or AttributeError if it is none."""
        return cls({str(name): (int(size), str(sha)) for name, (size, sha) in data.items()})

    def damage(self, root: Path) -> str | None:
        """What is wrong with the folder, in words; None if every file is as recorded."""
        for name, (size, sha) in self.files.items():
            file = root / name
            if not file.is_file():
                return f"{file} is missing"
            if (there := file.stat().st_size) != size:
                return f"{file} has {there} of {size} bytes"
            if file_sha256(file) != sha:
                return f"{file} is not what was written"
        return None


@dataclass(frozen=True)
class Point:
    """A resume point that is whole."""

    path: Path
    step: int
    """Optimizer steps that were taken."""
    epochs: Mapping[str, Digest] = field(default_factory=dict)
    """Folder name -> digest of every epoch's model that was kept by then."""


def complete(path: Path, epochs: Mapping[str, Digest]) -> None:
    """Mark a point as whole, once it is durable; then let older ones go.

    path: checkpoint-N, written by every process; epochs: of Point, their folders durable already.
    """
    fsync_tree(path)
    marker = {
        "files": Digest.of(path).files,
        "epochs": {name: digest.files for name, digest in epochs.items()},
    }
    atomic_write(path / MARKER, json.dumps(marker, indent=1, sort_keys=True) + "\n")
    fsync_dir(path)
    fsync_dir(path.parent)
    # by step number: the clock may have been set back
    whole = [p for p in _by_step(path.parent) if (p / MARKER).exists() and _step(p) <= _step(path)]
    for old in whole[:-KEPT]:
        shutil.rmtree(old)


def newest_whole(work: Path, kept: Path) -> Point | None:
    """The newest point that is whole, every other that is newer or torn removed; None: from the start.

    work: folder of the points; kept: folder of the epochs' models. Models that the point does not know
    of are removed, since training makes them again.
    """
    found, damaged = None, []
    for path in reversed(_by_step(work)):
        if not (path / MARKER).exists():  # killed while it was written
            shutil.rmtree(path)
            continue
        try:
            point = _read(path, kept)
        except ValueError as e:
            damaged.append(f"the resume point of step {_step(path)} is damaged ({e})")
            shutil.rmtree(path)
            continue
        found = point
        break
    for why in damaged:
        progress.note(f"{why}: going back to {f'step {found.step}' if found else 'the start'}")
    for folder in kept.glob("epoch-*"):
        if found is None or folder.name not in found.epochs:
            shutil.rmtree(folder)
    return found


def newest(work: Path) -> Point | None:
    """The newest point with a marker, unverified: for the other processes once `newest_whole` is through."""
    marked = [p for p in _by_step(work) if (p / MARKER).exists()]
    return Point(marked[-1], _step(marked[-1])) if marked else None


def _read(path: Path, kept: Path) -> Point:
    """The point at `path`; ValueError, saying what is wrong, if it or an epoch before it is damaged."""
    try:
        marker = json.loads((path / MARKER).read_text())
        files = Digest.read(marker["files"])
        epochs = {str(name): Digest.read(data) for name, data in marker["epochs"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
        raise ValueError(f"{path / MARKER} cannot be read") from e
    checks = [(files, path), *((digest, kept / name) for name, digest in epochs.items())]
    for digest, folder in checks:
        if why := digest.damage(folder):
            raise ValueError(why)
    return Point(path, _step(path), epochs)


def _by_step(work: Path) -> list[Path]:
    """Every point, whole or not, oldest first."""
    return sorted(
        (p for p in work.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", p.name)), key=_step
    )


def _step(path: Path) -> int:
    return int(path.name.removeprefix("checkpoint-"))


# ------------------------------------------------------------------------------ weights


def trained(model: Any) -> dict[str, Any]:
    """What training may change, by the model's own names: trained weights and persistent buffers.

    A tied weight is there once, under its first name; frozen weights are the base's. The tensors are the
    model's own, detached.
    """
    import torch

    found: dict[str, Any] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        frozen = isinstance(tensor, torch.nn.Parameter) and not tensor.requires_grad
        if not frozen and id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor.detach()
    return found


def save_weights(model: Any, file: Path) -> None:
    """Write `trained(model)`."""
    from safetensors.torch import save_file

    tensors, storages = {}, set()
    for name, tensor in trained(model).items():
        place = tensor.untyped_storage().data_ptr()
        # two names may look at one storage; safetensors wants each to have its own
        tensors[name] = tensor.contiguous() if place not in storages else tensor.clone()
        storages.add(place)
    save_file(tensors, file)


def load_weights(model: Any, file: Path) -> None:
    """Put back, in place, what `save_weights` wrote of the same architecture.

    Raises:
        UserError: a name or shape that one of both lacks.
    """
    import torch
    from safetensors import safe_open

    mine = trained(model)
    with safe_open(file, "pt") as f, torch.no_grad():
        shapes = {name: tuple(f.get_slice(name).get_shape()) for name in f.keys()}  # noqa: SIM118
        wanted = {name: tuple(tensor.shape) for name, tensor in mine.items()}
        if wrong := sorted(dict(shapes.items() ^ wanted.items())):
            raise UserError(
                f"{file} is not of this model: {wrong[0]} is {shapes.get(wrong[0], 'missing')} there and "
                f"{wanted.get(wrong[0], 'missing')} in the model",
                remedy=f"resume with the transformers that wrote it, or remove {file.parent.parent}",
            )
        for name, tensor in mine.items():
            tensor.copy_(f.get_tensor(name))
