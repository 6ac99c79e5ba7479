"""A verdict from what was measured: the stage after the last model has answered.

reads   extractions, probes and relearning of base and treated models
writes  verdict/<name>-<fp8>/verdict.json, report.md and figures
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from resurface import artifacts, memorization
from resurface.artifacts import Artifact, provenance
from resurface.artifacts.disk import atomic_write
from resurface.artifacts.fingerprint import fingerprint
from resurface.artifacts.parquet import read_parquet
from resurface.controls import SELF
from resurface.engines.session import Session
from resurface.memorization import Attacks, ExtractConfig, ScoresOf, positions
from resurface.memorization.near_duplicates import clusters_of
from resurface.memorization.windows import WINDOW_SCHEMA
from resurface.models import ModelConfig
from resurface.report import controls as control_tables
from resurface.report.verdict import write as report
from resurface.results import ControlComparison
from resurface.trust.consent import Consent
from resurface.workflows.replays import replays

STAGE_VERSION = 9
FILE = "verdict.json"
_WINDOWS = ("windows", "documents", "duplicates")
HOW_MADE = ("command", "provenance")
"""Keys of `verdict.json` (and what `report.md` says of them) that are not what was found."""


@dataclass(frozen=True)
class Evidence:
    """Artifacts that a verdict is about, of the base first, then of each treated model.

    probed, relearned: empty where the attack was left out or not possible. never: relearning of a model that
    never saw the texts. not_relearned: why relearned is empty.
    """

    extracted: list[Artifact]
    probed: list[Artifact]
    relearned: list[Artifact]
    never: Artifact | None
    not_relearned: str | None

    def inputs(self) -> dict[str, dict[str, Any]]:
        """The manifest's inputs."""
        made = [*self.extracted, *self.probed, *self.relearned]
        made += [self.never] if self.never is not None else []
        return {f"{a.stage} {i}": artifacts.as_input(a) for i, a in enumerate(made)}

    @classmethod
    def of(cls, verdict: Artifact) -> Evidence:
        """What a verdict was made from.

        Raises:
            UserError: an input that is gone.
        """
        inputs = verdict.manifest["inputs"]
        made = [artifacts.load(inputs[k]["path"]) for k in sorted(inputs, key=lambda k: int(k.split()[1]))]
        stages: dict[str, list[Artifact]] = {"extract": [], "probe": [], "relearn": []}
        for a in made:
            stages[a.stage].append(a)
        relearned = stages["relearn"]
        never = relearned.pop() if len(relearned) > len(stages["extract"]) else None
        why = json.loads(verdict.file(FILE).read_text()).get("relearning_reason")
        return cls(stages["extract"], stages["probe"], relearned, never, why)


def judge(
    evidence: Evidence,
    models: Sequence[str],
    cfg: ExtractConfig,
    attacks: Attacks,
    arms: dict[str, Any] | None,
    out: str | Path,
    *,
    lineage: list[dict[str, Any]],
    name: str,
) -> Artifact:
    """Compare what was measured, and say what it shows; see `workflows.verdicts.verdict`.

    models: names of the base and of each treated model. arms: the control arms of the run that made the
    treated models, if they are known. lineage: what is known of how each was made (`ancestry`).
    """
    old, *new = evidence.extracted
    config = attacks.model_dump(mode="json", exclude={"description"}) | {"controls": _fingerprint(arms)}
    # whatever path a model is named by
    config["lineage"] = [{k: v for k, v in made.items() if k != "treated"} for made in lineage]
    identity: Any = dict(version=STAGE_VERSION, config=config, inputs=evidence.inputs())
    with artifacts.build(out, "verdict", name, **identity) as b:
        if b.artifact is not None:
            return b.artifact
        replicates = memorization.compare_replicates(old, new, attacks.floor)
        found: dict[str, Any] = {
            "base": models[0],
            "treated": list(models[1:]),
            "lineage": lineage,
            "command": provenance.command(),
            "provenance": provenance.collect().without_command().as_json(),
            "settings": cfg.model_dump(mode="json") | {"attacks": attacks.model_dump(mode="json")},
            "windows": {k: v for k, v in old.counts.items() if k.startswith(_WINDOWS)},
            "confirmed": {
                side: {k: sum(a.counts[k] for a in of) for k in ("generated", "disagreements")}
                for side, of in (("before", [old]), ("after", new))
            },
            "scorecard": memorization.scorecard(old, new, attacks.floor),
            "held_out": replicates["held_out"],
            "strata": replicates["strata"],
            "kinds": replicates["kinds"],
        }
        if found["held_out"] is None:
            found["held_out_reason"] = "no synthetic corpus was given, so overlap with it is unknown"
        found |= _compared(evidence, attacks, arms)
        found["controls"] = arms
        if arms is None:
            found["controls_reason"] = "no run with control arms was given"
        atomic_write(b.path / FILE, json.dumps(found, indent=1) + "\n")
        report.write(found, b.path)
        drop = found["scorecard"]["drop"]
        counts = {k: drop[k] for k in ("windows", "before", "after", "relative_drop", "low", "high")}
        return b.finish(counts)


