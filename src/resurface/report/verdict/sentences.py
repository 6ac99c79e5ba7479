"""A verdict in plain words: one sentence or two per question; every number comes from verdict.json."""

from __future__ import annotations

from typing import Any

from resurface.memorization import MINIMUM_BASELINE_HITS
from resurface.report import controls
from resurface.report.format import bounds, clusters, counted, percent, percent_range, points, printable
from resurface.report.verdict import genre, membership
from resurface.results import ControlComparison

RECOVERY_MARGIN = 0.05
"""Recovery is ruled out where its intervals at all budgets lie below this share of what was gone, ..."""
LEARNED = 0.9
"""... by an attack that brought back this share of what was gone of the windows that it trained on: one that
regains half of these is weak, and what it does not regain of the others a stronger one may."""


def lines(found: dict[str, Any]) -> list[str]:
    """The verdict, one plain sentence or two per question."""
    out = [_dropped(found["scorecard"]["drop"]), _floor(found["scorecard"]), _held_out(found)]
    out += [
        _sampling(found["scorecard"]),
        _likelihood(found["scorecard"]),
        _probes(found),
        _relearned(found),
        membership.line(found),
        _windows(found),
    ]
    if found["controls"] is None:
        out.append(f"Beyond control arms: not told, {found['controls_reason']} (--controls).")
    else:
        arms = ControlComparison.from_json(found["controls"])
        out += [f"Control arms: {line}" for line in controls.lines(arms)]
    out += [_intervals(found), _lineage(found)]
    return [printable(line) for line in out]


def _intervals(found: dict[str, Any]) -> str:
    """What the intervals are about; one treated model says nothing of other seeds."""
    one = len(found["treated"]) == 1
    new = ", not for new seeds: there is one treated model" if one else " and new seeds"
    together = found["scorecard"]["multiplicity"]
    return f"Intervals are 95%, for new clusters of documents{new}; {together}, within each group of windows."


def _dropped(drop: dict[str, Any]) -> str:
    if drop["relative_drop"] is None:
        return f"Dropped: cannot be told, {drop['reason']}."
    text = f"Dropped: recited of {counted(drop['windows'], 'window')}: {_fell(drop)}."
    if drop["near_duplicates"]:
        text += (
            f" {drop['near_duplicates']} of the windows are near-duplicates of others and counted with them: "
            f"{clusters(drop)}, {drop['effective_before']:.3g} independent windows "
            "recited before."
        )
    enough = drop["clusters_before"]
    if enough < MINIMUM_BASELINE_HITS and drop["relative_drop"] > 0:
        most = 0.05 ** (1 / enough)
        same = "" if enough == drop["before"] else " (windows of a cluster of documents taken for one)"
        text += (
            f" Too few to claim -95%, which needs {MINIMUM_BASELINE_HITS} recited before: from "
            f"{enough:.3g}{same}, -{most:.0%} is the most that could be shown (one-sided 95%)."
        )
    return text


def _floor(card: dict[str, Any]) -> str:
    if card["floor_rate"] is None:
        return f"Floor: unknown, {card['floor_reason']}; so chance cannot be told from memory."
    before, after = (card["floor_rate"][side] for side in ("before", "after"))
    n = card["groups"]["floor"]["windows"]
    text = (
        f"Floor: of {counted(n, 'window')} that no model has seen, "
        f"{percent(before['rate'])}{percent_range(before)} are recited before and "
        f"{percent(after['rate'])}{percent_range(after)} after."
    )
    left = card["above_floor"]["after"]
    told = "still more than chance gives" if left["low"] > 0 else "not told apart from chance"
    text += f" What is left of the others is {_points(left['excess'], left)} above that: {told}."
    if before["low"] > 0:
        text += (
            " The base recites some of it: it was seen after all, or is common text, and is no floor then."
        )
    return text


def _held_out(found: dict[str, Any]) -> str:
    part = found["held_out"]
    if part is None:
        return f"Held out: not told, {found['held_out_reason']} (--corpus)."
    if part["relative_drop"] is None:
        return f"Held out: cannot be told, {part['reason']}."
    return f"Held out (no n-gram in the synthetic corpus): {_fell(part)}."


