"""What composes the stages: nobody else knows them all.

stages.py   one stage each, from what a user may name as MODEL
running.py  a recipe: one self-training from a model to a report
"""

from resurface.pipeline.running import RECIPE_FILE, run
from resurface.pipeline.stages import build_lab, evaluate, extract, sample, train

__all__ = ["RECIPE_FILE", "build_lab", "evaluate", "extract", "run", "sample", "train"]
