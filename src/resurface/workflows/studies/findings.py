"""What the gains of a matrix show: contrasts of relations, variance between families, proxies.

From mean gains per pair and the mean squares of the decomposition alone, so that a finished matrix.json can
be judged anew (`rejudge`) where its artifacts are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from resurface import compatibility
from resurface.artifacts import provenance
from resurface.compatibility import GainGrid, Lineages, contrasts, power, predictor_evaluation
from resurface.compatibility.permutations import relabel
from resurface.compatibility.results import PairGain
from resurface.stats import multiplicity

_GONE = ("relations", "differences", "self_advantage", "lineage_advantage")
"""Keys of an older matrix.json: means over different students, and tests that ignored families."""


def findings(
    measured: Mapping[str, Any],
    proxies: Sequence[Mapping[str, Any]],
    not_measured: Mapping[str, str],
    subsets: int | None = None,
) -> dict[str, Any]:
    """measured: {cells, decomposition}, as in matrix.json; subsets: of a source (default: as the cells say).

    Returns {contrasts: {name: row}, power: what the design sees at the noise of these gains
    (`power.design`), decomposition (with `families`), proxies, proxies_not_measured, proxy_correlations,
    holm: how many tests were adjusted together}. Every p has `p_holm` beside it.
    """
    grid = GainGrid.of(map(PairGain.from_json, measured["cells"]))
    gains, lineages = grid.mean, grid
    k = subsets if subsets is not None else grid.gains.shape[2]
    split = dict(measured.get("decomposition") or {"f": None, "reason": "gains of subsets were not kept"})
    if split["f"] is not None:
        families = lineages.families()
        split["families"] = compatibility.between_families(gains, families, split["mean_squares"], k)
    squares = split.get("mean_squares")
    rows = {name: _contrast(gains, lineages, name, squares, k) for name in contrasts.CONTRASTS}
    correlations = compatibility.within_student(measured["cells"], proxies, not_measured)
    tests = [(row, "p") for row in (*rows.values(), *correlations.values())]
    if split["f"] is not None:
        tests += [(split, "p"), (split["headroom"], "p"), (split["headroom"], "beyond_p")]
        tests += [(part, "p") for part in split["families"].values()]
    return {
        "contrasts": rows,
        "power": power.design(lineages, k, *_noise(split, k)),
        "decomposition": split,
        "proxies": list(proxies),
        "proxies_not_measured": dict(not_measured),
        "proxy_correlations": correlations,
        "holm": multiplicity.adjust(tests),
    }


def _noise(split: Mapping[str, Any], subsets: int) -> tuple[float, float]:
    """Standard deviations in points of runs, and of pairs beyond families: as found, else as found
    elsewhere."""
    if split["f"] is None:
        return power.RUN_SD, power.PAIR_SD
    residual, within = split["mean_squares"]["residual"]["ms"], split["families"]["within"]["ms"]
    pair = power.PAIR_SD if within is None else 100 * max(0.0, (within - residual) / subsets) ** 0.5
    return 100 * residual**0.5 or power.RUN_SD, pair


def _contrast(
    gains: contrasts.Gains, lineages: Lineages, name: str, squares: Mapping[str, Any] | None, subsets: int
) -> dict[str, Any]:
    """How well the design identifies it, its estimates, and the permutation test where it is identified.

    within_students, within_sources, adjusted, over_runs: see `contrasts`; {value, low, high, n, reason}.
    """
    design = contrasts.identify(lineages, name)
    row = asdict(design) | {
        "rests_on": list(design.rests_on),
        "within_students": asdict(contrasts.within(gains, lineages, name, 1)),
        "within_sources": asdict(contrasts.within(gains, lineages, name, 0)),
        "adjusted": asdict(contrasts.adjusted(gains, lineages, name)),
    }
    if squares is None:
        few = contrasts.Estimate(None, reason="what runs leave open takes two subsets, whose gains were kept")
    else:
        residual = squares["residual"]
        few = contrasts.over_runs(gains, lineages, name, residual["ms"], residual["df"], subsets)
    row["over_runs"] = asdict(few)
    untested = {"p": None, "smallest_p": None, "permutations": 0, "exact": None}
    return row | untested | _tested(gains, lineages, name)


def _tested(gains: contrasts.Gains, lineages: Lineages, name: str) -> dict[str, Any]:
    if not contrasts.identify(lineages, name).identified:
        return {}
    try:
        test = relabel(lineages, name)
    except ValueError as e:
        return {"not_tested": str(e)}
    return {
        "p": test.p(gains),
        "smallest_p": test.smallest_p,
        "permutations": len(test.weights),
        "exact": test.exact,
    }


def rejudge(found: Mapping[str, Any], command: Sequence[str]) -> dict[str, Any]:
    """A matrix.json judged anew from its own cells: what was measured stays, and so does its provenance.

    Values of predictors and their statistics stay as they are; their p values are adjusted together anew.
    `rejudged` says by which command and commit.
    """
    kept = {k: v for k, v in found.items() if k not in _GONE}
    judged = findings(
        kept, found["proxies"], found["proxies_not_measured"], found["study"]["subset"]["count"]
    )
    if "judged" in kept:
        kept["judged"]["holm"] = predictor_evaluation.adjust(kept["judged"]["predictors"])
    made = provenance.collect()
    return (
        kept
        | judged
        | {
            "rejudged": {
                "command": list(command),
                "code": made["code"],
                "packages": made["packages"],
                "cells_of_commit": found["provenance"]["code"]["commit"],
            }
        }
    )
