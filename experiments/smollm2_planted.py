"""A real model that has learned text by heart, to self-train and attack: SmolLM2-135M-Instruct, planted.

    python experiments/smollm2_planted.py --out runs/planted
    resurface sweep runs/planted/sweep.yaml --out runs/planted/sweep
    resurface verdict runs/planted/base runs/planted/sweep/train/subset0-???????? \\
        --texts runs/planted/passages.parquet --prefix 32 --suffix 32 --start separator \\
        --set never_saw.id=runs/planted/never

As it comes, SmolLM2 recites nothing that could drop (results/smollm2-cpu). So passages of 64 tokens of the
King James Bible are drawn at random. SmolLM2 reads some twelve times, in random order among text that it
sampled itself, and others never: that makes the base, and the others non-members
of the same kind, by the draw.
The never-saw model read as many further passages as often, among the same text: it is matched in genre, where
SmolLM2 as it comes has not read so much of this edition.
sweep.yaml trains the base on its own text: recipe `smollm2-cpu` with a third of the tokens, fewer questions
and four times the learning rate, three seeds, all set before anything was measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

import resurface
from resurface import controls, models
from resurface.artifacts import Artifact, parquet
from resurface.artifacts.fingerprint import fingerprint
from resurface.data import texts
from resurface.engines.loaded_model import LoadedModel
from resurface.models import ModelConfig
from resurface.stages import training
from resurface.trainer.config import TrainConfig

SMOLLM2 = "smollm2-135m-instruct"
NEVER = "never"
OTHER = "12, by the never-saw model"
COPIES = {"12": 180, NEVER: 120, OTHER: 180}
"""Passages of each stratum."""
TIMES = {"12": 12, NEVER: 0, OTHER: 12}
"""How often the passages of a stratum are read."""
PREFIX = SUFFIX = 32
FILLER = 50_000  # tokens of SmolLM2's own, so that it goes on to be a model of more than scripture
PLANT: dict[str, Any] = {
    "learning_rate": 2e-4, "epochs": 1, "batch_size": 2, "micro_batch_size": 2, "cutoff": 512,
    "start": "separator", "save_steps": 50,
}  # fmt: skip
SWEEP: dict[str, Any] = {
    "name": "smollm2-planted",
    "description": "SmolLM2-135M-Instruct that knows passages of the Bible by heart, trained on its own text",
    "recipe": "smollm2-cpu",
    "change": {
        "sample.tokens": 30_000,
        "sample.max_new_tokens": 240,
        "audit.benchmarks": ["asset:arc_easy", "asset:piqa"],
        "subset.tokens": 20_000,
        "train.precision": "auto",
        "evaluate.tasks": ["asset:arc_easy", "asset:piqa"],
        "evaluate.limit": 150,
    },
    "vary": {"train.learning_rate": [1e-4]},
    "seeds": [0, 1, 2],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/planted")
    out = Path(parser.parse_args().out)
    passages = plant(out)
    base = out / "base"
    extract = {"texts": [str(passages)], "prefix": PREFIX, "suffix": SUFFIX, "start": "separator"}
    sweep = SWEEP | {"change": SWEEP["change"] | {"model.id": str(base), "extract": extract}}
    (out / "sweep.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False))
    print(
        f"{base} read what is in {passages}\nnext: resurface sweep {out / 'sweep.yaml'} --out {out / 'sweep'}"
    )


def plant(out: Path) -> Path:
    """The file of the passages. Beside it `base`, which read them, and `never`, which read the others; all of
    it reused if it is there."""
    loaded = LoadedModel.open(ModelConfig(id=SMOLLM2), "separator")
    assert loaded.start is not None
    out.mkdir(parents=True, exist_ok=True)
    own = resurface.sample(
        SMOLLM2, out=out, tokens=FILLER, min_tokens=20, max_new_tokens=240, start="separator", batch_size=64
    )
    filler = parquet.read_corpus(own, ["text", "finish_reason"]).to_pylist()
    rows = draw(loaded.tokenizer)
    files = {"base": out / "passages.parquet", "never": out / "others.parquet"}
    for name, file in files.items():
        mine = [i for i, s in enumerate(rows["stratum"]) if (s == OTHER) == (name == "never")]
        parquet.write_parquet(pa.table(rows).take(pa.array(mine)), file)
        documents = [(x["text"], x["finish_reason"] == "stop") for x in filler]
        for i in mine:
            documents += [(rows["text"][i], True)] * TIMES[rows["stratum"][i]]
        checkpoint = _trained(loaded, documents, file, own, out, "planted" if name == "base" else name)
        if not (out / name).exists():
            (out / name).symlink_to(checkpoint.relative_to(out))  # its own path is too long for a table
    return files["base"]


def _trained(
    loaded: LoadedModel, documents: list[tuple[str, bool]], read: Path, own: Artifact, out: Path, name: str
) -> Path:
    """SmolLM2 once it has read the documents (text, whether it ends): passages of the file `read`, and what
    it sampled itself."""
    assert loaded.start is not None
    made_of = {"fingerprint": fingerprint([texts.fingerprint_of(texts.load_texts(read)), own.fingerprint])}
    corpus = controls.collect(
        documents, made_of, loaded.ref, loaded.tokenizer, loaded.start,
        out, max_tokens=512, seed=0, name=name,
    )  # fmt: skip
    subset = resurface.subset(corpus, out=out, tokens=corpus.counts["tokens"], count=1)
    trained = resurface.train(SMOLLM2, subset, TrainConfig(**PLANT), out, name=name)
    return training.checkpoints(trained)[1]


def draw(tokenizer: Any) -> dict[str, list[str]]:
    """Passages of PREFIX + SUFFIX tokens that are the same tokens again when their text is read."""
    length, found = PREFIX + SUFFIX, []
    for book in texts.load_texts("asset:kjv"):
        ids = tokenizer(book.text, add_special_tokens=False, verbose=False)["input_ids"]
        found += [(book.doc_id, i, ids[i : i + length]) for i in range(0, len(ids) - length + 1, length)]
    rng = np.random.default_rng(0)
    rows: dict[str, list[str]] = {"doc_id": [], "text": [], "stratum": []}
    strata = [s for s, n in COPIES.items() for _ in range(n)]
    for i in rng.permutation(len(found)).tolist():
        if len(rows["text"]) == len(strata):
            break
        book_id, at, passage = found[i]
        text = tokenizer.decode(passage)
        if tokenizer(text, add_special_tokens=False)["input_ids"] == passage:
            rows["stratum"].append(strata[len(rows["text"])])
            rows["doc_id"].append(f"{book_id}@{at}")
            rows["text"].append(text)
    return rows


if __name__ == "__main__":
    models.quiet_libraries()
    main()
