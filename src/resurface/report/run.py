"""From the artifacts of a run to its summary (JSON), tables for the terminal, and report.md.

Every number here is derived from item rows and window rows; differences are paired by item and
carry a 95% interval. A metric that could not be computed is null with a reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resurface import memorization
from resurface.artifacts import Artifact, provenance
from resurface.artifacts.disk import atomic_write
from resurface.artifacts.provenance import Provenance
from resurface.artifacts.records import StageRecord
from resurface.benchmarks.chance import uninformative
from resurface.progress import duration
from resurface.report import controls
from resurface.report.capability import marked, shown, without
from resurface.report.format import commit, machine, markdown, table
from resurface.specs import Recipe
from resurface.stages.evaluation import headline_items, headline_metric, items
from resurface.stats.intervals import mean_change, paired_bootstrap


def summarize(
    recipe: Recipe,
    root: Path,
    stages: list[StageRecord],
    corpus: Artifact,
    audited: Artifact,
    measured: list[dict[str, Any]],
) -> dict[str, Any]:
    """measured: base first, then checkpoints; each {label, scores, extraction?, subset?, epoch?}."""
    base = measured[0]
    return {
        "recipe": recipe.model_dump(mode="json"),
        "command": provenance.command(),
        "provenance": Provenance.from_json(corpus.manifest["provenance"]).without_command().as_json(),
        "seed": recipe.sample.seed,
        "model_fingerprint": corpus.manifest["inputs"]["model"]["fingerprint"],
        "start": corpus.config["start_tokens"],
        "stages": [s.as_json() for s in stages],
        "wall_time_s": round(sum(s.wall_time_s for s in stages), 1),
        "corpus": corpus.counts,
        "audit": audited.counts,
        "models": [
            {
                "label": m["label"],
                "subset": m.get("subset"),
                "epoch": m.get("epoch"),
                "scores": compare_scores(base["scores"], m["scores"]),
                "overall": overall(base["scores"], m["scores"]),
                "extraction": _extraction(base, m, recipe),
            }
            for m in measured
        ],
    }


def compare_scores(base: Artifact, model: Artifact) -> list[dict[str, Any]]:
    """One row per (task, metric): mean of the model, and its paired change against the base.

    Raises:
        ValueError: the two were not measured on the same items.
    """
    before, after = items(base), items(model)
    if before.keys() != after.keys():
        raise ValueError(f"{base.path} and {model.path} hold different tasks or metrics")
    rows = []
    for (task, metric), values in sorted(after.items()):
        old = before[task, metric]
        if old.keys() != values.keys():
            raise ValueError(f"{task}: the two models were measured on different items")
        docs = [d for d in values if values[d] is not None and old[d] is not None]
        row: dict[str, Any] = {"task": task, "metric": metric, "n": len(docs)}
        if not docs:
            rows.append(row | {"mean": None, "change": None, "reason": "no item has this metric"})
            continue
        now = [float(values[d]) for d in docs]  # type: ignore[arg-type]
        row["mean"] = sum(now) / len(now)
        if model.path != base.path:
            change, low, high = paired_bootstrap([float(old[d]) for d in docs], now)  # type: ignore[arg-type]
            row |= {"change": change, "low": low, "high": high}
        rows.append(row)
    return rows


def overall(base: Artifact, model: Artifact) -> dict[str, Any]:
    """Mean over tasks of the headline metric, and its paired change against the base."""
    before, after = headline_items(base), headline_items(model)
    both = {t: sorted(before[t].keys() & after[t].keys()) for t in before}
    both = {t: docs for t, docs in both.items() if docs}
    if not both:
        return {"mean": None, "change": None, "reason": "no task has an accuracy per item"}
    row: dict[str, Any] = {
        "mean": sum(sum(after[t][d] for d in both[t]) / len(both[t]) for t in both) / len(both)
    }
    if model.path != base.path:
        differences = [[after[t][d] - before[t][d] for d in docs] for t, docs in both.items()]
        row["change"], row["low"], row["high"] = mean_change(differences)
        levels = {t: sum(before[t].values()) / len(before[t]) for t in both}
        able = [
            d for t, d in zip(both, differences, strict=True) if not uninformative(t, levels[t], len(both[t]))
        ]
        if 0 < len(able) < len(differences):
            change, low, high = mean_change(able)
            row["informative"] = {"change": change, "low": low, "high": high}
    return row


def _extraction(base: dict[str, Any], m: dict[str, Any], recipe: Recipe) -> dict[str, Any] | None:
    if "extraction" not in m:
        return None
    assert recipe.extract is not None
    found = {"counts": m["extraction"].counts}
    if m is not base:
        found["against_base"] = memorization.compare(
            base["extraction"], m["extraction"], recipe.extract.non_members
        )
    return found


# ------------------------------------------------------------------------------ tables


def headline(task_rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One accuracy-like metric per task: see `evaluation.headline_metric`."""
    by_task: dict[str, list[dict[str, Any]]] = {}
    for row in task_rows:
        by_task.setdefault(row["task"], []).append(row)
    best = {task: headline_metric([r["metric"] for r in rows]) for task, rows in by_task.items()}
    return [r for r in task_rows if r["metric"] == best[r["task"]]]


