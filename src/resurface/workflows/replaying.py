"""`resurface replay`: make an artifact or a run again from what it wrote down, and compare bytes.

An artifact's manifest holds its whole configuration and where its inputs were; a run's directory
holds `recipe.yaml`. The replay goes to a directory of its own and touches nothing of the original.
Inputs are taken as they are: a verdict is judged again from the same extractions, probes and relearning,
each of which can be replayed itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resurface import artifacts, controls, models, workflows
from resurface.artifacts import Artifact
from resurface.errors import UserError
from resurface.memorization import Attacks, ExtractConfig, ProbeConfig, RelearnConfig
from resurface.models import ModelConfig
from resurface.specs import load_recipe
from resurface.stages import auditing, subsets
from resurface.stages.auditing import AuditConfig
from resurface.stages.evaluation import EvaluateConfig
from resurface.stages.sampling import SampleConfig
from resurface.stages.subsets import SubsetConfig
from resurface.trainer.config import TrainConfig
from resurface.trust.consent import Consent
from resurface.workflows.verdicts import assemble


def replay(
    source: str | Path,
    out: str | Path,
    *,
    trust_remote_code: bool = False,
    confirm_run_unsafe_code: bool = False,
) -> dict[str, Any]:
    """Replay a `manifest.json` (or its directory) or a run's `recipe.yaml` (or its directory).

    Returns path, identical (every data file has the same bytes; of a verdict, without the command and the
    machine that it names), and the names that differ. Other hardware or library versions may differ in the
    last bit; the manifest says what they were. trust_remote_code, confirm_run_unsafe_code: run code that
    models ship, or write; a manifest that says that this was allowed does not allow it again.

    Raises:
        UserError: nothing there to replay, an input that is gone or has changed.
    """
    path, consent = Path(source), Consent(trust_remote_code, confirm_run_unsafe_code)
    if (path / workflows.RECIPE_FILE).is_file() or path.suffix in (".yaml", ".yml"):
        return _replay_run(path if path.is_dir() else path.parent, path, out, consent)
    original = artifacts.load(path)
    if Path(out).resolve() == original.path.parent.parent.resolve():
        raise UserError(f"{out} holds the original", remedy="choose another --out")
    if original.stage not in _STAGES:
        raise UserError(
            f"{original.path}: a {original.stage} artifact is not made again by itself",
            remedy="replay the run that it belongs to, or give the command of its provenance again",
        )
    made = _STAGES[original.stage](original, original.path.name.rsplit("-", 1)[0], out, consent)
    if made.fingerprint != original.fingerprint:
        changed = [
            role
            for role, entry in original.manifest["inputs"].items()
            if made.manifest["inputs"].get(role, {}).get("fingerprint") != entry["fingerprint"]
        ]
        raise UserError(
            f"{original.path} cannot be replayed: changed since then: {', '.join(changed) or 'the code'}",
            remedy="see inputs and provenance in its manifest",
        )
    different = _different(original, made)
    return {"path": str(made.path), "identical": not different, "different": different}


def _replay_run(root: Path, source: Path, out: str | Path, consent: Consent) -> dict[str, Any]:
    recipe = source / workflows.RECIPE_FILE if source.is_dir() else source
    originals = {
        m.parent.relative_to(root).as_posix(): artifacts.load(m) for m in root.glob("*/*/manifest.json")
    }
    if not originals:
        raise UserError(f"{root} holds no artifacts to compare with", remedy="resurface run --recipe FILE")
    if root.resolve() == Path(out).resolve():
        raise UserError(f"{out} holds the original", remedy="choose another --out")
    summary = workflows.run(load_recipe(str(recipe)).allow(consent), out)
    different = []
    for stage in summary["stages"]:
        place = stage["artifact"]
        if place not in originals:
            different.append(f"{place} (not in the original)")
            continue
        names = _different(originals[place], artifacts.load(Path(out) / place))
        different += [f"{place}/{name}" for name in names]
    return {"path": str(out), "identical": not different, "different": different}


def _different(a: Artifact, b: Artifact) -> list[str]:
    left, right = a.manifest["files"], b.manifest["files"]
    names = sorted(n for n in left.keys() | right.keys() if left.get(n) != right.get(n))
    if a.stage == "verdict":
        # its report tells nothing that verdict.json does not
        told = _found(a) == _found(b)
        names = [n for n in names if n != "report.md" and not (n == assemble.FILE and told)]
    return names


def _found(verdict: Artifact) -> dict[str, Any]:
    """What a verdict found, whoever and whatever made it."""
    found: dict[str, Any] = json.loads(verdict.file(assemble.FILE).read_text())
    return {k: v for k, v in found.items() if k not in assemble.HOW_MADE}


def _input(a: Artifact, role: str) -> Artifact:
    return artifacts.load(a.manifest["inputs"][role]["path"])


def _model(a: Artifact, consent: Consent, role: str = "model") -> ModelConfig:
    held = ModelConfig(id=a.manifest["inputs"][role]["path"], dtype=a.config.get("dtype", "auto"))
    return held.allow(consent)


def _only(kind: Any, a: Artifact) -> Any:
    """The stage's own options out of a manifest's config, which may hold resolved facts beside them."""
    return kind.model_validate({k: v for k, v in a.config.items() if k in kind.model_fields})


def _sample(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    return workflows.sample(_model(a, consent), _only(SampleConfig, a), out, name=name)


def _audit(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    return auditing.audit(_input(a, "corpus"), _only(AuditConfig, a), out, name=name)


def _subset(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    if "shuffled_from" in a.config:
        cfg = _only(controls.ShuffleConfig, a)
        return controls.shuffle(_input(a, "subset"), cfg, out, name=name)
    return subsets.subset(_input(a, "corpus"), _only(SubsetConfig, a), out, name=name)


def _train(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    cfg, k = _only(TrainConfig, a), a.config["replicate"]
    return workflows.train(_model(a, consent), _input(a, "subset"), cfg, out, replicate=k, name=name)


def _weights(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    base, treated = (models.resolve(_model(a, consent, role)) for role in ("model", "treated"))
    return controls.control_model(base, treated, _only(controls.WeightsConfig, a), out, name=name)


def _evaluate(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    cfg = _only(EvaluateConfig, a).allow(consent)
    if a.config.get("confirm_run_unsafe_code") and not cfg.confirm_run_unsafe_code:
        raise UserError(
            f"{a.path} was made by running code that the model wrote",
            remedy="in a sandbox, confirm with --confirm-run-unsafe-code",
        )
    return workflows.evaluate(_model(a, consent), cfg, out, name=name)


def _extract(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    corpus = _input(a, "corpus") if "corpus" in a.manifest["inputs"] else None
    return workflows.extract(_model(a, consent), _only(ExtractConfig, a), out, corpus=corpus, name=name)


def _windows(a: Artifact) -> dict[str, Any]:
    """Where an attack's windows are from."""
    entry: dict[str, Any] = a.manifest["inputs"]["windows"]
    if "path" not in entry:
        raise UserError(
            f"{a.path} was made before manifests said where its windows were",
            remedy="make the verdict that it belongs to again, by the command of its provenance",
        )
    return entry


