"""GGUF files: dequantized once into the cache, as a directory like any other model's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from resurface import progress, provenance
from resurface.disk import disk_errors, require_space
from resurface.errors import UserError
from resurface.fingerprints import file_sha256

# GGML quantizations that transformers dequantizes.
GGUF_TYPES = {
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K",
    "Q6_K", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS", "IQ4_NL",
}  # fmt: skip
# `tokenizer.ggml.pre` values whose pre-tokenizer splits digits one by one. The GGUF conversion of
# transformers ignores the field, which would silently tokenize numbers unlike in pretraining.
_DIGIT_SPLITTING = {"smollm", "starcoder", "refact", "command-r"}
_CONVERSION_VERSION = 1
DAMAGED = "get the model again: a download may have been cut off"


def quiet_libraries() -> None:
    """No progress bars and advice from below: resurface shows its own progress."""
    import datasets
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    datasets.utils.logging.disable_progress_bar()
    datasets.utils.logging.set_verbosity_error()


def convert_gguf(file: Path) -> Path:
    """Dequantize a GGUF file into a cached directory of float32 safetensors and a tokenizer.

    Raises:
        UserError: not a GGUF file, or a quantization that transformers cannot read.
    """
    pre = check_gguf(file)
    digest = file_sha256(file)
    final = provenance.cache_dir() / "gguf" / f"{file.stem}-{digest[:12]}-v{_CONVERSION_VERSION}"
    if final.is_dir():
        return final
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    quiet_libraries()
    progress.note(f"dequantizing {file.name} (once; kept in the cache)")
    part = final.with_name(f"{final.name}.{os.getpid()}.part")
    with disk_errors(final):
        require_space(final.parent, 12 * file.stat().st_size)
        part.mkdir(parents=True, exist_ok=True)
        try:
            try:
                tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            except (ValueError, KeyError) as e:
                raise UserError(
                    f"{file.name} cannot be converted ({e})", remedy="give the model in the hub's layout"
                ) from e
            if pre in _DIGIT_SPLITTING:
                _split_digits(tokenizer)
            try:
                loaded = AutoModelForCausalLM.from_pretrained(
                    file.parent, gguf_file=file.name, dtype=torch.float32
                )
            except ValueError as e:  # an architecture that transformers does not convert
                raise UserError(
                    f"{file.name} cannot be converted ({e})", remedy="give the model in the hub's layout"
                ) from e
            loaded.config._name_or_path = ""
            del loaded.config.quantization_config  # it is not quantized any more
            # a GGUF-loaded model refuses save_pretrained; a fresh one with the same state does not
            model = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
            model.load_state_dict(loaded.state_dict())
            model.generation_config = GenerationConfig(
                bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id
            )
            model.save_pretrained(part)
            tokenizer.save_pretrained(part)
            if not final.exists():
                os.rename(part, final)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return final


def check_gguf(file: Path) -> str | None:
    """The pre-tokenizer's name of a GGUF file that can be read; raises UserError otherwise."""
    import gguf

    try:
        reader = gguf.GGUFReader(file)
    except (ValueError, OSError, IndexError, KeyError) as e:
        raise UserError(f"{file} is not a readable GGUF file ({e})", remedy=DAMAGED) from e
    bad = sorted({t.tensor_type.name for t in reader.tensors} - GGUF_TYPES)
    if bad:
        raise UserError(
            f"{file.name} holds tensors of type {', '.join(bad)}, which cannot be dequantized here",
            remedy="take a file quantized as one of " + ", ".join(sorted(GGUF_TYPES)),
        )
    pre = reader.get_field("tokenizer.ggml.pre")
    return str(pre.contents()) if pre is not None else None


def _split_digits(tokenizer: Any) -> None:
    from tokenizers import pre_tokenizers as pt

    byte_level = pt.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pt.Sequence([pt.Digits(individual_digits=True), byte_level])
