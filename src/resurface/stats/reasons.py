"""Why a number or its interval is missing: a code that JSON carries, and `report.reasons` puts into words."""

from __future__ import annotations

from enum import StrEnum

SEPARATOR = ": "
AND = "; "
"""Between several codes in one string."""


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

    ONE_DOCUMENT = "one_document"
    ONE_DOCUMENT_ON_A_SIDE = "one_document_on_a_side"
    """All members, or all non-members, are of one document."""
    EQUAL_RESAMPLES = "equal_resamples"
    """No resample differs from another: [1, 1] would claim certainty."""
    NO_COMMON_WINDOWS = "no_common_windows"
    """No window has a value in all artifacts that are compared."""
    NO_SYNTHETIC_CORPUS = "no_synthetic_corpus"
    """None was given, so what windows share with it is unknown."""
    NO_CONTROL_ARMS = "no_control_arms"
    """No run that has them was given."""
    NO_NON_MEMBERS = "no_non_members"
    """All windows may have been trained on: there is nothing to tell members from."""
    NO_SUCH_STRATUM = "no_such_stratum"
    """That is named as never seen; about those that are named, and those that there are."""
    FEW_NON_MEMBERS = "few_non_members"
    """Too few for a false positive rate; about their number, the least rate that these resolve, the one that
    was asked for, and how many it takes."""
    NO_REFERENCE = "no_reference"
    """No reference model was given."""
    REFERENCE_ITSELF = "reference_itself"
    """The reference is the model that is attacked."""
    NOTHING_TO_COMPARE_WITH = "nothing_to_compare_with"
    """Neither a model that never saw the texts, nor windows that no model saw."""
    NO_NEVER_SAW_MODEL = "no_never_saw_model"
    NO_UNSEEN_WINDOWS = "no_unseen_windows"
    """There is a never-saw model, and no window of its genre that it could be asked."""
    ONE_CLUSTER_OF_NON_MEMBERS = "one_cluster_of_non_members"
    MARGIN_INSIDE = "margin_inside"
    """The interval holds the margin; about it."""
    CANNOT_RELEARN = "cannot_relearn"
    """About the message of the error."""
    NO_MANIFEST = "no_manifest"
    """Beside the model."""
    NOT_TRAINED = "not_trained"
    """About the stage that made the model."""
    TRAINED_AGAIN = "trained_again"
    """More than once."""
    WEIGHTS_CHANGED = "weights_changed"
    """By noise or scaling; or what they were mixed from is gone."""
    TRAINING_SET_GONE = "training_set_gone"
    CORPUS_GONE = "corpus_gone"
    """That the training set was drawn from."""
    FEW_HITS = "few_hits"
    """Of the base, to claim a drop of 95%; about their number, the least that it takes, what they are worth,
    and the most that these can show."""
    FEW_DISTINCT_HITS = "few_distinct_hits"
    """The same, of near-duplicates; about their number, what they are worth, and the rest as `FEW_HITS`."""
    FEW_HIT_CLUSTERS = "few_hit_clusters"
    """The same, where a cluster of documents says one thing."""
    THESE_WINDOWS_ALONE = "these_windows_alone"
    """All are of one cluster of documents, and the interval is not for others."""
    TURNED_ROUND = "turned_round"
    """Members score lower than non-members; about the AUC of the attack turned round."""

    def about(self, *details: str) -> str:
        """The code with what it is about, `code: detail, detail`: names, numbers, an error's message."""
        return f"{self}{SEPARATOR}{', '.join(details)}"


def listed(text: str | None) -> tuple[str, ...]:
    """Several codes that stand in one string; a sentence of an older result is one."""
    if text is None:
        return ()
    parts = tuple(text.split(AND))
    return parts if all(part.partition(SEPARATOR)[0] in set(Reason) for part in parts) else (text,)