def _probe(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    return workflows.probe(_model(a, consent), _windows(a)["path"], _only(ProbeConfig, a), out, name=name)


def _relearn(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    windows, cfg = _windows(a), _only(RelearnConfig, a)
    how: Any = dict(batch_size=windows["batch_size"], name=name)
    return workflows.relearn(_model(a, consent), windows["path"], cfg, windows["floor"], out, **how)


def _verdict(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    found = _found(a)
    settings = dict(found["settings"])
    attacks = Attacks.model_validate(settings.pop("attacks")).allow(consent)
    cfg = ExtractConfig.model_validate(settings)
    evidence, models = workflows.Evidence.of(a), [found["base"], *found["treated"]]
    lineage = found.get("lineage", [])  # of before verdicts told it: these are refused as of other code
    return workflows.judge(evidence, models, cfg, attacks, found["controls"], out, lineage=lineage, name=name)


def _lab(a: Artifact, name: str, out: str | Path, consent: Consent) -> Artifact:
    c = a.config
    (made,) = workflows.build_lab(
        [c["model"]["name"]], out, seed=c["seed"], people=c["people"], precision=c["precision"]
    )
    return made


_STAGES: dict[str, Callable[[Artifact, str, str | Path, Consent], Artifact]] = {
    "sample": _sample,
    "audit": _audit,
    "subset": _subset,
    "train": _train,
    "weights": _weights,
    "evaluate": _evaluate,
    "extract": _extract,
    "probe": _probe,
    "relearn": _relearn,
    "verdict": _verdict,
    "lab": _lab,
}
