"""Whether what was gone is hidden: what a relearning curve rules on."""

from __future__ import annotations

from enum import StrEnum

from resurface.memorization.results import NEVER_SAW, RelearningCurve

RECOVERY_MARGIN = 0.05
"""Recovery is ruled out where its intervals at all budgets lie below this share of what was gone, ..."""
LEARNED = 0.9
"""... by an attack that brought back this share of what was gone of the windows that it trained on: one that
regains half of these is weak, and what it does not regain of the others a stronger one may."""


class Recovery(StrEnum):
    """Whether held-back windows come back under relearning."""

    YES = "yes"
    NO = "no"
    NOT_SHOWN = "not_shown"
    WEAK = "weak"
    """Neither shown nor ruled out, by an attack that is weak."""
    UNKNOWN = "unknown"
    """No interval."""
    NOTHING_GONE = "nothing_gone"
    SEEN = "seen"
    """The never-saw model extracts held-back windows before any training: it saw them."""


def weak(relearning: RelearningCurve) -> bool:
    """Whether the attack brought back less than LEARNED of what it was trained on."""
    learned = relearning.curve[-1].learned
    return learned is None or learned < LEARNED


def overstates(relearning: RelearningCurve) -> bool:
    """Whether part of what came back beyond the never-saw model may be genre, which that model had to learn
    first: it is not shown to be matched."""
    of = relearning.genre
    return relearning.against == NEVER_SAW and (of is None or not of.matched)


def recovers(relearning: RelearningCurve) -> Recovery:
    """YES by the last budget, which is the one set in advance, or by another where that holds for all
    (`together`). NO by all alone: that each interval lies below the margin needs no correction. A weak attack
    rules nothing out.
    """
    first, *curve = relearning.curve
    *others, last = curve
    if not last.recovered.known:
        return Recovery.UNKNOWN
    if not relearning.gone:
        return Recovery.NOTHING_GONE
    if (first.never or 0) >= RECOVERY_MARGIN:
        return Recovery.SEEN
    if last.recovered.above(0) or any(r.together.above(0) for r in others):
        return Recovery.YES
    if weak(relearning):
        return Recovery.WEAK
    ruled_out = RECOVERY_MARGIN * relearning.gone
    highs = [r.recovered.high for r in curve]
    below = all(high is not None and high < ruled_out for high in highs)
    return Recovery.NO if below else Recovery.NOT_SHOWN