def _sampling(card: dict[str, Any]) -> str:
    curve = card["curve"]["members"]
    text = (
        f"Sampling: {curve['n'][-1]:,} samples behind each prefix would be expected to give "
        f"{curve['before'][-1]:.1%} of the windows before, {curve['after'][-1]:.1%} after: {_moved(curve)}"
    )
    if "floor" in card["curve"]:
        floor = card["curve"]["floor"]
        text += f" (never seen: {floor['before'][-1]:.1%} and {floor['after'][-1]:.1%}, {_moved(floor)})"
    best = max(card["decodings"], key=lambda d: d["members"]["after"])  # all intervals hold together
    if best["members"]["after"] > curve["after"][-1]:
        cut = f" from the {best['top_k']} likeliest tokens" if best["top_k"] else ""
        row = best["members"]
        text += (
            f". The best decoding after, temperature {best['temperature']:g}{cut}: {row['before']:.1%} "
            f"before, {row['after']:.1%} after, {_points(row['change'], row)} ({row['level']:.1%})"
        )
    return text + "."


def _moved(curve: dict[str, Any]) -> str:
    """The change of the last point of a sampling curve."""
    return _points(curve["change"][-1], {k: curve[k][-1] for k in ("low", "high", "reason")})


def _points(x: float, row: dict[str, Any]) -> str:
    return f"{points(x)} points " + (bounds(row) if row["low"] is not None else f"({row['reason']})")


def _likelihood(card: dict[str, Any]) -> str:
    """Text that is not recited any more may still be far likelier than what was never seen."""

    def nll(group: str) -> str:
        row = next(m for m in card["groups"][group]["metrics"] if m["metric"].startswith("NLL"))
        text = f"{row['before']:.2f} nats per token before, {row['after']:.2f} after, {row['change']:+.2f}"
        if row["low"] is None:
            return f"{text} ({row['reason']})"
        return f"{text} [{row['low']:+.2f}, {row['high']:+.2f}] ({row['level']:.1%})"

    text = f"Likelihood: the suffixes cost {nll('members')}"
    if card["groups"]["floor"] is not None:
        text += f"; of windows that no model has seen, {nll('floor')}"
    return text + "."


def _probes(found: dict[str, Any]) -> str:
    probes = found["probes"]
    if probes is None:
        return f"Other prefixes: not tried ({found['probes_reason']})."
    part = probes["any_variant"]
    own = f"prefix {found['settings']['prefix']}"  # swept, it is the windows' prefix as it is
    tried = sum(v["windows"] > 0 and v["variant"] != own for v in probes["variants"])
    if part["relative_drop"] is None:
        return f"Other prefixes: cannot be told, {part['reason']}."
    return f"Other prefixes: with the best of {tried} prefixes for each window, {_fell(part)}."


def _relearned(found: dict[str, Any]) -> str:
    if found["relearning"] is None:
        return f"Recovers under relearning: not told, {found['relearning_reason']}."
    relearning = found["relearning"]
    first, last = relearning["curve"][0], relearning["curve"][-1]
    attacker = _attacker(last)
    t, v = (relearning["windows"][k] for k in "TV")
    text = (
        f"Recovers under relearning: {_recovers(relearning)}{genre.clause(relearning)}. "
        f"{attacker[0].upper()}{attacker[1:]} regains {last['returned']:.1%} of those held back. "
        f"After the last budget, {counted(last['step'], 'step')} of "
        f"{counted(relearning['config']['batch_size'], 'window')} out of {counted(t, 'other')}, "
        f"{last['treated']:.1%} of {counted(v, 'held-back window')} are recited "
        f"({first['treated']:.1%} before); {last['returned']:.1%} had been gone and are back"
    )
    if last["low"] is not None:
        floor = relearning["against"] == "floor"
        than = "of the floor" if floor else f"the {relearning['against']} recites"
        text += f", {_points(last['recovered'], last)} more than {than}"
    text += "."
    best = max(relearning["curve"][1:], key=lambda r: r["together"]["low"] or 0)
    if best is not last and (best["together"]["low"] or 0) > 0:
        level, steps = best["together"]["level"], counted(best["step"], "step")
        text += f" After {steps} it was {_points(best['recovered'], best['together'])} "
        text += f"({level:.1%}, so that all budgets hold together)."
    if shared := relearning["windows"]["v_sharing_ngram"]:
        text += f" {shared} of the held-back share an n-gram with these: they may be told, not remembered."
    return text


