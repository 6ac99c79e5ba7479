"""What a reason says in a report."""

from __future__ import annotations

from resurface.stats.reasons import SEPARATOR, Reason

WORDS = {
    Reason.LEFT_OUT: "left out",
    Reason.NO_WINDOWS: "there is no such window",
    Reason.NO_BASELINE_HITS: "no baseline hits: there is nothing that could drop",
    Reason.ONE_CLUSTER: "one cluster of documents: no interval",
    Reason.ONE_SEED_AND_CLUSTER: "one seed and one cluster of documents: no interval",
    Reason.ONE_ITEM: "one item: no interval",
    Reason.NO_ITEMS: "no item pairs",
    Reason.NO_VARIANCE: "nothing varies over windows and seeds",
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
