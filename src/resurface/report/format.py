"""How reports write numbers, and what made them."""

from __future__ import annotations

from resurface.artifacts.provenance import Code, Provenance
from resurface.hardware import Machine
from resurface.memorization.results import Drop
from resurface.report.document import Bullets, Section, Text
from resurface.report.reasons import said
from resurface.stats.estimate import Estimate

Cells = tuple[list[str], list[list[str]]]
"""Header and rows of a table."""


def counted(n: float, one: str, many: str | None = None) -> str:
    """`1 window`, `1,200 windows`; many: of what does not end in s."""
    number = f"{n:,}" if isinstance(n, int) else f"{n:g}"
    return f"{number} {one if n == 1 else many or one + 's'}"


def machine(of: Machine) -> str:
    """`AMD EPYC, 2 cores`, and the accelerator if there was one."""
    return ", ".join(filter(None, [of.cpu, f"{of.cores} cores", of.accelerator]))


def commit(of: Code) -> str:
    """The commit, and whether files differed from it; or why it is not known."""
    return f"{of.commit or said(of.reason)}{' (dirty)' if of.dirty else ''}"


def clusters(n: int | None) -> str:
    """`3 clusters of documents`; unknown in results that are older than these."""
    unknown = "an unknown number of clusters of documents"
    return unknown if n is None else counted(n, "cluster of documents", "clusters of documents")


def points(x: float) -> str:
    """A change of an accuracy in points."""
    return f"{round(100 * x, 1) + 0.0:+.1f}"  # + 0.0: no -0.0


def drop(row: Drop | None) -> str:
    """`60 -> 3.0, 95% [88%, 98%]`: windows extracted before and after, and the relative drop."""
    if row is None or row.relative.value is None:
        return "n/a"
    return f"{row.before} -> {row.after:.1f}, {row.relative.value:.0%} {percent_ends(row.relative)}".rstrip()


def percent_ends(e: Estimate) -> str:
    """`[88%, 98%]` of a share; empty if there are none."""
    return "" if e.low is None or e.high is None else f"[{e.low:.0%}, {e.high:.0%}]"


def percent(x: float) -> str:
    """A share as `12.3%`."""
    return f"{x:.1%}"


def percent_range(e: Estimate) -> str:
    """` [88.1%, 98.0%]`; why there is none where there is none."""
    if e.low is None or e.high is None:
        return f" (no interval: {said(e.reason)})"
    return f" [{e.low:.1%}, {e.high:.1%}]"


def ends_or_why(e: Estimate) -> str:
    """`[+0.4, +2.0]` in points, of a share; or why there are none, in brackets."""
    return ends(e) or f"({said(e.reason)})"


def p_number(p: float) -> str:
    """`0.042`, `< 0.001`."""
    return "< 0.001" if p < 0.0005 else f"{p:.{3 if p < 0.0995 else 2}f}"


def p_value(p: float) -> str:
    """`p = 0.042`, `p < 0.001`."""
    shown = p_number(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def holm(p: float, adjusted: float | None) -> str:
    """`p = 0.042, 0.11 after Holm`."""
    return p_value(p) + ("" if adjusted is None else f", {p_number(adjusted)} after Holm")


def permutation(p: float, adjusted: float | None, smallest: float, exact: bool) -> str:
    """`p = 0.06, 0.3 after Holm (exact permutation test, smallest attainable p = 0.05)`."""
    kind = "exact permutation test" if exact else "permutation test"
    return f"{holm(p, adjusted)} ({kind}, smallest attainable {p_value(smallest)})"


def gain(e: Estimate) -> str:
    """`+1.2 [+0.4, +2.0]` in points, of a share; without an interval where there is none."""
    return "n/a" if e.value is None else f"{points(e.value)} {ends(e)}".rstrip()


def ends(e: Estimate) -> str:
    """`[+0.4, +2.0]` in points, of a share; empty if there are none."""
    return "" if e.low is None or e.high is None else f"[{points(e.low)}, {points(e.high)}]"


def provenance(made: Provenance, *more: Text) -> Section:
    """The last section of a report: on what and by which code its numbers were made, and more about that."""
    facts = [f"machine: {machine(made.machine)}", f"commit: {commit(made.code)}", *more]
    return Section("Provenance", [Bullets(facts)], detail=True)
