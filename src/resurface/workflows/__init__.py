"""What composes the stages: nobody else knows them all.

stages.py      one stage each, from what a user may name as MODEL
running.py     a recipe: one self-training from a model to a report
sweep.py       a recipe over a grid of settings and seeds
attribution.py the control arms of a recipe, and seeds.py what several seeds show together
ancestry.py    what treated models were made of, by their manifests
attacking.py   the attacks, a stage each
verdict.py     base and treated models, attacked from several sides, and judgement.py what that shows
matrix.py      a study: a source x student matrix
raw.py         the answers behind a sweep or a study, in small arrays
design.py      what a study will do and can show, and estimate.py what is left of it and for how long
timing.py      short pieces of its stages, timed
relations.py   how its sources and students are related
similarity.py  its sources' text beside its benchmark
prediction.py  a corpus as a candidate for a student, measured by predictors
judged.py      a study's predictors against its gains, and a calibration from them
ranking.py     corpora ranked for a student before training, by a calibration
demo.py        the embedded default: a self-training and a small matrix on lab models
"""

from resurface.workflows.comparing import compare
from resurface.workflows.demos import demo
from resurface.workflows.ranking.rank import predict
from resurface.workflows.runs import RECIPE_FILE, run
from resurface.workflows.stages import audit, build_lab, evaluate, extract, lineage, sample, subset, train
from resurface.workflows.studies.estimates import estimate
from resurface.workflows.studies.study import study
from resurface.workflows.sweeps import sweep
from resurface.workflows.verdicts.assemble import Evidence, judge
from resurface.workflows.verdicts.attacks import probe, relearn
from resurface.workflows.verdicts.verdict import verdict

__all__ = [
    "RECIPE_FILE",
    "Evidence",
    "audit",
    "build_lab",
    "compare",
    "demo",
    "estimate",
    "evaluate",
    "extract",
    "judge",
    "lineage",
    "predict",
    "probe",
    "relearn",
    "run",
    "sample",
    "study",
    "subset",
    "sweep",
    "train",
    "verdict",
]
