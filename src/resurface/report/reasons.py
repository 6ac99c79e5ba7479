"""What a reason says in a report."""

from __future__ import annotations

from collections.abc import Iterable

from resurface.stats.reasons import AND, SEPARATOR, Reason

WORDS = {
    Reason.LEFT_OUT: "left out",
    Reason.NO_WINDOWS: "there is no such window",
    Reason.NO_BASELINE_HITS: "no baseline hits: there is nothing that could drop",
    Reason.ONE_CLUSTER: "one cluster of documents: no interval",
    Reason.ONE_SEED_AND_CLUSTER: "one seed and one cluster of documents: no interval",
    Reason.ONE_ITEM: "one item: no interval",
    Reason.NO_ITEMS: "no item pairs",
    Reason.NO_VARIANCE: "nothing varies over windows and seeds",
    Reason.ONE_DOCUMENT: "one document: no interval",
    Reason.ONE_DOCUMENT_ON_A_SIDE: "one document on a side: no interval",
    Reason.EQUAL_RESAMPLES: "the resamples do not differ, so they cannot say how sure this is",
    Reason.NO_COMMON_WINDOWS: "no window has a value in all",
    Reason.NO_SYNTHETIC_CORPUS: "no synthetic corpus was given, so overlap with it is unknown",
    Reason.NO_CONTROL_ARMS: "no run with control arms was given",
    Reason.NO_NON_MEMBERS: "there are no windows that no model has seen to tell members from",
    Reason.NO_SUCH_STRATUM: "no window is of a never-seen stratum ({})",
    Reason.FEW_NON_MEMBERS: "{} non-members resolve an FPR of {} at best: {} needs {} of them",
    Reason.NO_REFERENCE: "no reference model was given",
    Reason.REFERENCE_ITSELF: "the reference is this very model",
    Reason.NOTHING_TO_COMPARE_WITH: "neither a model that never saw them nor a floor to compare with",
    Reason.NO_NEVER_SAW_MODEL: "there is no never-saw model",
    Reason.NO_UNSEEN_WINDOWS: "there are no non-members, which no model has seen",
    Reason.ONE_CLUSTER_OF_NON_MEMBERS: "the non-members are of one cluster of documents",
    Reason.MARGIN_INSIDE: "the interval leaves open whether it is more than the margin of {}",
    Reason.CANNOT_RELEARN: "{}",
    Reason.NO_MANIFEST: "no manifest is beside it",
    Reason.NOT_TRAINED: "it was made by stage {}, not trained on a corpus",
    Reason.TRAINED_AGAIN: "it was trained more than once",
    Reason.WEIGHTS_CHANGED: "its weights were changed by noise or scaling, or what they were mixed from is "
    "gone",
    Reason.TRAINING_SET_GONE: "its training set is gone",
    Reason.CORPUS_GONE: "the corpus that its training set was drawn from is gone",
    Reason.FEW_HITS: "not enough baseline hits to claim -95%: {} of at least {} (the most that {} can show "
    "is -{}, one-sided 95%)",
    Reason.FEW_DISTINCT_HITS: "not enough baseline hits to claim -95%: {}, worth {} without near-duplicates, "
    "of at least {} (the most that {} can show is -{}, one-sided 95%)",
    Reason.FEW_HIT_CLUSTERS: "not enough baseline hits to claim -95%: {}, worth {} if a cluster of documents "
    "says one thing, of at least {} (the most that {} can show is -{}, one-sided 95%)",
    Reason.THESE_WINDOWS_ALONE: "all windows are of one cluster of documents: the interval is for these "
    "windows alone",
    Reason.TURNED_ROUND: "members score lower than non-members, which gives them away as well: turned round, "
    "the attack has AUC {}",
    Reason.NO_CHECKOUT: "not running from a git checkout",
    Reason.NO_SCORED_ITEMS: "no item has this metric",
    Reason.NO_ITEMS_IN_COMMON: "no item has this metric in every model",
    Reason.NO_SCORED_TASKS: "no task has a score per item",
    Reason.NO_ACCURACY: "no task has an accuracy per item",
    Reason.ALL_TASKS_INFORMATIVE: "no task is at ceiling or at chance",
    Reason.NO_TASK_INFORMATIVE: "every task is at ceiling or at chance",
    Reason.NO_SHARED_ITEMS: "no task has an item with a score in every model",
    Reason.ONE_SEED_AND_ITEM: "one seed and one item: no interval",
    Reason.NOTHING_VARIES: "nothing varies over seeds and items",
    Reason.SAME_DOCUMENTS: "one cluster of documents",
    Reason.NOT_FINITE: "not finite",
    Reason.NOT_MATCHED: "{}",
    Reason.ONE_SEED: "one seed: no interval",
    Reason.AT_CEILING: "at ceiling ({})",
    Reason.AT_CHANCE: "not distinguishable from chance ({}, chance {})",
    Reason.NEAR_CHANCE: "near chance ({}, chance {})",
    Reason.NOT_BINARY: "scores between 0 and 1 are neither right nor wrong",
}
"""Details take the places of `{}`, the last of them all that is left; where there is no place they follow."""


def said(reason: str | None) -> str:
    """Words for a reason as it stands in JSON; that of an older result is words already."""
    if reason is None:
        return "unknown"
    code, _, detail = reason.partition(SEPARATOR)
    if code not in set(Reason):
        return reason
    words = WORDS[Reason(code)]
    if places := words.count("{}"):
        details = detail.split(", ", places - 1)
        return words.format(*details, *[""] * (places - len(details)))
    return f"{words}: {detail}" if detail else words


def noted(notes: Iterable[str]) -> str:
    """Words for codes that belong together; empty for none."""
    return AND.join(map(said, notes))
