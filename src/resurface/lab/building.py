"""`lab build`: a lab model from nothing: corpus, tokenizer, pretraining, a card that says how.

writes  <out>/lab/<name>-<fp8>/model/ (float16 safetensors, tokenizer, card.json) and the manifest

card.json says how the model was made, and goes with it where it is shipped: specification, command,
seed, scale, commit, machine and device, loss curve and the hash of the weights.

States of the .part directory:
    resume.safetensors      weights, AdamW moments, the step they belong to and the losses so far
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface import artifacts, hardware, progress
from resurface.artifacts import Artifact, provenance
from resurface.artifacts.disk import atomic_write
from resurface.artifacts.fingerprint import file_sha256
from resurface.errors import Diverged, UserError
from resurface.lab import CARD, corpora, families, passages, settings, world
from resurface.lab.families import CONTEXT, LabModel

STAGE = artifacts.Stage("lab", version=2)
_WARMUP, _FLOOR = 0.03, 0.05  # shares of the steps, and of the peak rate that is left at the end
_SAVE_STEPS, _LOG_STEPS = 200, 20
_TOKENIZER_DOCUMENTS = 20_000
SEPARATOR = "<|endoftext|>"


class LabCounts(artifacts.Counts):
    """Of a lab model and its pretraining."""

    parameters: int
    documents: int
    tokens: int
    steps: int
    final_loss: float
    """Nats per token."""


def build(
    spec: LabModel,
    out: str | Path,
    *,
    seed: int = 0,
    people: int | None = None,
    precision: str = "float32",
    device: str = "cpu",
) -> Artifact:
    """Train one lab model; its artifact's counts say what it took.

    seed: of the world and of every corpus. people: None for what the scale asks for. precision:
    float32, or bfloat16 autocast. device: of torch; no part of the identity, as the machine is none.

    Raises:
        UserError: a world too small for its planted passages, disk full.
        Diverged: a loss that is no number.
    """
    people = check(spec, seed=seed, people=people)
    config = {
        "model": spec.as_config(),
        "seed": seed,
        "people": people,
        "precision": precision,
        "context": CONTEXT,
    }
    need = 2 * 12 * spec.parameters  # the new resume point beside the old one: weights, two moments

    def write(b: artifacts.Build) -> LabCounts:
        progress.note(f"{spec.name}: writing {spec.documents:,} documents")
        strata = passages.strata_at(spec.scale)
        known = world.make_world(seed, people)
        texts = corpora.documents(known, spec.family, spec.documents, strata)
        tokenizer = make_tokenizer(texts)  # of the corpus of draw 0, always: one for the whole family
        if spec.draw or not spec.planted:
            texts = corpora.documents(
                known, spec.family, spec.documents, strata, plant=spec.planted, draw=spec.draw
            )
        blocks = _blocks(texts, tokenizer, spec)
        model, curve = _pretrain(b, spec, blocks, len(tokenizer), precision, device)
        model.half().save_pretrained(b.path / "model")
        tokenizer.save_pretrained(b.path / "model")
        _state_precision(b.path / "model")
        counts = LabCounts(
            parameters=sum(p.numel() for p in model.parameters()),
            documents=spec.documents,
            tokens=int(blocks.size),
            steps=math.ceil(len(blocks) / spec.batch),
            final_loss=round(float(np.mean([c["loss"] for c in curve[-10:]])), 4),
        )
        card = {
            **config,
            "scale": spec.scale,
            "world": settings.Setting(seed, people, spec.scale).suffix,
            "device": {"type": device, "name": _device_name(device)},
            "command": f"resurface lab build {spec.name} --seed {seed} --people {people} "
            f"--precision {precision}",
            "counts": counts.as_json(),
            "curve": curve,
            "wall_time_s": round(b.wall_time(), 1),
            "weights_sha256": file_sha256(b.path / "model" / "model.safetensors"),
            "provenance": provenance.collect().without_command().as_json(),
        }
        atomic_write(b.path / "model" / CARD, json.dumps(card, indent=1) + "\n")
        return counts

    return STAGE.make(out, spec.name, write, config=config, inputs={}, keep={"model"}, need_bytes=need)


def check(spec: LabModel, *, seed: int = 0, people: int | None = None) -> int:
    """The people in the world of a model, once it is known that it can be built.

    Raises:
        UserError: a seed out of range, more people than names, a corpus too small for what is planted in it.
    """
    people = settings.people_at(spec.scale) if people is None else people
    if not 0 <= seed < 2**32:
        raise UserError(f"seed {seed} is below 0 or beyond 2^32", remedy="--seed 0, for instance")
    world.check_people(people)
    passages.check_room(spec.documents, passages.strata_at(spec.scale))
    return people


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


def _blocks(texts: list[str], tokenizer: Any, spec: LabModel) -> NDArray[np.int16]:
    """int16 [blocks, CONTEXT]: documents in the model's order, epoch after epoch, each behind a separator.

    Ids are below VOCABULARY, so 16 bits hold them: a large corpus has billions.
    """
    ids: list[NDArray[np.int16]] = []
    for i in range(0, len(texts), _TOKENIZER_DOCUMENTS):  # lists of ids take 20 times the room
        part = [SEPARATOR + t for t in texts[i : i + _TOKENIZER_DOCUMENTS]]
        ids += [np.asarray(d, np.int16) for d in tokenizer(part, add_special_tokens=False)["input_ids"]]
    rng = np.random.default_rng([spec.order_seed, 5])
    orders = [rng.permutation(len(texts)).tolist() for _ in range(spec.epochs)]
    flat = np.concatenate([ids[i] for order in orders for i in order])
    return flat[: len(flat) // CONTEXT * CONTEXT].reshape(-1, CONTEXT)


def _rate(step: int, steps: int, peak: float) -> float:
    """Linear warmup, then a cosine to _FLOOR of the peak."""
    warm = max(1, int(_WARMUP * steps))
    if step < warm:
        return peak * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return peak * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * done)))


def _pretrain(
    b: artifacts.Build,
    spec: LabModel,
    blocks: NDArray[np.int16],
    vocabulary: int,
    precision: str,
    device: str,
) -> tuple[Any, list[dict[str, float]]]:
    """The model in eval mode on the CPU, and its loss every _LOG_STEPS steps."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(spec.init_seed)
    # initialised on the CPU, so that every device begins with the same weights
    model = AutoModelForCausalLM.from_config(families.architecture(spec, vocabulary)).train().to(device)
    kind = torch.device(device).type
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=spec.learning_rate, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    steps = math.ceil(len(blocks) / spec.batch)
    first, curve = _resume(b.path, model, optimizer)
    # steps get longer and resume points larger with the scale
    save_steps = round(_SAVE_STEPS * math.sqrt(spec.scale))
    with progress.task(f"pretrain {spec.name}", steps, "steps", first) as bar:
        for step in range(first, steps):
            for group in optimizer.param_groups:
                group["lr"] = _rate(step, steps, spec.learning_rate)
            batch = blocks[step * spec.batch : (step + 1) * spec.batch]
            ids = torch.from_numpy(batch.astype(np.int64)).to(device)
            with torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16"):
                loss = model(ids, labels=ids).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step % _LOG_STEPS == 0 or step == steps - 1:
                curve.append({"step": step, "loss": _finite(loss.item(), step, spec)})
            if (step + 1) % save_steps == 0:
                _save(b, model, optimizer, step + 1, curve)
            bar.advance()
    return model.cpu().eval(), curve