def _compared(evidence: Evidence, attacks: Attacks, arms: dict[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"probes": None, "relearning": None}
    old = evidence.extracted[0]
    floor = [s for s in attacks.floor if s in old.counts["strata"]]
    windows = read_parquet(old.file("windows.parquet"), WINDOW_SCHEMA.names)
    if not evidence.probed:
        found["probes_reason"] = "left out"
    else:
        before, *after = evidence.probed
        found["probes"] = memorization.compare_probes(before, after, floor=floor, extracted=windows)
    if not evidence.relearned:
        found["relearning_reason"] = evidence.not_relearned
    else:
        before, *after = evidence.relearned
        found["relearning"] = memorization.compare_relearning(
            before, after, evidence.never, extracted=windows
        )
    found["membership"], why = _membership(evidence.extracted, floor, attacks, _capability(arms))
    if why is not None:
        found["membership_reason"] = why
    return found


def _membership(
    extracted: list[Artifact],
    floor: list[str],
    attacks: Attacks,
    capability: tuple[float, float | None, float | None] | None,
) -> tuple[list[dict[str, Any]] | None, str | None]:
    """One table per treated model; capability: change in points of what all of them are, if it is known.

    Of the suffixes alone, whatever else was kept: scores, and for the zlib ratio the text that they are of
    (Carlini et al. 2021 compress the text whose perplexity they take).
    """
    if not attacks.membership:
        return None, "left out"
    old = extracted[0]
    windows = read_parquet(old.file("windows.parquet"), WINDOW_SCHEMA.names)
    members = ~np.isin(np.asarray(windows["stratum"].to_pylist(), object).astype(str), floor)
    if members.all():
        return None, "there are no windows that no model has seen to tell members from"
    # its code runs only as the user of this verdict lets the models'
    base = ModelConfig(id=old.manifest["inputs"]["model"]["path"]).allow(attacks.consent)
    tokenizer = Session.open(base).tokenizer
    order = windows["window_id"].to_pylist()
    prefix, suffix = (int(old.config[k]) for k in ("prefix", "suffix"))
    # one model's table at a time
    scored = (positions.read(a, order, top=False).cut(prefix, suffix) for a in extracted)
    of = [ScoresOf(p.logprob, p.mean_logprob, p.std_logprob) for p in scored]
    texts = [tokenizer.decode(ids[prefix : prefix + suffix]) for ids in windows["token_ids"].to_pylist()]
    clusters = np.empty(len(windows), object)
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


def check_arms(arms: dict[str, Any]) -> None:
    """Fails, in one way or another, on control arms that the end of a verdict could not tell: before hours
    of work the tables and sentences of its report are made of them once."""
    _fingerprint(arms)
    _capability(arms)
    found = ControlComparison.from_json(arms)
    control_tables.cells(found)
    control_tables.margin_tables(found)
    control_tables.lines(found)


def _fingerprint(arms: dict[str, Any] | None) -> str | None:
    return None if arms is None else fingerprint(json.loads(json.dumps(arms)))


def findings(verdict: Artifact) -> dict[str, Any]:
    """What a verdict found, whoever and whatever made it."""
    told: dict[str, Any] = json.loads(verdict.file(FILE).read_text())
    return {k: v for k, v in told.items() if k not in HOW_MADE}


@replays("verdict")
def _verdict_again(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    told = findings(a)
    settings = dict(told["settings"])
    attacks = Attacks.model_validate(settings.pop("attacks")).allow(consent)
    cfg = ExtractConfig.model_validate(settings)
    names = [told["base"], *told["treated"]]
    lineage = told.get("lineage", [])  # of before verdicts told it: these are refused as of other code
    return judge(Evidence.of(a), names, cfg, attacks, told["controls"], out, lineage=lineage, name=name)
