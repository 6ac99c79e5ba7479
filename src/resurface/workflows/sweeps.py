"""A sweep: a recipe over a grid of settings and seeds; extraction against capability, point by point.

All points share one directory: a corpus that several points train on is sampled once.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from resurface import memorization, progress
from resurface.artifacts import provenance
from resurface.artifacts.disk import atomic_write, disk_errors, require_space
from resurface.engines.session import Session
from resurface.errors import UserError
from resurface.executors import run_jobs
from resurface.report import sweep as report
from resurface.specs import Recipe, Sweep, load_sweep, to_yaml
from resurface.trust.consent import Consent
from resurface.workflows import raw
from resurface.workflows.runs import SelfTrained, check, measure, prepare, self_train
from resurface.workflows.seeds import arms, capability
from resurface.workflows.stages import Stages, check_root, evaluate

SWEEP_FILE = "sweep.yaml"


def sweep(
    cfg: Sweep,
    out: str | Path | None = None,
    *,
    workers: int = 1,
    trust_remote_code: bool = False,
    confirm_run_unsafe_code: bool = False,
) -> dict[str, Any]:
    """Run a sweep; returns its points (also sweep.json, report.md, figures and `raw` material in `out`).

    out: default runs/NAME; the same sweep there is continued, also with more values or seeds.
    workers: processes that share the cores. trust_remote_code, confirm_run_unsafe_code: as for `run`.

    Raises:
        UserError: a recipe that would fail later, or `out` is another sweep's.
    """
    root = Path(out) if out is not None else Path("runs") / cfg.name
    cfg = cfg.allow(Consent(trust_remote_code, confirm_run_unsafe_code))
    points = [(point, [cfg.recipe_of(point, seed) for seed in cfg.seeds]) for point in cfg.points()]
    recipes = [r for _, each in points for r in each]
    _preflight(cfg, recipes, root)
    first = recipes[0]
    progress.note(f"== {len(points)} points x {len(cfg.seeds)} seeds")
    # two seeds of one model must not measure it at the same time
    for r in {r.model.id: r for r in recipes}.values():
        Stages(root)(
            f"evaluate, base: {r.model.id}", partial(evaluate, r.model, r.evaluate, root, name="base")
        )
    texts = {to_yaml(r.model_copy(update={"train": first.train})): r for r in recipes}
    run_jobs(
        "corpora",
        {
            f"text {i} ({r.model.id}, seed {r.sample.seed})": partial(_text, r, root)
            for i, r in enumerate(texts.values(), 1)
        },
        workers,
    )
    # points of one seed may have arms in common, which two processes must not make at the same time
    jobs = {
        f"{report.name({'settings': point})}, seed {seed}": [r]
        for point, each in points
        for seed, r in zip(cfg.seeds, each, strict=True)
    }
    if any(r.controls for r in recipes):
        jobs = {f"seed {seed}": [each[i] for _, each in points] for i, seed in enumerate(cfg.seeds)}
    run_jobs("self-training", {name: partial(_whole, job, root) for name, job in jobs.items()}, workers)
    # everything is there by now: it is read, seed by seed, and put together
    done = [[self_train(r, root, Stages(root, aloud=False)) for r in each] for _, each in points]
    made = {
        "command": provenance.command(),
        "provenance": provenance.collect().without_command().as_json(),
    }
    found = {
        "sweep": cfg.model_dump(mode="json"),
        **made,
        "workers": workers,
        "points": _mark_frontier(
            [_point(p, each, of, root) for (p, each), of in zip(points, done, strict=True)]
        ),
    }
    atomic_write(root / "sweep.json", json.dumps(found, indent=1) + "\n")
    _raw(cfg, points, done, made, root)
    report.write(found, root)
    return found


def _text(recipe: Recipe, root: Path) -> None:
    stages = Stages(root)
    _, audited, _ = prepare(recipe, root, stages)
    measure(recipe, recipe.model, "base", root, audited, stages)


def _whole(recipes: list[Recipe], root: Path) -> None:
    for recipe in recipes:
        self_train(recipe, root, Stages(root))


def _raw(
    cfg: Sweep,
    points: list[tuple[dict[str, Any], list[Recipe]]],
    done: list[list[SelfTrained]],
    made: dict[str, Any],
    root: Path,
) -> None:
    """The answers behind sweep.json: raw.json and the arrays beside it (`workflows.raw`)."""
    of = [
        (
            point,
            list(cfg.seeds),
            each[0].measured[0],
            [d.arms or raw.self_alone(d.measured[-1]) for d in each],
        )
        for (point, _), each in zip(points, done, strict=True)
    ]
    raw.of_sweep(of, {"name": cfg.name, **made}, root)


def _point(
    point: dict[str, Any], recipes: list[Recipe], done: list[SelfTrained], root: Path
) -> dict[str, Any]:
    """One point of the grid, its seeds put together."""
    base, treated = done[0].measured[0], [d.measured[-1] for d in done]
    non_members = recipes[0].extract.non_members if recipes[0].extract is not None else ()
    found = {
        "settings": point,
        "seeds": [r.sample.seed for r in recipes],
        **capability(base["scores"], [m["scores"] for m in treated]),
        "extraction": memorization.compare_replicates(
            base["extraction"], [m["extraction"] for m in treated], non_members
        )
        if recipes[0].extract is not None
        else None,
        "artifacts": [m["scores"].path.relative_to(root).as_posix() for m in treated],
    }
    if (cfg := recipes[0].controls) is not None:
        found["controls"] = arms(base, [d.arms for d in done], cfg, non_members)
    return found


def _mark_frontier(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """on_frontier: no other point keeps more capability and loses more extraction (point estimates)."""
    places = [_place(p) for p in points]
    known = [place for place in places if place is not None]
    for p, mine in zip(points, places, strict=True):
        p["on_frontier"] = mine is not None and not any(
            other != mine and other[0] >= mine[0] and other[1] >= mine[1] for other in known
        )
    return points


def _place(p: dict[str, Any]) -> tuple[float, float] | None:
    change = p["overall"]["change"]
    drop = p["extraction"] and p["extraction"]["all"]["relative_drop"]
    return None if change is None or drop is None else (change, drop)


def _preflight(cfg: Sweep, recipes: list[Recipe], root: Path) -> None:
    text, marker = to_yaml(cfg), root / SWEEP_FILE
    check_root(root, marker, "sweep")
    # a grid may grow: what is there already is found by its fingerprints
    if marker.exists() and load_sweep(str(marker)).name != cfg.name:
        raise UserError(f"{root} belongs to another sweep", remedy="choose another --out")
    if recipes[0].subset.count != 1:
        raise UserError("a sweep's replicates are its seeds", remedy="set subset.count: 1 in its change")
    weights = 0
    for recipe in recipes[:: len(cfg.seeds)]:
        session = Session.open(recipe.model, recipe.sample.start)
        check(recipe, session)
        weights = max(weights, sum(p.stat().st_size for p in session.ref.path.glob("*.safetensors")))
    with disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        kept = sum(1 + (r.controls.models if r.controls else 0) for r in recipes)
        require_space(root, weights * (kept + 6))
        atomic_write(marker, text)