def score_cells(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a task per row, base and every checkpoint per column."""
    columns = [m["label"] for m in summary["models"]]
    rows = []
    for base in headline(summary["models"][0]["scores"]):
        cells = [base["task"], base["metric"], str(base["n"])]
        for m in summary["models"]:
            row = next(r for r in m["scores"] if r["task"] == base["task"] and r["metric"] == base["metric"])
            if row["mean"] is None:
                cells.append("n/a")
            else:
                cells.append(_changed(row))
        rows.append(cells)
    means = [m["overall"] for m in summary["models"]]
    if len(rows) > 1 and all(m["mean"] is not None for m in means):
        rows.append(["mean of tasks", "", "", *(_changed(m) for m in means)])
    return ["task", "metric", "n", *columns], rows


def _changed(row: dict[str, Any]) -> str:
    if row.get("change") is None:
        return f"{row['mean']:.3f}"
    return f"{row['mean']:.3f} ({row['change']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}])"


def extraction_cells(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of exact match: per model all windows, then by stratum, then by kind of text."""
    rows = []
    for m in summary["models"]:
        e = m["extraction"]
        if e is None:
            continue
        counts, against = e["counts"], e.get("against_base")
        groups = {"all": (counts, against)}
        if against and against.get("non_members") is not None:
            groups = {"members": ({"windows": against["windows"], "hits": against["after"]}, against)}
        if len(counts["strata"]) > 1:
            drops = {s["stratum"]: s for s in against["strata"]} if against else {}
            groups |= {name: (c, drops.get(name)) for name, c in counts["strata"].items()}
        if len(kinds := counts.get("kinds", {})) > 1:
            drops = {k["kind"]: k for k in (against or {}).get("kinds") or []}
            groups |= {f"text: {name}": (c, drops.get(name)) for name, c in kinds.items()}
        for name, (count, drop) in groups.items():
            shown = note = ""
            if drop:
                r = drop["relative_drop"]
                shown = "n/a" if r is None else f"{r:.0%} [{drop['low']:.0%}, {drop['high']:.0%}]"
                note = drop["note"] or "" if name in ("all", "members") else ""
            rows.append([m["label"], name, str(count["windows"]), str(count["hits"]), shown, note])
    return ["model", "stratum", "windows", "exact matches", "relative drop [95%]", "note"], rows


def lines(summary: dict[str, Any]) -> list[str]:
    """The run in a few plain sentences."""
    corpus, audited = summary["corpus"], summary["audit"]
    tau = summary["recipe"]["sample"]["temperature"]
    out = [
        f"{corpus['documents']:,} documents, {corpus['tokens']:,} tokens, sampled {_sampled_from(summary)} "
        f"at temperature {tau}; {corpus['ended_share']:.0%} ended by themselves.",
        f"The audit rejected {audited['rejected']:,} documents against "
        f"{len(audited['benchmarks'])} benchmarks.",
    ]
    if audited["not_audited"]:
        out.append("NOT audited (could not be loaded): " + ", ".join(audited["not_audited"]) + ".")
    if corpus.get("lossy_documents"):  # null or absent: not counted
        out.append(
            f"{corpus['lossy_documents']:,} documents have tokens that their text does not show: "
            f"{corpus['without_token']:,} ids that have no token in the tokenizer, and "
            f"{corpus['control_inside']:,} control tokens inside documents."
        )
    out += _verdict(summary)
    if "controls" in summary:
        out += controls.lines(summary["controls"])[:1]
    return [*out, f"Wall time {duration(summary['wall_time_s'])}."]


def _sampled_from(summary: dict[str, Any]) -> str:
    start = summary["start"]
    token = start["start_token"]
    if start.get("prompt") is None:
        return f"from {token} alone"
    return (
        f"behind {token + ' and ' if token else ''}the prompt {start['prompt']!r}, which is no part of them,"
    )


def _read_behind(summary: dict[str, Any]) -> list[str]:
    """What was before each window of known text; nothing for a summary of older versions."""
    counts = (summary["models"][0]["extraction"] or {}).get("counts", {})
    if "start" not in counts:
        return []
    tokens = "".join(counts["start"]["tokens"])
    return ["", f"Each window is read {f'behind {tokens!r}' if tokens else 'without a start token'}."]


def _verdict(summary: dict[str, Any]) -> list[str]:
    """What the last checkpoint of each subset shows, against the base."""
    out = []
    base = summary["models"][0]
    last = {m["subset"]: m for m in summary["models"][1:]}  # later epochs overwrite earlier ones
    for m in last.values():
        now = m["overall"]
        if now["mean"] is not None:
            change, low, high = (100 * now[k] for k in ("change", "low", "high"))
            out.append(
                f"{m['label']}: mean accuracy {base['overall']['mean']:.3f} -> {now['mean']:.3f}, "
                f"change {change:+.1f} [{low:+.1f}, {high:+.1f}] points: {shown(now['low'], now['high'])}."
            )
            scores = headline(base["scores"])
            out += without(
                marked((r["task"], r | {"base": r["mean"]}) for r in scores), now.get("informative")
            )
        against = (m["extraction"] or {}).get("against_base")
        if against:
            drop = against["relative_drop"]
            text = (
                f"{m['label']}: {against['before']} of {against['windows']} windows recited before, "
                f"{against['after']} after"
            )
            if drop is not None:
                text += f": a drop of {drop:.0%} [{against['low']:.0%}, {against['high']:.0%}]"
            if against.get("near_duplicates"):  # a summary of older versions does not tell
                text += f"; {against['near_duplicates']} are near-duplicates of others and counted with them"
            out.append(f"{text}. {against['note'] or ''}".strip())
            if (other := against.get("non_members")) is not None:
                out.append(
                    f"{m['label']}: of {other['windows']} windows that no model was trained on, "
                    f"{other['before']} were extracted, now {other['after']:g}."
                )
            told = against["token_accuracy"]
            if told["low"] is not None:
                change, low, high = (100 * told[k] for k in ("change", "low", "high"))
                out.append(
                    f"{m['label']}: tokens of known texts told right {told['before']:.1%} -> "
                    f"{told['after']:.1%}, change {change:+.1f} [{low:+.1f}, {high:+.1f}] points."
                )
    return out


def write_report(summary: dict[str, Any], path: Path) -> None:
    """A plain Markdown report; nothing sampled is quoted in it."""

    made = Provenance.from_json(summary["provenance"])
    text = [f"# {summary['recipe']['name']}: {markdown(summary['recipe']['model']['id'])}", ""]
    text += [*map(markdown, lines(summary)), ""]
    text += ["## Capability", "", "Change against the base, paired by item, 95% bootstrap interval.", ""]
    text += table(*score_cells(summary))
    header, rows = extraction_cells(summary)
    if rows:
        text += ["", "## Verbatim extraction", *_read_behind(summary), "", *table(header, rows)]
    if "controls" in summary:
        text += [
            "",
            "## Control arms",
            "",
            *controls.section(summary["controls"], path.parent / "controls.svg"),
        ]
    text += ["", "## Stages", ""]
    text += table(
        ["stage", "wall time", "artifact"],
        [[s["label"], duration(s["wall_time_s"]), f"`{s['artifact']}`"] for s in summary["stages"]],
    )
    accelerator = "" if made.machine.accelerator else ", no accelerator"
    text += ["", "## Provenance", "", f"- machine: {machine(made.machine)}{accelerator}"]
    text += [f"- commit: {commit(made.code)}"]
    text += [f"- seed: {summary['seed']}", "- settings: `recipe.yaml` beside this file replays the run", ""]
    atomic_write(path, "\n".join(text))
