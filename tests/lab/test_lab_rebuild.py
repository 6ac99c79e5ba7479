"""A lab model built from nothing is the shipped one, but for rounding: the comparison, and the real thing.

A build is the same to the byte only on the same hardware with the same number of threads. Elsewhere sums
are rounded in another order and the weights soon part, so what is compared is what the models do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import resurface
from resurface import lab, workflows
from resurface.artifacts.parquet import read_parquet
from resurface.lab import tasks
from resurface.stages.evaluation import headline_items
from resurface.stats.intervals import clustered_bootstrap, mean_change

LEVEL = 0.99
# What may lie between two runs of one build, beyond what their items and windows are uncertain by. The
# intervals resample items, for two given models: they know nothing of the models that another rounding
# would have led to. The allowances are choices, made before any model was built twice in full
# (over the first fifth of a-small with another number of threads, means of ten losses differed by up to
# 0.009); what a-medium and a-medium-order differ by is the measure that they have to stand up to.
LOSS = 0.03  # nats per token, of the last ten losses logged: the same blocks in both runs
ACCURACY = 0.04  # mean of the skills that the first model has
# A skill that it lacks is learnt within a few hundred steps, or not: a-small, shipped from one machine and
# built anew on another, came to losses 0.01 apart, and to 26% (a guess) and 77% of its additions.
MASTERED = 0.75
EXTRACTED = 0.05  # share of the windows: passages of few copies are half learnt, and luck decides which


@dataclass(frozen=True)
class Measured:
    """loss: nats per token at the end of training. correct: task -> item -> 0 or 1. extracted: window id ->
    (document, exact match)."""

    loss: float
    correct: dict[str, dict[int, float]]
    extracted: dict[str, tuple[str, bool]]


def differences(one: Measured, other: Measured, *, skills: bool = True) -> list[str]:
    """In what `other` is no second run of the build that made `one`; empty if it may be.

    Accuracy is compared on the skills that `one` has mastered, unless `skills` are left out. A mean
    difference counts if its paired interval (LEVEL) lies beyond the allowance as a whole. Windows are
    resampled by document.
    """
    found = []
    if not abs(one.loss - other.loss) <= LOSS:
        found.append(f"loss {one.loss:.3f} and {other.loss:.3f}")
    same = {t: items.keys() for t, items in one.correct.items()} == {
        t: items.keys() for t, items in other.correct.items()
    }
    if not same or one.extracted.keys() != other.extracted.keys():
        return [*found, "other items or windows"]
    mastered = {t: x for t, x in one.correct.items() if np.mean(list(x.values())) >= MASTERED}
    if not mastered:
        return [*found, "nothing is mastered, so no skill can be compared"]
    changes = [[other.correct[t][i] - v for i, v in items.items()] for t, items in mastered.items()]
    hits = [int(other.extracted[w][1]) - int(hit) for w, (_, hit) in one.extracted.items()]
    documents = [document for document, _ in one.extracted.values()]
    for what, allowance, (mean, low, high) in (
        ("accuracy", ACCURACY, mean_change(changes, level=LEVEL)),
        ("extracted", EXTRACTED, clustered_bootstrap(hits, documents, level=LEVEL)),
    ):
        if (skills or what != "accuracy") and (low > allowance or high < -allowance):
            found.append(f"{what} {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
    return found


def measure(model: str, card: Path, out: Path) -> Measured:
    """What a lab model of family a does on the report split. card: its directory."""
    scores = resurface.evaluate(model, tasks=tasks.names(), batch_size=128, out=out)
    found = resurface.extract(
        model, texts=("lab:a",), prefix=8, suffix=24, start="bos", batch_size=128, out=out
    )
    windows = read_parquet(found.file("windows.parquet"), ["window_id", "doc_id", "exact_match"])
    ids, documents, hits = (c.to_pylist() for c in windows.columns)
    return Measured(
        json.loads((card / lab.CARD).read_text())["counts"]["final_loss"],
        headline_items(scores),
        dict(zip(ids, zip(documents, hits, strict=True), strict=True)),
    )


# ------------------------------------------------------------------------------ the comparison


def _made(seed: int, *, loss: float = 1.0, accuracy: float = 0.8, extracted: float = 0.5) -> Measured:
    """What a model might have measured. Most items are hard or easy for every run, a tenth go either way."""

    def outcomes(n: int, share: float) -> list[bool]:
        sure = np.random.default_rng(0).random(n) < share
        either, luck = np.random.default_rng(1).random(n) < 0.1, np.random.default_rng(seed).random(n) < share
        return np.where(either, luck, sure).tolist()

    return Measured(
        loss,
        {t: dict(enumerate(map(float, outcomes(800, accuracy)))) for t in tasks.names()},
        {f"w{i}": (f"d{i}", hit) for i, hit in enumerate(outcomes(585, extracted))},
    )


def test_two_runs_of_one_build_agree():
    first = _made(2)
    for seed in range(2, 6):
        assert differences(first, _made(seed, loss=1.0 + 0.002 * seed)) == []


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ({"loss": 1.1}, "loss"),
        ({"loss": float("nan")}, "loss"),
        ({"accuracy": 0.7}, "accuracy"),
        ({"accuracy": 0.9}, "accuracy"),
        ({"extracted": 0.4}, "extracted"),
        ({"extracted": 0.0}, "extracted"),  # trained on other data
    ],
)
def test_another_model_is_distinguished(broken, what):
    (found,) = differences(_made(2), _made(3, **broken))
    assert found.startswith(what)


def test_a_skill_on_its_way_may_be_learnt_in_one_run_alone():
    low, high = _made(2, accuracy=0.3), _made(2)
    learnt = replace(high, correct=high.correct | {"lab:addition": low.correct["lab:addition"]})
    assert differences(learnt, high) == []
    assert differences(high, learnt, skills=False) == []
    (lost,) = differences(high, learnt)  # what was mastered has to be mastered again
    assert lost.startswith("accuracy")
    (nothing,) = differences(low, low)
    assert nothing.startswith("nothing is mastered")


def test_what_cannot_be_paired_is_a_difference():
    one = _made(2)
    assert differences(one, replace(one, extracted=dict(list(one.extracted.items())[1:])))
    assert differences(one, replace(one, correct={"lab:facts": one.correct["lab:facts"]}))


# ------------------------------------------------------------------------------ the real thing


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize(
    ("name", "another", "skills"), [("a-small", "a-medium", False), ("a-medium", "a-small", True)]
)
def test_a_build_from_nothing_lands_on_the_shipped_model(name, another, skills, tmp_path):
    """a-small is some 6 minutes of training on two free cores, a-medium 17; a minute of measuring. On a busy
    machine two to four times that. Next to nothing is extracted from a-small: whether memorization comes back
    is seen on a-medium alone. Which skills a-small ends with was found to depend on rounding
    (docs/results.md, section 5), so they are compared on a-medium alone as well.

    What was made with one thread is made with two, and the reverse: with the same number the bytes would
    be the same on the same machine, and nothing would be learnt.
    """
    import torch

    shipped = Path(lab.__file__).parent / "checkpoints" / name
    if not (shipped / "config.json").is_file():
        pytest.skip(f"{name} is not in this package, so there is nothing to compare a build with")
    card = json.loads((shipped / lab.CARD).read_text())
    before = torch.get_num_threads()
    try:
        # an old card does not tell its number: it may be the same, and the test then one of the bytes
        torch.set_num_threads(2 if card["provenance"]["machine"].get("threads") == 1 else 1)
        (built,) = workflows.build_lab([name], tmp_path)
    finally:
        torch.set_num_threads(before)
    again = measure(str(built.path), built.path / "model", tmp_path)
    reference = measure(f"lab:{name}", shipped, tmp_path)
    assert differences(reference, again, skills=skills) == []
    # the test would notice: a model of another size, of the same data, is noticed
    assert differences(reference, measure(f"lab:{another}", lab.shipped(another), tmp_path), skills=skills)
