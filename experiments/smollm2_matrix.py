"""A small matrix on a real model: SmolLM2-135M-Instruct, the same tuned on the Bible, and a stranger.

    python experiments/smollm2_matrix.py --out runs/smollm2-matrix

Sources: SmolLM2 as it comes; SmolLM2 after 15 thousand tokens of the King James Bible (same lineage, another
data); lab:c-large (another family, weak). Students: the first two. Every predictor scores every pair. So few
tokens, items and models are what two CPU cores do in an hour: they show that it works on a real model, and
what its noise is, not whose text is better.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import resurface
from resurface import controls, models
from resurface.data import texts
from resurface.engines.loaded_model import LoadedModel
from resurface.models import ModelConfig
from resurface.specs import Study
from resurface.stages import training
from resurface.trainer.config import TrainConfig

SMOLLM2 = "smollm2-135m-instruct"
STRANGER = "lab:c-large"
SCRIPTURE = "asset:kjv"
TOKENS = 15_000
TRAIN: dict[str, Any] = {
    "learning_rate": 2.5e-5, "epochs": 1, "batch_size": 4, "micro_batch_size": 4, "cutoff": 512,
    "precision": "float32", "start": "separator", "save_steps": 10,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/smollm2-matrix")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    out = Path(args.out)
    tuned = out / "smollm2-kjv"
    checkpoint = scripture(out / "scripture")
    if not tuned.exists():
        tuned.symlink_to(checkpoint.relative_to(out))  # its own path is too long for a table
    cfg: dict[str, Any] = dict(
        name="smollm2",
        description="SmolLM2-135M-Instruct, the same tuned on the Bible, and a lab model",
        sources=[{"id": m} for m in (SMOLLM2, str(tuned), STRANGER)],
        students=[{"id": m} for m in (SMOLLM2, str(tuned))],
        sample={"tokens": 25_000, "min_tokens": 20, "max_new_tokens": 240, "start": "separator",
                "batch_size": 64},
        audit={"benchmarks": ["asset:arc_easy", "asset:piqa"]},
        subset={"bytes": 40_000, "count": 1},
        train=TRAIN,
        evaluate={"tasks": ["asset:arc_easy", "asset:piqa"], "limit": 150, "batch_size": 16},
        predictors={"documents": 32, "tasks": ["asset:arc_challenge", "asset:hellaswag"], "items": 16,
                    "batch_size": 8},
    )  # fmt: skip
    study = resurface.study(Study(**cfg), out / "study", workers=args.workers)
    found = {"command": " ".join(["python", *sys.argv])} | study.as_json()
    (out / "matrix.json").write_text(json.dumps(found, indent=1) + "\n")


def scripture(out: Path) -> Path:
    """The checkpoint of SmolLM2 tuned on the beginnings of the books of the Bible; reused if it is there."""
    loaded = LoadedModel.open(ModelConfig(id=SMOLLM2), "separator")
    assert loaded.start is not None
    documents = texts.load_texts(SCRIPTURE)
    source = {"fingerprint": texts.fingerprint_of(documents), "texts": [SCRIPTURE]}
    corpus = controls.collect(
        [(d.text, True) for d in documents], source, loaded.ref, loaded.tokenizer, loaded.start, out,
        max_tokens=512, seed=0, name="scripture",
    )  # fmt: skip
    subset = resurface.subset(corpus, out=out, tokens=TOKENS, count=1)
    trained = resurface.train(SMOLLM2, subset, TrainConfig(**TRAIN), out, name="scripture")
    return training.checkpoints(trained)[1]


if __name__ == "__main__":
    models.quiet_libraries()
    main()
