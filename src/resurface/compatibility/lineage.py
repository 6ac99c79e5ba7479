"""How two models are related, from their files alone, with the evidence (METHODS D, lineage).

Two axes. Weights: equal tensors, or MLP units that still stand where a common ancestor had them. Recipe:
architecture and tokenizer. What neither axis shows is `unknown`, and not guessed.

    self          all tensors are equal
    weight-kin    one initialisation or ancestor: z > 6
    recipe-kin    architecture, its options and the tokenizer are the same, in whatever notation; the weights
                  are unrelated
    cross-family  neither the architecture nor the tokenizer is the same
    unknown       one of the two is the same: whether also of one recipe, the files leave open
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.artifacts.provenance import Provenance
from resurface.compatibility import normal_forms
from resurface.compatibility.results import Label, RecipeEvidence, Result, WeightEvidence
from resurface.models import ModelRef
from resurface.models.files import weight_files
from resurface.stats.reasons import Reason

GROUPS: dict[Label, str] = {
    "self": "self", "weight-kin": "kin", "recipe-kin": "kin", "cross-family": "other", "unknown": "unknown",
}  # fmt: skip
"""Label -> the relation that contrasts of gains use: `kin` is the same lineage, by weights or by recipe."""

SAME_WEIGHTS = 6.0
"""z above which models of one shape share their initialisation (after Zhu et al., arXiv 2502.12292)."""
UNITS = 4096
"""Rows of a matrix that are compared: a cosine of every pair of them is held at once."""

# the matrix from the residual stream to the units of an MLP, as transformers' families call it
_INPUT = re.compile(
    r"(mlp|feed_forward|ffn).*\.(gate_proj|up_proj|dense_h_to_4h|c_fc|fc1|fc_in|w1|w3)\.weight$"
)

_EQUAL = WeightEvidence(equal=True, z=None, matrices=0, reason=Reason.EQUAL_WEIGHTS)


class Comparison(Result):
    """How two models are related, by their files, and why."""

    one: str
    other: str
    label: Label
    weights: WeightEvidence
    recipe: RecipeEvidence


class LineageResult(Result):
    """What `lineage` prints: every pair, and who compared them."""

    pairs: tuple[Comparison, ...]
    provenance: Provenance


def compare_all(refs: Sequence[ModelRef]) -> list[Comparison]:
    """`compare` for every pair, in order."""
    return [compare(a, b) for a, b in itertools.combinations(refs, 2)]


def compare(one: ModelRef, other: ModelRef) -> Comparison:
    """Label of a pair and why."""
    # equal fingerprints are of equal files: a large model need not be read twice
    same = one.fingerprint == other.fingerprint
    weights, recipe = _EQUAL if same else _weights(one.path, other.path), _recipe(one.path, other.path)
    label: Label = "unknown"
    if weights.equal:
        label = "self"
    elif weights.z is not None and weights.z > SAME_WEIGHTS:
        label = "weight-kin"
    elif recipe.model_type and recipe.options and recipe.tokenizer:
        label = "recipe-kin"
    elif not recipe.model_type and not recipe.tokenizer:
        label = "cross-family"
    return Comparison(one=one.spec, other=other.spec, label=label, weights=weights, recipe=recipe)


def aligned(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """z of unit i of `a` being unit i of `b`: ~ N(0, 1) for matrices that were initialised apart.

    a, b: [units, inputs]. tr(D) / sqrt(sum D^2 / (h - 1)), D the double-centred cosines of all rows
    (after Zhu et al., arXiv 2502.12292). Trained apart from one start, units keep their places.
    """
    x, y = (m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-12) for m in (a, b))
    cosines = x @ y.T
    centred = cosines - cosines.mean(0) - cosines.mean(1, keepdims=True) + cosines.mean()
    scale = np.sqrt(np.square(centred, dtype=np.float64).sum() / (len(centred) - 1))
    return float(np.trace(centred, dtype=np.float64) / scale) if scale else 0.0


def _weights(one: Path, other: Path) -> WeightEvidence:
    first, second = _tensors(one), _tensors(other)
    shapes = [{name: tuple(shape) for name, (_, shape) in t.items()} for t in (first, second)]
    if shapes[0] == shapes[1] and all(_sha(first, n) == _sha(second, n) for n in first):
        return _EQUAL
    unknown = WeightEvidence(equal=False, z=None, matrices=0, reason=Reason.OTHER_SHAPES)
    names = [n for n in first if _INPUT.search(n)]
    if not names:
        return unknown.model_copy(update={"reason": Reason.UNKNOWN_NAMES})
    if any(shapes[0][n] != shapes[1].get(n) for n in names) or len(names) != sum(
        bool(_INPUT.search(n)) for n in second
    ):
        return unknown
    zs = [aligned(_matrix(first, n), _matrix(second, n)) for n in names]
    # Stouffer: the sum of independent normals over the root of their number
    z = float(sum(zs) / len(zs) ** 0.5)
    return WeightEvidence(equal=False, z=z, matrices=len(zs), reason=None)


def _tensors(path: Path) -> dict[str, tuple[Path, list[int]]]:
    """name -> (file, shape); nothing is loaded."""
    from safetensors import safe_open

    found: dict[str, tuple[Path, list[int]]] = {}
    for file in weight_files(path, str(path)):
        with safe_open(file, "pt") as f:
            found |= {name: (file, f.get_slice(name).get_shape()) for name in f.keys()}  # noqa: SIM118
    return found


def _load(tensors: dict[str, tuple[Path, list[int]]], name: str) -> Any:
    from safetensors import safe_open

    with safe_open(tensors[name][0], "pt") as f:
        return f.get_tensor(name)


def _sha(tensors: dict[str, tuple[Path, list[int]]], name: str) -> str:
    import torch

    tensor = _load(tensors, name).contiguous()
    return f"{tensor.dtype} " + hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy()).hexdigest()


def _matrix(tensors: dict[str, tuple[Path, list[int]]], name: str) -> NDArray[np.float32]:
    found = _load(tensors, name).float()
    # GPT-2's Conv1D holds [inputs, units], the c_fc of others (GPT-Neo) [units, inputs]; units are more
    sideways = ".c_fc." in name and found.shape[0] < found.shape[1]
    return np.asarray((found.T if sideways else found)[:UNITS].numpy(), np.float32)


def _recipe(one: Path, other: Path) -> RecipeEvidence:
    (kind, options), (other_kind, other_options) = (
        normal_forms.architecture(one),
        normal_forms.architecture(other),
    )
    first, second = normal_forms.tokenizer(one), normal_forms.tokenizer(other)
    return RecipeEvidence(
        model_type=kind == other_kind,
        options=options == other_options,
        tokenizer=first is not None and second is not None and first.same(second),
    )