def _attacker(last: dict[str, Any]) -> str:
    """How strong the attack was: what it regained of what it was trained on."""
    trained = counted(last["trained"], "window")
    if last["learned"] is None:
        return f"an attacker that trained on {trained}, of which none had been gone,"
    return f"an attacker that regains {last['learned']:.0%} of the {trained} trained on that had been gone"


def _recovers(relearning: dict[str, Any]) -> str:
    """yes by the last budget, which is the one set in advance, or by another where that holds for all
    (`together`). no by all alone: that each interval lies below the margin needs no correction. A weak attack
    rules nothing out.
    """
    first, *curve = relearning["curve"]
    *others, last = curve
    if last["low"] is None:
        return f"cannot be told, {last.get('reason', 'no interval')}"
    if not relearning["gone"]:
        return "cannot be told, none of the held-back windows had been gone"
    if (first["never"] or 0) >= RECOVERY_MARGIN:
        return (
            f"cannot be told, the never-saw model recites {first['never']:.1%} of the held-back windows "
            "before any training: it saw them"
        )
    bound = ", as an upper bound" if genre.overstates(relearning) else ""
    weak = last["learned"] is None or last["learned"] < LEARNED
    if last["low"] > 0 or any(r["together"]["low"] > 0 for r in others):
        return "yes" + bound + (", by a weak attacker: a stronger one may regain more" if weak else "")
    if weak:
        return f"not shown, and not ruled out: the attacker is weak (below {LEARNED:.0%} of its own windows)"
    return "no" if all(r["high"] < RECOVERY_MARGIN * relearning["gone"] for r in curve) else "not shown"


def _windows(found: dict[str, Any]) -> str:
    """What stands behind the counts: which windows, and whether generation says the same."""
    counts = found["windows"]
    text = f"Windows: {counts['windows']:,} of {counted(counts['documents'], 'document')}"
    if counts["windows"] < counts["windows_available"]:
        text += f", drawn out of {counts['windows_available']}"
    if counts["duplicates_dropped"]:
        text += f"; {counts['duplicates_dropped']} whose tokens were there before are left out"
    asked = {
        side: f"{c['generated'] - c['disagreements']} of {c['generated']} {side}"
        for side, c in found["confirmed"].items()
        if c["generated"]
    }
    if not asked:
        return text + "; greedy generation was not asked to confirm."
    return (
        text + f"; greedy generation confirms {' and '.join(asked.values())}, the closest calls among them."
    )


def _lineage(found: dict[str, Any]) -> str:
    known = [t["treated"] for t in found["lineage"] if t["lineage"] is not None]
    unknown = [f"{t['treated']} ({t['reason']})" for t in found["lineage"] if t["lineage"] is None]
    text = "Lineage:"
    if known:
        text += f" {', '.join(known)} {'was' if len(known) == 1 else 'were'} made of {found['base']}, "
        text += "as the manifests of training say."
    if unknown:
        text += f" not known for {', '.join(unknown)}; that {'it was' if len(unknown) == 1 else 'they were'} "
        text += f"made of {found['base']}, and of a corpus if one was given, is taken on trust."
    corpora = dict.fromkeys(t["corpus"] for t in found["lineage"] if t["corpus"] is not None)
    if corpora:
        text += f" Held out is told with the corpus that these name, as none was given: {', '.join(corpora)}."
    return text


def _fell(part: dict[str, Any]) -> str:
    """Windows recited before and after, and the relative drop with its interval."""
    drop = f"{percent(abs(part['relative_drop']))} {'more' if part['relative_drop'] < 0 else 'fewer'}"
    drop += percent_range(part) if part["relative_drop"] >= 0 else percent_range(_as_rise(part))
    return f"{part['before']} before, {part['after']:.4g} after, {drop}"


def _as_rise(part: dict[str, Any]) -> dict[str, Any]:
    if part["low"] is None:
        return part
    return {"low": -part["high"], "high": -part["low"]}
