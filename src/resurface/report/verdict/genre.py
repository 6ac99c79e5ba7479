"""What a verdict says of the never-saw model's genre: every ruling on relearning rests on it."""

from __future__ import annotations

from resurface.memorization.results import NEVER_SAW, Genre, RelearningCurve
from resurface.report.reasons import said

_OPEN = "so part of this may be genre"


def clause(relearning: RelearningCurve) -> str:
    """Behind the ruling: whether the never-saw model is matched in genre; empty where there is none."""
    if relearning.against != NEVER_SAW:
        return ""
    of = relearning.genre
    if of is None:
        why = said(relearning.genre_reason)
        return f"; whether the never-saw model is matched in genre is not known, {why}, {_OPEN}"
    costs = f"non-members cost it {of.never:.2f} nats per token, the base {of.base:.2f}: {_more(of)}"
    if of.matched:
        return f"; the never-saw model is matched in genre ({costs})"
    if of.matched is None:
        why = said(of.open_reason)
        return f"; the never-saw model is not shown to be matched in genre ({costs}; {why}), {_OPEN}"
    return f"; the never-saw model is not matched in genre ({costs}), {_OPEN}"


def _more(of: Genre) -> str:
    more = of.more
    ends = f" [{more.low:+.2f}, {more.high:+.2f}]" if more.known else ""
    return f"{more.value:+.2f}{ends}, margin {of.margin:.2f}"
