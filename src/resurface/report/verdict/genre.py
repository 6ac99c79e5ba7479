"""What a verdict says of the never-saw model's genre: every ruling on relearning rests on it."""

from __future__ import annotations

from typing import Any

_OPEN = "so part of this may be genre"


def overstates(relearning: dict[str, Any]) -> bool:
    """Whether part of what came back beyond the never-saw model may be genre, which that model had to learn
    first: it is not shown to be matched."""
    of = relearning["genre"]
    return relearning["against"] == "never-saw model" and (of is None or not of["matched"])


def clause(relearning: dict[str, Any]) -> str:
    """Behind the ruling: whether the never-saw model is matched in genre; empty where there is none."""
    if relearning["against"] != "never-saw model":
        return ""
    of = relearning["genre"]
    if of is None:
        why = relearning["genre_reason"]
        return f"; whether the never-saw model is matched in genre is not told, {why}, {_OPEN}"
    costs = f"non-members cost it {of['never']:.2f} nats per token, the base {of['base']:.2f}: {_more(of)}"
    if of["matched"]:
        return f"; the never-saw model is matched in genre ({costs})"
    if of["matched"] is None:
        return f"; the never-saw model is not shown to be matched in genre ({costs}; {of['reason']}), {_OPEN}"
    return f"; the never-saw model is not matched in genre ({costs}), {_OPEN}"


def _more(of: dict[str, Any]) -> str:
    ends = "" if of["low"] is None else f" [{of['low']:+.2f}, {of['high']:+.2f}]"
    return f"{of['more']:+.2f}{ends}, margin {of['margin']:.2f}"