def _finite(loss: float, step: int, spec: LabModel) -> float:
    if not math.isfinite(loss):
        raise Diverged(
            f"pretraining {spec.name} diverged: loss {loss} at step {step}",
            remedy="--precision float32; if that does not help, another scale",
        )
    return round(loss, 4)


def _device_name(device: str) -> str:
    import torch

    if torch.device(device).type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return hardware.machine().cpu


def _save(b: artifacts.Build, model: Any, optimizer: Any, step: int, curve: list[dict[str, float]]) -> None:
    from safetensors.torch import save

    state = {f"w.{n}": p.detach() for n, p in model.named_parameters()}
    for n, p in model.named_parameters():
        state |= {f"{k}.{n}": optimizer.state[p][k] for k in ("exp_avg", "exp_avg_sq", "step")}
    data = save(state, metadata={"step": str(step), "curve": json.dumps(curve)})
    atomic_write(b.path / "resume.safetensors", data)
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
            # a fused optimizer wants even the step on the device
            optimizer.state[p] = {
                k: f.get_tensor(f"{k}.{n}").to(p.device) for k in ("step", "exp_avg", "exp_avg_sq")
            }
        meta = f.metadata()
    return int(meta["step"]), json.loads(meta["curve"])


def _state_precision(path: Path) -> None:
    """Weights are stored in float16 to be small; whoever trains on keeps float32 checkpoints."""
    file = path / "config.json"
    config = json.loads(file.read_text()) | {"dtype": "float32"}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
