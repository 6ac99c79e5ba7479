"""The verbs of the command line: what each takes, calls, and prints.

shown.py   what a verb returns, and how tables and artifacts are printed
runs.py    what composes stages: run, sweep, study, demo
stages.py  one stage each: sample, audit, subset, train, evaluate, extract
tools.py   around the work: replay, assets, lab, predict, lineage, doctor

The docstring of a verb is its `--help`; its second paragraph is an example that works.
"""

from collections.abc import Callable

from resurface.cli.output import Out
from resurface.cli.runs import demo, run, study, sweep
from resurface.cli.stages import audit, evaluate, extract, sample, subset, train
from resurface.cli.tools import assets_, doctor, lab_, lineage_, predict, replay

__all__ = ["VERBS"]

VERBS: dict[str, Callable[..., Out]] = {
    "demo": demo, "run": run, "sweep": sweep, "study": study,
    "sample": sample, "audit": audit, "subset": subset, "train": train,
    "evaluate": evaluate, "extract": extract, "replay": replay, "assets": assets_, "lab": lab_,
    "predict": predict, "lineage": lineage_, "doctor": doctor,
}  # fmt: skip
