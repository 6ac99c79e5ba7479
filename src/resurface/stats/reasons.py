"""Why a number or its interval is missing: a code that JSON carries, and `report.reasons` puts into words."""

from __future__ import annotations

from enum import StrEnum

SEPARATOR = ": "


class Reason(StrEnum):
    """What stands in `reason` where a value, or its interval, is null."""

    LEFT_OUT = "left_out"
    """Not asked for."""
    NO_WINDOWS = "no_windows"
    NO_BASELINE_HITS = "no_baseline_hits"
    """Nothing is extracted of the base, so nothing can drop."""
    ONE_CLUSTER = "one_cluster"
    """All windows are of one near-duplicate group: nothing to resample."""
    ONE_SEED_AND_CLUSTER = "one_seed_and_cluster"
    ONE_ITEM = "one_item"
    NO_ITEMS = "no_items"
    NO_VARIANCE = "no_variance"
    """Nothing varies over what is resampled: an interval without width would claim certainty."""

    NO_CHECKOUT = "no_checkout"
    """The package does not run from a git checkout, so no commit is known."""
    NO_SCORED_ITEMS = "no_scored_items"
    """No item has this metric."""
    NO_ITEMS_IN_COMMON = "no_items_in_common"
    """No item has this metric in every model."""
    NO_SCORED_TASKS = "no_scored_tasks"
    """No task has a score per item."""
    NO_ACCURACY = "no_accuracy"
    """No task has an accuracy per item."""
    ALL_TASKS_INFORMATIVE = "all_tasks_informative"
    """No task is at ceiling or at chance, so a mean without these is no other."""
    NO_TASK_INFORMATIVE = "no_task_informative"
    """Every task is at ceiling or at chance."""
    NO_SHARED_ITEMS = "no_shared_items"
    """Of no task has an item a score in every model, so that arms cannot be compared."""
    ONE_SEED_AND_ITEM = "one_seed_and_item"
    """There is one seed, and a task with one item: nothing to tell how sure this is."""
    NOTHING_VARIES = "nothing_varies"
    """Over seeds and items."""
    SAME_DOCUMENTS = "same_documents"
    """All windows are of one cluster of documents."""
    NOT_FINITE = "not_finite"
    """What was measured overflowed."""
    NOT_MATCHED = "not_matched"
    """A control arm is as large as training at no scale; about the message of the error."""
    ONE_SEED = "one_seed"
    AT_CEILING = "at_ceiling"
    """A task on which the base has nothing to win; about its score."""
    AT_CHANCE = "at_chance"
    """A task on which the base may be guessing; about its score and that of a guess."""
    NEAR_CHANCE = "near_chance"
    """A task on which the base is little better than a guess; about the same."""
    NOT_BINARY = "not_binary"
    """Scores between 0 and 1 are neither right nor wrong."""

    def about(self, *details: str) -> str:
        """The code with what it is about, `code: detail, detail`: names, numbers, an error's message."""
        return f"{self}{SEPARATOR}{', '.join(details)}"
