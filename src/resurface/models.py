"""A MODEL: what a user may name, where it is on this disk, and how it is loaded.

    hub id | directory | GGUF file | asset name | lab:NAME | checkpoint artifact (or one of its epochs)

Every kind is resolved to one local directory in the Hugging Face layout with safetensors weights,
so that everything after `resolve` is the same for all of them. A GGUF file is dequantized once
into the cache. Nothing here executes code that came with a model unless the user says so.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resurface import artifacts, assets, lab
from resurface.config import Config
from resurface.errors import UserError
from resurface.fingerprints import file_sha256, fingerprint
from resurface.gguf_files import DAMAGED, convert_gguf, quiet_libraries


class ModelConfig(Config):
    """Which model, and how to hold it."""

    id: str
    """Hub id, directory, GGUF file, asset name, lab:NAME, or checkpoint artifact."""
    revision: str | None = None
    """Hub only: branch, tag or commit (default: the main branch; the commit is recorded)."""
    dtype: str = "auto"
    """auto, float32, bfloat16 or float16. auto: bfloat16 on a GPU that has it, float32 on a CPU."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    trust_remote_code: bool = False
    """Run Python code that the model's repository ships. Off unless you have read that code."""


@dataclass(frozen=True)
class ModelRef:
    """A model on this disk. fingerprint: hash of its weights, configuration and tokenizer."""

    spec: str
    kind: str  # hub | directory | gguf | asset | lab | checkpoint
    path: Path
    fingerprint: str
    trust_remote_code: bool = False

    def as_input(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint, "path": str(self.path), "spec": self.spec}


# ------------------------------------------------------------------------------ resolving


def resolve(cfg: ModelConfig) -> ModelRef:
    """Find a model and make it a local directory; loads no weights (a GGUF is converted once).

    Raises:
        UserError: nothing of that name, weights that are not safetensors, unsupported GGUF
            quantization, no network for a hub id.
    """
    spec = cfg.id
    path = Path(spec).expanduser()
    torch_dtype(cfg.dtype, cfg.device)  # refuses what is no dtype or no device
    name = spec.removeprefix("asset:")
    if spec.startswith("lab:"):
        kind, found = "lab", lab.shipped(spec)
    elif spec.endswith(".gguf"):
        if not path.is_file():
            raise UserError(f"no GGUF file {spec}", remedy="check the path")
        kind, found = "gguf", convert_gguf(path)
    elif path.is_dir():
        kind, found = _directory(path)
    elif spec.startswith("asset:") or any(a.name == name for a in assets.list_assets()):
        kind, found = "asset", _asset(name)
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", spec) and not spec.startswith((".", "/")):
        kind, found = "hub", _hub(spec, cfg.revision)
    else:
        models = ", ".join(a.name for a in assets.list_assets() if a.kind == "model")
        raise UserError(
            f"no model {spec!r}: no such directory, file, asset, or hub id (owner/name)",
            remedy=f"assets that need no hub: {models}; `resurface assets list` shows all",
        )
    if cfg.revision and kind != "hub":
        raise UserError(
            f"{spec} is a {kind}, which has no revision {cfg.revision!r}", remedy="leave --revision out"
        )
    _check_layout(found, spec, cfg.trust_remote_code)
    return ModelRef(spec, kind, found.resolve(), _fingerprint(found), cfg.trust_remote_code)


def _asset(name: str) -> Path:
    asset = assets.get(name)
    if asset.kind != "model":
        raise UserError(f"asset {name} is a {asset.kind}, not a model")
    assets.ensure(name)
    return convert_gguf(assets.model_file(name))


def _directory(path: Path) -> tuple[str, Path]:
    """A plain model directory, a train artifact (its last epoch) or one epoch of it, of lab or weights."""
    if path.name.endswith(".part"):
        raise UserError(f"{path} is unfinished", remedy="run the command that made it again")
    if artifacts.is_artifact(path):
        found = artifacts.load(path)
        if found.stage in ("lab", "weights"):
            return "checkpoint", path / "model"
        artifacts.load(path, stage="train", verify=False)
        epochs = sorted(path.glob("epoch-*"), key=lambda p: int(p.name.split("-")[1]))
        return "checkpoint", epochs[-1]
    if artifacts.is_artifact(path.parent):
        artifacts.load(path.parent)
        return "checkpoint", path
    return "directory", path


