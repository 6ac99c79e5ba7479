"""Sentence embeddings: a bidirectional transformer, mean-pooled (Reimers & Gurevych 2019, 1908.10084).

    asset name | directory in the Hugging Face layout, safetensors

Offline: nothing is downloaded, and no code of a model's repository is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface import assets, models, progress
from resurface.errors import UserError
from resurface.models.files import readable
from resurface.reading.plain_data import read_json, user_path

ASSET = "minilm-l6-v2"
_REMEDY = f"resurface assets pull {ASSET}, then name it: {ASSET}"


@dataclass(frozen=True)
class Encoder:
    """A loaded sentence encoder. max_length: tokens that it reads of a text, special ones included."""

    model: Any
    tokenizer: Any
    max_length: int

    def embed(self, texts: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float32]:
        """One row of length 1 per text, [texts, d]: the mean of its tokens' last hidden states.

        Of a text longer than `max_length` the beginning counts.

        Raises:
            ValueError: a text without a token, which has no direction.
        """
        import torch

        found = np.zeros((len(texts), self.model.config.hidden_size), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little padding in a batch
        with progress.task("embed", len(texts), "texts") as task, torch.inference_mode():
            for start in range(0, len(order), batch_size):
                picks = order[start : start + batch_size]
                batch = self.tokenizer(
                    [texts[i] for i in picks],
                    padding=True,
                    truncation=True,
                    max_length=self.max_length,
                    split_special_tokens=True,  # a text that says [SEP] has no end there
                    return_tensors="pt",
                ).to(self.model.device)
                mask = batch["attention_mask"].unsqueeze(-1)
                if not mask.any(1).all():
                    raise ValueError("a text without a token has no embedding")
                hidden = self.model(**batch).last_hidden_state
                mean = (hidden * mask).sum(1) / mask.sum(1)
                found[picks] = torch.nn.functional.normalize(mean, dim=-1).cpu().numpy()
                task.advance(len(picks))
        return found


def load(name: str) -> Encoder:
    """The encoder of an asset name or a directory, in float32 on the best device.

    Raises:
        UserError: not there, not pulled, no mean-pooled sentence encoder, or damaged.
    """
    from transformers import AutoTokenizer

    path = _directory(name)
    max_length = _checked(path, name)
    models.quiet_libraries()
    try:
        with readable(name, "its tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model = models.load_encoder(path, name)
    except UserError as e:
        raise _refused(name, e.message) from e
    limits = (max_length, tokenizer.model_max_length, model.config.max_position_embeddings)
    return Encoder(model.to(models.pick_device()).eval(), tokenizer, min(x for x in limits if x))


def _directory(name: str) -> Path:
    if (path := user_path(name)).is_dir():
        return path
    if name.removeprefix("asset:") not in {a.name for a in assets.list_assets()}:
        raise UserError(f"no sentence encoder {name!r}: no such directory or asset", remedy=_REMEDY)
    asset = assets.get(name)
    if asset.kind != "embedding":
        raise _refused(name, f"it is a {asset.kind}")
    return assets.path(name) / asset.entry


def _checked(path: Path, name: str) -> int | None:
    """Refuse what the files already rule out; returns the length it was trained for, if they say one."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    config = _json(path / "config.json", name)
    if config is None:
        raise _refused(name, f"{path} has no config.json")
    # a causal model's mean state says little, and a decoder would be fed nothing
    if config.get("model_type") not in MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.get("is_encoder_decoder"):
        raise _refused(name, f"a model of type {config.get('model_type')!r} does not read in both directions")
    if not any(path.glob("*.safetensors")):
        raise _refused(name, f"{path} has no safetensors, and nothing else is read")
    # without these a tokenizer is made up that knows no word
    if not any((path / f).is_file() for f in ("tokenizer.json", "vocab.txt", "vocab.json")):
        raise _refused(name, f"{path} has no tokenizer.json or vocabulary")
    pooling = _json(path / "1_Pooling/config.json", name)
    if pooling is not None and not pooling.get("pooling_mode_mean_tokens", True):
        raise _refused(name, "it was trained with another pooling than the mean")
    return (_json(path / "sentence_bert_config.json", name) or {}).get("max_seq_length")


def _json(file: Path, name: str) -> dict[str, Any] | None:
    """A JSON object; None if there is no such file."""
    if not file.is_file():
        return None
    try:
        return read_json(file)
    except UserError as e:
        raise _refused(name, e.message) from e


def _refused(name: str, why: str) -> UserError:
    return UserError(f"{name} cannot be used as a sentence encoder: {why}", remedy=_REMEDY)
