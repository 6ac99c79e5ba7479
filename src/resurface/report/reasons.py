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
}
"""A detail, where there is one, takes the place of `{}`; else it follows."""


def said(reason: str | None) -> str:
    """Words for a reason as it stands in JSON; that of an older result is words already."""
    if reason is None:
        return "unknown"
    code, _, detail = reason.partition(SEPARATOR)
    if code not in set(Reason):
        return reason
    words = WORDS[Reason(code)]
    if "{}" in words:
        return words.replace("{}", detail)
    return f"{words}: {detail}" if detail else words