def _hub(spec: str, revision: str | None) -> Path:
    import huggingface_hub as hub
    from huggingface_hub import errors as hub_errors

    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py"]
    try:
        return Path(hub.snapshot_download(spec, revision=revision, allow_patterns=wanted))
    except (hub_errors.RepositoryNotFoundError, hub_errors.RevisionNotFoundError) as e:
        raise UserError(
            f"the hub has no model {spec!r}" + (f" at revision {revision!r}" if revision else ""),
            remedy="check the name; a gated or private model needs `hf auth login`",
        ) from e
    except Exception as e:  # every network failure has its own class, depending on the client
        offline = isinstance(e, hub_errors.LocalEntryNotFoundError | hub_errors.OfflineModeIsEnabled)
        if not offline and not isinstance(e, OSError) and "Connect" not in type(e).__name__:
            raise
        models = ", ".join(a.name for a in assets.list_assets() if a.kind == "model")
        raise UserError(
            f"cannot reach the model hub for {spec!r} ({type(e).__name__}), and it is not in its cache",
            remedy=f"without a hub, use a local directory or an asset: {models}",
        ) from e


def _check_layout(path: Path, spec: str, trust_remote_code: bool) -> None:
    if not (path / "config.json").is_file():
        raise UserError(f"{spec}: {path} has no config.json", remedy="give a Hugging Face model directory")
    if not any(path.glob("*.safetensors")):
        pickled = [p.name for p in (*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.pth"))]
        why = f"only pickled weights ({', '.join(pickled)})" if pickled else "no weights"
        raise UserError(
            f"{spec}: {why} in {path}; resurface reads safetensors only",
            remedy="convert it with a tool that you trust, or take a revision with safetensors",
        )
    try:
        config = json.loads((path / "config.json").read_text())
        kind = config["model_type"]
    except (ValueError, KeyError, TypeError) as e:
        raise UserError(
            f"{spec}: {path}/config.json is not a model configuration ({e!r})", remedy=DAMAGED
        ) from e
    _check_weights(path, spec)
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or (trust_remote_code and "auto_map" in config):
        return
    if "auto_map" in config:
        raise UserError(
            f"{spec} runs code from its own repository",
            remedy="read that code, then pass --trust-remote-code",
        )
    raise UserError(
        f"{spec} is of type {kind!r}, which this transformers does not know as a causal language model",
        remedy="take a decoder-only model, or a newer transformers",
    )


def _check_weights(path: Path, spec: str) -> None:
    """Every weight file has a whole header and the size that it promises, and none that the index names
    is missing; nothing is loaded."""
    from safetensors import SafetensorError, safe_open

    index = path / "model.safetensors.index.json"
    # beside a whole model.safetensors an index is a leftover, which transformers does not read either
    if index.is_file() and not (path / "model.safetensors").is_file():
        try:
            named = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise UserError(f"{spec}: {index} cannot be read ({e!r})", remedy=DAMAGED) from e
        if missing := [n for n in named if not (path / n).is_file()]:
            raise UserError(f"{spec}: {path} lacks weights: {', '.join(missing)}", remedy=DAMAGED)
    for file in sorted(path.glob("*.safetensors")):
        try:
            with safe_open(file, "np"):
                pass
        except (SafetensorError, OSError) as e:
            raise UserError(f"{spec}: {file} is damaged ({e})", remedy=DAMAGED) from e


def context_length(ref: ModelRef) -> int | None:
    """How many positions a model has; None if its configuration does not say."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(ref.path, trust_remote_code=ref.trust_remote_code)
    found = getattr(config, "max_position_embeddings", None)  # n_positions of GPT-2 included
    return int(found) if found else None


def require_context(ref: ModelRef, need: int, what: str, remedy: str) -> None:
    """Raise UserError if `what` takes more positions than the model has."""
    limit = context_length(ref)
    if limit is not None and need > limit:
        raise UserError(f"{what} takes {need} positions; {ref.spec} has {limit}", remedy=remedy)


def _fingerprint(path: Path) -> str:
    """Hash of the files that decide what the model computes, by content and not by place."""
    files = {}
    for p in sorted(path.iterdir()):
        decides = p.suffix == ".safetensors" or p.name in {
            "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model",
            "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json",
        }  # fmt: skip
        if decides and p.is_file():
            files[p.name] = file_sha256(p)
    return fingerprint(files)


# ------------------------------------------------------------------------------ loading


def load_tokenizer(ref: ModelRef) -> Any:
    from transformers import AutoTokenizer

    quiet_libraries()
    try:
        return AutoTokenizer.from_pretrained(ref.path, trust_remote_code=ref.trust_remote_code)
    except (OSError, ValueError) as e:
        raise UserError(
            f"{ref.spec} has no tokenizer that can be loaded ({e})",
            remedy="its directory needs tokenizer.json or what its tokenizer class asks for",
        ) from e


def load_model(ref: ModelRef, dtype: str = "auto", device: str = "auto") -> Any:
    """The model in eval mode on its device; safetensors only."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        ref.path,
        dtype=torch_dtype(dtype, device),
        use_safetensors=True,
        trust_remote_code=ref.trust_remote_code,
    )
    return model.to(pick_device(device)).eval()


def stored_dtype(path: Path) -> Any:
    """The precision that a model's configuration states: what is made of the model keeps it."""
    import torch

    config = json.loads((path / "config.json").read_text())
    return getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))


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
