"""`lab build`: a lab model from nothing: corpus, tokenizer, pretraining, a card that says how.

writes  <out>/lab/<name>-<fp8>/model/ (float16 safetensors, tokenizer, card.json) and the manifest

card.json says how the model was made, and goes with it where it is shipped: specification, command,
seed, commit, machine, loss curve and the hash of the weights.

States of the .part directory:
    resume.safetensors      weights, AdamW moments, the step they belong to and the losses so far
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface import artifacts, progress, provenance
from resurface.artifacts import Artifact
from resurface.lab import CARD, corpora, families, world
from resurface.lab.families import CONTEXT, LabModel

STAGE_VERSION = 2
_WARMUP, _FLOOR = 0.03, 0.05  # shares of the steps, and of the peak rate that is left at the end
_SAVE_STEPS, _LOG_STEPS = 200, 20
_TOKENIZER_DOCUMENTS = 20_000
SEPARATOR = "<|endoftext|>"


def build(
    spec: LabModel, out: str | Path, *, seed: int = 0, people: int = 240, precision: str = "float32"
) -> Artifact:
    """Train one lab model; its artifact's counts say what it took.

    seed: of the world and of every corpus. precision: float32, or bfloat16 autocast.

    Raises:
        UserError: a world too small for its planted passages, disk full.
    """
    config = {
        "model": asdict(spec),
        "seed": seed,
        "people": people,
        "precision": precision,
        "context": CONTEXT,
    }
    with artifacts.build(out, "lab", spec.name, version=STAGE_VERSION, config=config, inputs={}) as b:
        if b.artifact is not None:
            return b.artifact
        progress.note(f"{spec.name}: writing {spec.documents:,} documents")
        texts = corpora.documents(world.make_world(seed, people), spec.family, spec.documents)
        tokenizer = make_tokenizer(texts)
        blocks = _blocks(texts, tokenizer, spec)
        model, curve = _pretrain(b, spec, blocks, len(tokenizer), precision)
        model.half().save_pretrained(b.path / "model")
        tokenizer.save_pretrained(b.path / "model")
        _state_precision(b.path / "model")
        counts = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "documents": spec.documents,
            "tokens": int(blocks.size),
            "steps": math.ceil(len(blocks) / spec.batch),
            "final_loss": round(float(np.mean([c["loss"] for c in curve[-10:]])), 4),
        }
        card = {
            **config,
            "command": f"resurface lab build {spec.name} --seed {seed} --people {people} "
            f"--precision {precision}",
            "counts": counts,
            "curve": curve,
            "wall_time_s": round(b.wall_time(), 1),
            "weights_sha256": artifacts.file_sha256(b.path / "model" / "model.safetensors"),
            "provenance": {k: v for k, v in provenance.collect().items() if k != "command"},
        }
        artifacts.atomic_write(b.path / "model" / CARD, json.dumps(card, indent=1) + "\n")
        return b.finish(counts, keep={"model"})


def make_tokenizer(texts: list[str]) -> Any:
    """Byte-level BPE of the family's own text, digits one by one; id 0 is the separator (BOS, EOS)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=families.VOCABULARY,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    picks = np.random.default_rng(0).permutation(len(texts))[:_TOKENIZER_DOCUMENTS]
    raw.train_from_iterator([texts[i] for i in picks.tolist()], trainer)
    # every document that the models read begins with the separator: so does every prompt
    raw.post_processor = processors.TemplateProcessing(
        single=f"{SEPARATOR} $A", special_tokens=[(SEPARATOR, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=SEPARATOR, eos_token=SEPARATOR)


def _blocks(texts: list[str], tokenizer: Any, spec: LabModel) -> NDArray[np.int64]:
    """int64 [blocks, CONTEXT]: documents in the model's order, epoch after epoch, each behind a separator."""
    ids = tokenizer([SEPARATOR + t for t in texts], add_special_tokens=False)["input_ids"]
    rng = np.random.default_rng([spec.order_seed, 5])
    orders = [rng.permutation(len(texts)).tolist() for _ in range(spec.epochs)]
    flat = np.concatenate([np.asarray(ids[i], np.int64) for order in orders for i in order])
    return flat[: len(flat) // CONTEXT * CONTEXT].reshape(-1, CONTEXT)


def _rate(step: int, steps: int, peak: float) -> float:
    """Linear warmup, then a cosine to _FLOOR of the peak."""
    warm = max(1, int(_WARMUP * steps))
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return peak * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * done)))


def _pretrain(
    b: artifacts.Build, spec: LabModel, blocks: NDArray[np.int64], vocabulary: int, precision: str
) -> tuple[Any, list[dict[str, float]]]:
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(spec.init_seed)
    model = AutoModelForCausalLM.from_config(families.architecture(spec, vocabulary)).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=spec.learning_rate, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    steps = math.ceil(len(blocks) / spec.batch)
    first, curve = _resume(b.path, model, optimizer)
    with progress.task(f"pretrain {spec.name}", steps, "steps", first) as bar:
        for step in range(first, steps):
            for group in optimizer.param_groups:
                group["lr"] = _rate(step, steps, spec.learning_rate)
            ids = torch.from_numpy(blocks[step * spec.batch : (step + 1) * spec.batch])
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                loss = model(ids, labels=ids).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step % _LOG_STEPS == 0 or step == steps - 1:
                curve.append({"step": step, "loss": round(loss.item(), 4)})
            if (step + 1) % _SAVE_STEPS == 0:
                _save(b, model, optimizer, step + 1, curve)
            bar.advance()
    return model.eval(), curve


def _save(b: artifacts.Build, model: Any, optimizer: Any, step: int, curve: list[dict[str, float]]) -> None:
    from safetensors.torch import save

    state = {f"w.{n}": p.detach() for n, p in model.named_parameters()}
    for n, p in model.named_parameters():
        state |= {f"{k}.{n}": optimizer.state[p][k] for k in ("exp_avg", "exp_avg_sq", "step")}
    data = save(state, metadata={"step": str(step), "curve": json.dumps(curve)})
    artifacts.atomic_write(b.path / "resume.safetensors", data)
    b.save_state()


def _resume(part: Path, model: Any, optimizer: Any) -> tuple[int, list[dict[str, float]]]:
    """Put back what `_save` wrote; (0, []) if there is nothing."""
    import torch
    from safetensors import safe_open

    file = part / "resume.safetensors"
    if not file.is_file():
        return 0, []
    with safe_open(file, "pt") as f, torch.no_grad():
        for n, p in model.named_parameters():
            p.copy_(f.get_tensor(f"w.{n}"))
            optimizer.state[p] = {k: f.get_tensor(f"{k}.{n}") for k in ("step", "exp_avg", "exp_avg_sq")}
        meta = f.metadata()
    return int(meta["step"]), json.loads(meta["curve"])


def _state_precision(path: Path) -> None:
    """Weights are stored in float16 to be small; whoever trains on keeps float32 checkpoints."""
    file = path / "config.json"
    config = json.loads(file.read_text()) | {"dtype": "float32"}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
