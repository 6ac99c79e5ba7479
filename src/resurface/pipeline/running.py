"""A recipe from a model to a report.

    sample -> audit -> subset -> train (per subset) -> evaluate, extract (base, every checkpoint)

Every stage is an artifact, so a run that was stopped anywhere is continued by the same command:
what is finished is reused, what is unfinished resumes. Everything that can be refused is refused
in `_preflight`, before the first token is sampled.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from resurface import artifacts, auditing, benchmarks, subsets, training
from resurface.artifacts import Artifact
from resurface.errors import UserError
from resurface.models import ModelConfig
from resurface.pipeline.stages import Session, Stages, evaluate, extract, load_texts, sample, train
from resurface.recipe import Recipe, to_yaml
from resurface.report.summary import summarize, write_report

RECIPE_FILE = "recipe.yaml"
RUN_FILE = "run.json"


def run(recipe: Recipe, out: str | Path | None = None) -> dict[str, Any]:
    """Self-train `recipe.model` and measure it; returns the summary (also written as JSON).

    out: directory of the run (default: runs/<recipe name>). The same recipe there is continued.

    Raises:
        UserError: anything about the recipe, the model or the machine that would fail later.
    """
    root = Path(out) if out is not None else Path("runs") / recipe.name
    _preflight(recipe, root)
    stages = Stages(root)
    corpus = stages("sample", lambda: sample(recipe.model, recipe.sample, root))
    audited = stages("audit", lambda: auditing.audit(corpus, recipe.audit, root, name="corpus"))
    subset = stages("subset", lambda: subsets.subset(audited, recipe.subset, root))
    measured = [_measure(recipe, recipe.model, "base", root, audited, stages)]
    for k in range(recipe.subset.count):
        trained = stages(f"train, subset {k}", partial(_train, recipe, subset, k, root))
        for epoch, path in training.checkpoints(trained).items():
            tuned = recipe.model.model_copy(update={"id": str(path), "revision": None})
            label = f"subset {k}, epoch {epoch}"
            found = _measure(recipe, tuned, label, root, audited, stages)
            measured.append(found | {"subset": k, "epoch": epoch})
    summary = summarize(recipe, root, stages.records, corpus, audited, measured)
    artifacts.atomic_write(root / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_report(summary, root / "report.md")
    return summary


def _train(recipe: Recipe, subset: Artifact, k: int, root: Path) -> Artifact:
    return train(recipe.model, subset, recipe.train, root, replicate=k, name=f"subset{k}")


def _measure(
    recipe: Recipe, model: ModelConfig, label: str, root: Path, audited: Artifact, stages: Stages
) -> dict[str, Any]:
    """Evaluate and extract one model of the run."""
    name = label.replace(", ", "-").replace(" ", "")
    found: dict[str, Any] = {"label": label}
    found["scores"] = stages(f"evaluate, {label}", lambda: evaluate(model, recipe.evaluate, root, name=name))
    if (cfg := recipe.extract) is not None:
        found["extraction"] = stages(
            f"extract, {label}", lambda: extract(model, cfg, root, corpus=audited, name=name)
        )
    return found


def _preflight(recipe: Recipe, root: Path) -> None:
    """Refuse now what would fail hours from now."""
    identity = {"recipe": recipe.model_dump(mode="json", exclude={"description"})}
    marker = root / RUN_FILE
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file", remedy="choose another --out")
    if marker.exists():
        known = json.loads(marker.read_text())
        if known["recipe"] != identity["recipe"]:
            theirs, ours = known["recipe"], identity["recipe"]
            differs = [k for k in ours if theirs.get(k) != ours[k]]
            raise UserError(
                f"{root} belongs to another recipe (different: {', '.join(differs)})",
                remedy=f"choose another --out, or continue that one with --recipe {root / RECIPE_FILE}",
            )
    elif root.exists() and any(root.iterdir()):
        raise UserError(f"{root} is not empty and holds no run", remedy="choose another --out")
    need, sampled = recipe.subset.tokens * recipe.subset.count, recipe.sample.tokens
    independent = recipe.subset.with_replacement or not recipe.subset.disjoint
    if sampled is not None and not independent and need > sampled:
        raise UserError(
            f"subset asks for {recipe.subset.count} x {recipe.subset.tokens:,} tokens out of a corpus of "
            f"{sampled:,}",
            remedy="raise sample.tokens, or lower subset.tokens or subset.count",
        )
    benchmarks.check_tasks(recipe.evaluate.tasks)
    if not recipe.audit.allow_missing:
        auditing.check_benchmarks(recipe.audit.benchmarks)
    if recipe.extract is not None:
        load_texts(recipe.extract)
    session = Session.open(recipe.model, recipe.sample.start)
    context = json.loads((session.ref.path / "config.json").read_text()).get("max_position_embeddings")
    longest = max(recipe.sample.max_new_tokens + 1, recipe.train.cutoff)
    if context and longest > context:
        raise UserError(
            f"{recipe.model.id} has {context} positions; the recipe asks for {longest}",
            remedy="lower sample.max_new_tokens or train.cutoff",
        )
    weights = sum(p.stat().st_size for p in session.ref.path.glob("*.safetensors"))
    kept = -(-recipe.train.epochs // recipe.train.checkpoint_every) * recipe.subset.count
    with artifacts.disk_errors(root):
        artifacts.require_space(root, weights * (kept + 6))
        root.mkdir(parents=True, exist_ok=True)
        artifacts.atomic_write(marker, json.dumps(identity, indent=1) + "\n")
        artifacts.atomic_write(root / RECIPE_FILE, to_yaml(recipe))
