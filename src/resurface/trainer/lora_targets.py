"""Which weights low-rank adapters stand on: every linear layer and every expert, the output head excepted.

Most mixtures of experts hold all experts of a layer in one parameter [experts, a, b], which is no linear
layer: peft's "all-linear" passes it over. It is adapted as a parameter here. Routers, embeddings, norms and
convolutions keep their weights. What cannot be adapted whole is refused by name, before any work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from resurface.errors import UserError
from resurface.models import ModelRef
from resurface.models.families import require_trainable

# Where transformers has renamed or fused weights of a family, peft takes modules of these names for experts
# as they were called before, and passes dense layers and shared experts of the same name over; as parameters
# they are adapted.
_TAKEN_FOR_EXPERTS = frozenset("gate gate_proj up_proj down_proj w1 w2 w3".split())

_STATE_SPACE = "the kernels of its state-space layers read weights past an adapter"
NOT_ADAPTED = dict.fromkeys(
    "bamba falcon_h1 falcon_mamba granitemoehybrid jamba mamba mamba2 nemotron_h zamba zamba2".split(),
    _STATE_SPACE,
) | {"longcat_flash": "merged adapters give other logits, in this version of peft"}
_ROUTES = ("Router", "Gate")
_STAYS = (*_ROUTES, "Embedding", "Conv", "Norm")
"""Parts of class names of modules that decide which expert is asked, and of those whose matrices are no
linear layers."""


@dataclass(frozen=True)
class Targets:
    """modules: names of linear layers. parameters: names of parameters that hold experts, or a linear
    layer's."""

    modules: tuple[str, ...]
    parameters: tuple[str, ...]


def lora_config(model: Any, rank: int) -> Any:
    """The peft configuration of a loaded model: alpha is twice the rank. Raises UserError, see `targets`."""
    import peft
    from transformers.pytorch_utils import Conv1D

    found = targets(model)
    # GPT-2's layers hold the transpose of a Linear's weight
    transposed = {isinstance(model.get_submodule(name), Conv1D) for name in found.modules} == {True}
    return peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        fan_in_fan_out=transposed,
        target_modules=list(found.modules),
        target_parameters=list(found.parameters) or None,
        task_type="CAUSAL_LM",
    )


def require_method(ref: ModelRef, method: str) -> None:
    """Raises UserError where training would fail, or LoRA (method "lora") would pass weights over.

    The model is built without its weights, which takes no memory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(ref.path, trust_remote_code=ref.trust_remote_code)
    require_trainable(str(config.model_type))
    if method != "lora":
        return
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=ref.trust_remote_code)
    targets(model)


def targets(model: Any) -> Targets:
    """What is adapted of a model; its weights may be on the meta device.

    Raises:
        UserError: the family cannot be adapted, or has matrices of a kind that would be passed over.
    """
    from torch.nn import Linear
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.pytorch_utils import Conv1D

    family = str(model.config.model_type)
    require_trainable(family)
    if family in NOT_ADAPTED:
        raise _refused(family, NOT_ADAPTED[family])
    head = model.get_output_embeddings()
    modules, parameters, left = [], [], []
    for name, module in model.named_modules():
        if module is head:
            continue
        if isinstance(module, Linear | Conv1D) and not _routes(module):
            modules.append(name)
            continue
        for own, weight in module.named_parameters(recurse=False):
            if "Experts" in type(module).__name__ and weight.ndim == 3:
                parameters.append(f"{name}.{own}")
            elif weight.ndim > 1 and min(weight.shape[-2:]) > 1 and not _stays(module, own):
                left.append(f"{name}.{own}")
    if left:
        raise _refused(family, f"its {left[0]} and {len(left) - 1} more are no linear layers")
    if get_checkpoint_conversion_mapping(family) is not None:
        taken = [m for m in modules if m.rpartition(".")[2] in _TAKEN_FOR_EXPERTS]
        modules = [m for m in modules if m not in taken]
        parameters += [f"{m}.weight" for m in taken]
    return Targets(tuple(modules), tuple(parameters))


def _routes(module: Any) -> bool:
    return any(part in type(module).__name__ for part in _ROUTES)


def _stays(module: Any, own: str) -> bool:
    return "bias" in own or any(part in type(module).__name__ for part in _STAYS)


def _refused(family: str, why: str) -> UserError:
    return UserError(
        f"LoRA on a {family} model would not reach every linear layer: {why}",
        remedy="train.method: full, or a model of another family (docs/models.md)",
    )
