"""What a treatment did to memorization, attacked from several sides, in one verdict.

    base, treated -> extract -> scorecard
                     probe    other prefixes                 \\
                     relearn  with a model that never saw     > verdict/<name>-<fp8>/verdict.json, report.md
                     membership, control arms of a run       /

Several treated models are replicates (seeds) of one treatment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from resurface import artifacts, memorization, models, provenance
from resurface.artifacts import Artifact
from resurface.controls import SELF
from resurface.disk import atomic_write
from resurface.errors import UserError
from resurface.fingerprints import fingerprint
from resurface.memorization import Attacks, ExtractConfig, ScoresOf, positions
from resurface.memorization.clusters import clusters_of
from resurface.memorization.windows import WINDOW_SCHEMA
from resurface.models import ModelConfig
from resurface.pipeline.stages import (
    OUT,
    Given,
    Lazy,
    Model,
    Session,
    as_config,
    extract,
    given,
    load_texts,
)
from resurface.report import verdict as report
from resurface.tables import read_parquet

STAGE_VERSION = 3


def verdict(
    base: Model,
    treated: Sequence[Model],
    cfg: ExtractConfig,
    attacks: Attacks,
    out: str | Path = OUT,
    *,
    corpus: Sequence[Given] = (),
    controls: str | Path | None = None,
    name: str = "verdict",
) -> Artifact:
    """Extract from base and treated models, attack both, and say what that shows.

    corpus: the synthetic corpus, to mark windows that share an n-gram with it: one, or one per treated
    model. controls: directory of a run
    or sweep whose recipe has control arms and which made these treated models. Returns the verdict artifact;
    `verdict.json` in it has scorecard, held_out, strata, probes, relearning, membership and controls, each
    None with `<name>_reason` where it was left out or is not possible.

    Raises:
        UserError: models of other tokenizers, controls of another run, corpora that are neither one nor one
            per treated model; before any long work.
    """
    if not treated:
        raise UserError("there is no treated model", remedy="resurface extract BASE TREATED --windows ...")
    if len(corpus) not in (0, 1, len(treated)):
        raise UserError(
            f"{len(corpus)} corpora for {len(treated)} treated models", remedy="give one, or one for each"
        )
    texts: list[Artifact | None] = [given(c) for c in corpus] or [None]
    texts *= len(treated) // len(texts)
    held = [as_config(m) for m in (base, *treated)]
    refs = [models.resolve(m) for m in held]
    if {d.stratum for d in load_texts(cfg)} <= set(attacks.floor):
        raise UserError(
            f"all texts are of the floor ({', '.join(attacks.floor)}): nothing could be memorized",
            remedy="add texts that the model was trained on, or name another floor",
        )
    arms = _controls(controls, refs) if controls is not None else None
    for other in (*held[1:], *([attacks.never_saw] if attacks.never_saw else [])):
        _same_tokenizer(held[0], other)
    names = ["base", *(f"treated{i}" for i in range(len(treated)))]
    old = extract(held[0], cfg, out, name=names[0])
    new = [
        extract(m, cfg, out, corpus=text, against=old, name=n)
        for m, n, text in zip(held[1:], names[1:], texts, strict=True)
    ]
    probed = [_probe(m, a, attacks, out, n) for m, a, n in zip(held, (old, *new), names, strict=True)]
    relearned, reason = _relearn(held, old, attacks, out, names)
    made = [old, *new, *(p for p in probed if p is not None), *relearned.values()]
    inputs = {f"{a.stage} {i}": artifacts.as_input(a) for i, a in enumerate(made)}
    config = attacks.model_dump(mode="json", exclude={"description"}) | {"controls": _fingerprint(arms)}
    with artifacts.build(out, "verdict", name, version=STAGE_VERSION, config=config, inputs=inputs) as b:
        if b.artifact is not None:
            return b.artifact
        replicates = memorization.compare_replicates(old, new)
        found: dict[str, Any] = {
            "base": held[0].id,
            "treated": [m.id for m in held[1:]],
            "command": provenance.command(),
            "provenance": {k: v for k, v in provenance.collect().items() if k != "command"},
            "settings": cfg.model_dump(mode="json") | {"attacks": attacks.model_dump(mode="json")},
            "windows": {k: v for k, v in old.counts.items() if k.startswith(("windows", "documents"))},
            "scorecard": memorization.scorecard(old, new, attacks.floor),
            "held_out": replicates["held_out"],
            "strata": replicates["strata"],
        }
        if found["held_out"] is None:
            found["held_out_reason"] = "no synthetic corpus was given, so overlap with it is unknown"
        found |= _compared(held, old, new, probed, relearned, reason, attacks, arms)
        found["controls"] = arms
        if arms is None:
            found["controls_reason"] = "no run with control arms was given"
        atomic_write(b.path / "verdict.json", json.dumps(found, indent=1) + "\n")
        report.write(found, b.path)
        drop = found["scorecard"]["drop"]
        counts = {k: drop[k] for k in ("windows", "before", "after", "relative_drop", "low", "high")}
        return b.finish(counts)


def _compared(
    held: list[ModelConfig],
    old: Artifact,
    new: list[Artifact],
    probed: list[Artifact | None],
    relearned: dict[str, Artifact],
    reason: str | None,
    attacks: Attacks,
    arms: dict[str, Any] | None,
) -> dict[str, Any]:
    found: dict[str, Any] = {"probes": None, "relearning": None}
    floor = _present(old, attacks.floor)
    windows = read_parquet(old.file("windows.parquet"), WINDOW_SCHEMA.names)
    if probed[0] is None:
        found["probes_reason"] = "left out"
    else:
        found["probes"] = memorization.compare_probes(
            probed[0], [p for p in probed[1:] if p is not None], floor=floor, extracted=windows
        )
    if not relearned:
        found["relearning_reason"] = reason
    else:
        mine = [relearned[f"treated{i}"] for i in range(len(new))]
        found["relearning"] = memorization.compare_relearning(
            relearned["base"], mine, relearned.get("never"), extracted=windows
        )
    found["membership"], why = _membership(held[0], old, new, floor, attacks, _capability(arms))
    if why is not None:
        found["membership_reason"] = why
    return found


def _present(extraction: Artifact, floor: Sequence[str]) -> list[str]:
    return [s for s in floor if s in extraction.counts["strata"]]


def _probe(model: ModelConfig, a: Artifact, attacks: Attacks, out: str | Path, name: str) -> Artifact | None:
    cfg = attacks.probe
    if cfg is None:
        return None
    s = Session.open(model)
    windows = read_parquet(a.file("windows.parquet"), WINDOW_SCHEMA.names)
    return memorization.probe(
        Lazy(lambda: s.engine(cfg.batch_size)), s.tokenizer, s.ref.fingerprint, str(s.ref.path),
        windows, a.config["prefix"], cfg, out,
        name=name, start_ids=a.config["start_ids"], context=models.context_length(s.ref), dtype=s.dtype,
    )  # fmt: skip


def _relearn(
    held: list[ModelConfig], old: Artifact, attacks: Attacks, out: str | Path, names: list[str]
) -> tuple[dict[str, Artifact], str | None]:
    """Relearning of every model by name, "never" among them if there is one; else why there is none."""
    if attacks.relearn is None:
        return {}, "left out"
    windows = read_parquet(old.file("windows.parquet"), [*WINDOW_SCHEMA.names, "exact_match"])
    floor = np.isin(np.asarray(windows["stratum"].to_pylist(), object).astype(str), list(attacks.floor))
    recited = np.asarray(windows["exact_match"].to_pylist(), bool)
    try:
        memorization.split(windows, recited, floor, attacks.relearn)
    except UserError as e:
        return {}, e.message
    everyone = dict(zip(names, held, strict=True))
    if attacks.never_saw is not None:
        everyone["never"] = attacks.never_saw
    found = {}
    for name, model in everyone.items():
        s = Session.open(model)
        found[name] = memorization.relearn(
            s.ref, windows.select(WINDOW_SCHEMA.names), recited, floor, old.config["prefix"], attacks.relearn,
            out, start_ids=old.config["start_ids"], device=s.device, batch_size=attacks.batch_size, name=name,
        )  # fmt: skip
    return found, None


def _membership(
    base: ModelConfig,
    old: Artifact,
    new: list[Artifact],
    floor: list[str],
    attacks: Attacks,
    capability: tuple[float, float | None, float | None] | None,
) -> tuple[list[dict[str, Any]] | None, str | None]:
    """One table per treated model; capability: change in points of what all of them are, if it is known."""
    if not attacks.membership:
        return None, "left out"
    windows = read_parquet(old.file("windows.parquet"), WINDOW_SCHEMA.names)
    members = ~np.isin(np.asarray(windows["stratum"].to_pylist(), object).astype(str), floor)
    if members.all():
        return None, "there are no windows that no model has seen to tell members from"
    tokenizer = Session.open(base).tokenizer
    order = windows["window_id"].to_pylist()
    scored = [positions.read(a, order) for a in (old, *new)]
    of = [ScoresOf(p.logprob, p.mean_logprob, p.std_logprob) for p in scored]
    texts = [tokenizer.decode(ids) for ids in windows["token_ids"].to_pylist()]
    clusters = windows["doc_id"].to_numpy(zero_copy_only=False)
    for side in (members, ~members):  # which are resampled apart
        clusters[side] = clusters_of(windows.filter(pa.array(side))).names
    known: Any = dict(texts=texts, members=members, clusters=clusters.tolist())
    known |= dict(reference_logprob=of[0].logprob, capability_change=capability)
    return [memorization.membership(of[0], after, **known) for after in of[1:]], None


def _capability(arms: dict[str, Any] | None) -> tuple[float, float | None, float | None] | None:
    """What the run with control arms measured of self-training itself, in points."""
    for p in arms["points"] if arms is not None else ():
        if p["arm"] == SELF and p["dose"] == 1 and p["overall"]["change"] is not None:
            low, high = (None if p["overall"][k] is None else 100 * p["overall"][k] for k in ("low", "high"))
            return 100 * p["overall"]["change"], low, high
    return None


def _same_tokenizer(base: ModelConfig, other: ModelConfig) -> None:
    mine, theirs = (models.load_tokenizer(models.resolve(m)) for m in (base, other))
    if mine.get_vocab() != theirs.get_vocab():
        raise UserError(
            f"{other.id} has another tokenizer than {base.id}: windows are other tokens for it",
            remedy="compare models that have one tokenizer",
        )


def _controls(root: str | Path, refs: list[models.ModelRef]) -> dict[str, Any]:
    """The control arms that a run or a point of a sweep measured, if it is about these very models."""
    root = Path(root)
    if (root / "sweep.json").is_file():
        points = json.loads((root / "sweep.json").read_text())["points"]
    elif (root / "summary.json").is_file():
        points = [json.loads((root / "summary.json").read_text())]
    else:
        raise UserError(f"{root} holds no finished run or sweep", remedy="give the directory of one")
    if not any("controls" in p for p in points):
        raise UserError(f"the recipe of {root} has no control arms", remedy="add controls: to it")
    base, treated = refs[0].fingerprint, {r.fingerprint for r in refs[1:]}
    for p in points:
        if treated <= _trained(root, p, base):
            return dict(p["controls"]) | {"from": root.name}
    raise UserError(
        f"{root} did not make {', '.join(r.spec for r in refs[1:])} of {refs[0].spec} in one treatment: its "
        "control arms are not of this one",
        remedy="give the run or sweep that trained them",
    )


def _trained(root: Path, point: dict[str, Any], base: str) -> set[str]:
    """Fingerprints of the models that self-training ended with: a point's paths at dose 1, from this base."""
    found = set()
    for manifest in root.glob(f"weights/{SELF}-dose1-*/manifest.json"):
        inputs = json.loads(manifest.read_text())["inputs"]
        if inputs["model"]["fingerprint"] == base:
            found.add(inputs["treated"]["fingerprint"])
    if "artifacts" in point:  # of a sweep: the scores of this point's seeds, out of all points'
        manifests = [json.loads((root / a / "manifest.json").read_text()) for a in point["artifacts"]]
        found &= {m["inputs"]["model"]["fingerprint"] for m in manifests}
    return found


def _fingerprint(arms: dict[str, Any] | None) -> str | None:
    return None if arms is None else fingerprint(json.loads(json.dumps(arms)))
