"""Was it self-training? Arms are compared at equal cost, by intervals that hold what they promise."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as t_distribution

from resurface import artifacts, cli, controls, models, pipeline, replaying, subsets
from resurface.controls import Arm, Controls, HeldOut, WeightsConfig, compare_paths, reach
from resurface.controls import Path as ArmPath
from resurface.errors import UserError
from resurface.lab import corpora, passages, world
from resurface.models import ModelConfig
from resurface.pipeline import attribution, seeds
from resurface.recipe import Recipe, Sweep, validate
from resurface.report import controls as report
from resurface.report.summary import lines as run_lines
from resurface.report.sweep import write
from resurface.statistics import holm, replicate_interval
from resurface.subsets import SubsetConfig
from resurface.tables import read_corpus, read_parquet
from resurface.texts import load_texts

# ------------------------------------------------------------------------------ reach


def one(capability, drop, margin):
    return float(reach(np.array(capability, float), np.array(drop, float), margin))


def test_reach_in_closed_form():
    assert one([-0.04], [0.8], 0.01) == pytest.approx(0.2)  # a quarter of the way to the only dose
    assert one([-0.005, -0.015], [0.5, 0.9], 0.01) == pytest.approx(0.7)  # half way between two
    assert one([0.02, -0.01], [0.6, 0.4], 0.01) == 0.6  # the best is not the last
    assert one([-0.1, 0.0], [0.5, 0.9], 0.05) == 0.9  # beyond the margin and back
    assert one([-0.5], [-0.3], 0.05) == 0  # worse than nothing: stay at the base
    assert one([-0.5], [1.0], 0.0) == 0


@given(
    st.lists(st.tuples(st.integers(-30, 10), st.integers(-50, 100)), min_size=1, max_size=4),
    st.integers(0, 20),
)
def test_reach_is_the_best_of_a_densely_sampled_path(places, margin):
    c, d = ([0.0, *(p[i] / 100 for p in places)] for i in (0, 1))
    best, steps = 0.0, 400
    for i in range(len(places)):
        for t in np.linspace(0, 1, steps + 1):
            if (1 - t) * c[i] + t * c[i + 1] >= -margin / 100:
                best = max(best, (1 - t) * d[i] + t * d[i + 1])
    found = one(c[1:], d[1:], margin / 100)
    widest = max(abs(b - a) for a, b in itertools.pairwise(d))
    assert best - 1e-9 <= found <= best + widest / steps + 1e-9


# ------------------------------------------------------------------------------ paths


BEFORE = np.ones(50, bool)
DOCUMENTS = [f"d{i}" for i in range(50)]


def arm(rng, left, count=3):
    """A path per seed: doses lose 3 and 6 points of 60 items; of 50 windows a share stays, or twice that.

    Seeds differ little: they answer the same items and know the same windows.
    """
    answers, known = rng.normal(0, 0.1, (2, 60)), rng.random((2, 50))
    paths = []
    for _ in range(count):
        items = answers - np.array([[0.03], [0.06]]) + rng.normal(0, 0.02, (2, 60))
        hits = known + rng.normal(0, 0.01, (2, 50)) < np.array([[2 * left], [left]])
        paths.append(ArmPath((0.5, 1.0), (items,), hits))
    return paths


def compared(seed, left, other):
    rng = np.random.default_rng(seed)
    found = compare_paths(
        arm(rng, left), {"other": arm(rng, other)}, BEFORE, DOCUMENTS, [5.0], draws=200, seed=seed
    )
    return found["margins"][0]["arms"]["other"]


def test_arms_that_do_the_same_are_told_apart_in_one_of_twenty_comparisons():
    rows = [compared(seed, 0.2, 0.2) for seed in range(100)]
    covered = sum(r["difference_low"] <= 0 <= r["difference_high"] for r in rows)
    assert covered >= 88  # 95 expected, with a standard deviation of 2.2
    assert abs(np.mean([r["difference"] for r in rows])) < 0.06


def test_a_clear_difference_is_found_with_its_sign():
    for seed in range(10):
        better, worse = compared(seed, 0.02, 0.48), compared(seed, 0.48, 0.02)
        assert better["difference_low"] > 0 and better["p"] < 0.025
        assert worse["difference_high"] < 0 and worse["p"] > 0.975
        assert 0 <= better["low"] <= better["reach"] <= better["high"] <= 1


def test_a_comparison_begins_with_the_data_and_leaves_out_doses_below_0():
    rng = np.random.default_rng(0)
    own, other = arm(rng, 0.1, 1), arm(rng, 0.3, 1)
    row = compare_paths(own, {"b": other}, BEFORE, DOCUMENTS, [1.0, 5.0], draws=50)["margins"][1]
    by_hand = {}
    for name, (path,) in (("self", own), ("b", other)):
        by_hand[name] = one(path.items[0].mean(1), 1 - path.hits.mean(1), 0.05)
    assert row["self"]["reach"] == pytest.approx(by_hand["self"])
    assert row["arms"]["b"]["difference"] == pytest.approx(by_hand["self"] - by_hand["b"])
    # a dose below 0 that is better than anything
    away = ArmPath((-1.0, 0.5, 1.0), (np.vstack([np.ones(60), own[0].items[0]]),),
                   np.vstack([np.zeros(50, bool), own[0].hits]))  # fmt: skip
    again = compare_paths([away], {"b": other}, BEFORE, DOCUMENTS, [1.0, 5.0], draws=50)["margins"][1]
    assert again == row


def test_intervals_end_where_values_do():
    free = np.random.default_rng(0).normal(0, 0.01, (1, 60))
    gone, kept = (ArmPath((1.0,), (free,), np.full((1, 50), left)) for left in (False, True))
    row = compare_paths([gone, kept], {"b": [kept, gone]}, BEFORE, DOCUMENTS, [5.0], draws=9)["margins"][0]
    assert (row["self"]["reach"], row["self"]["low"], row["self"]["high"]) == (0.5, 0, 1)
    b = row["arms"]["b"]
    assert (b["difference"], b["difference_low"], b["difference_high"]) == (0, -1, 1)


def test_a_missing_interval_has_its_reason():
    rng = np.random.default_rng(0)
    one_document = compare_paths(
        arm(rng, 0.1, 1), {"b": arm(rng, 0.3, 1)}, BEFORE, ["d"] * 50, [5.0], draws=9
    )
    row = one_document["margins"][0]
    assert row["self"]["low"] is None and row["self"]["reason"] == "one seed and one document"
    assert row["arms"]["b"]["p"] is None and "one document" in row["arms"]["b"]["difference_reason"]
    same = arm(rng, 0.1)
    row = compare_paths(same, {"b": same}, BEFORE, DOCUMENTS, [5.0], draws=9)["margins"][0]["arms"]["b"]
    assert row["difference"] == 0 and row["difference_low"] is None
    assert row["difference_reason"] == "nothing varies over seeds and draws"
    assert row["low"] is not None and "reason" not in row


# ------------------------------------------------------------------------------ statistics


def test_the_interval_over_replicates_adds_both_variances():
    drawn = np.random.default_rng(0).normal(1, 1, (3, 41))
    over_seeds = drawn[:, 0].var(ddof=1) / 3
    over_items = drawn[:, 1:].mean(0).var(ddof=1)
    df = (over_seeds + over_items) ** 2 / (over_seeds**2 / 2 + over_items**2 / 39)
    error = math.sqrt(over_seeds + over_items)
    found = replicate_interval(drawn)
    assert found["mean"] == pytest.approx(drawn[:, 0].mean())
    assert found["high"] - found["mean"] == pytest.approx(t_distribution.ppf(0.975, df) * error)
    assert found["mean"] - found["low"] == pytest.approx(t_distribution.ppf(0.975, df) * error)
    assert found["p"] == pytest.approx(t_distribution.sf(found["mean"] / error, df))
    single = replicate_interval(drawn[0])
    assert single["high"] - single["mean"] == pytest.approx(
        t_distribution.ppf(0.975, 39) * drawn[0, 1:].std(ddof=1)
    )


@pytest.mark.parametrize("value", [0.1, 54 / 130, 1 / 3])
def test_rounding_is_no_variance(value):
    nothing = replicate_interval(np.full((3, 2001), value))
    assert nothing["mean"] == pytest.approx(value)
    assert nothing["low"] is nothing["high"] is nothing["p"] is None
    with pytest.raises(ValueError, match="at least two draws"):
        replicate_interval(np.ones((3, 2)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_by_its_definition(ps):
    """The level at which the step-down procedure comes to reject a hypothesis."""
    ordered = sorted(range(len(ps)), key=lambda i: ps[i])
    expected = [0.0] * len(ps)
    for rank, i in enumerate(ordered):
        steps = [(len(ps) - k) * ps[j] for k, j in enumerate(ordered[: rank + 1])]
        expected[i] = min(1.0, max(steps))
    assert holm(ps).tolist() == pytest.approx(expected)


# ------------------------------------------------------------------------------ what is asked for


NOISE = {"name": "noise", "kind": "noise"}
FRESH = {"name": "fresh", "kind": "fresh", "texts": ["fresh.txt"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "x", "kind": "fresh"}, "texts goes with kind fresh, which needs it"),
        ({"name": "x", "kind": "noise", "texts": ["a.txt"]}, "texts goes with kind fresh"),
        ({"name": "x", "kind": "model"}, "model goes with kind model"),
        ({"name": "x", "kind": "temperature"}, "temperature goes with"),
        ({"name": "x", "kind": "shuffled", "temperature": 1.0}, "temperature goes with"),
        ({"name": "x", "kind": "shuffled", "match": "l2"}, "match goes with kind noise or shrink"),
        ({"name": "self", "kind": "noise"}, "cannot be called self"),
        ({"name": "a/b", "kind": "noise"}, "pattern"),
        ({"name": "x", "kind": "pruned"}, "kind"),
    ],
)
def test_arms_without_a_meaning_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Arm(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": []}, "at least 1"),
        ({"arms": [NOISE, NOISE]}, "two arms have one name"),
        ({"arms": [NOISE], "doses": [0.5]}, "1 has to be there"),
        ({"arms": [NOISE], "doses": [0.0, 1.0]}, "0 .the base. not"),
        ({"arms": [NOISE], "doses": [1.0, 1.0]}, "none twice"),
        ({"arms": [NOISE | {"match": "loss"}]}, "there is no held-out text"),
        ({"arms": [FRESH], "held_out": ["fresh.txt"]}, "an arm is trained on fresh.txt"),
        ({"arms": [NOISE], "margins": []}, "at least one"),
        ({"arms": [NOISE], "margins": [-1.0]}, "points of 0 or more"),
    ],
)
def test_controls_without_a_meaning_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Controls(**options)


def test_doses_are_in_the_order_of_the_path():
    cfg = Controls(arms=[NOISE, FRESH], doses=[1.0, -1.0, 0.5])
    noise, fresh = cfg.arms
    assert cfg.doses_of(None) == cfg.doses_of(fresh) == [-1.0, 0.5, 1.0]
    assert cfg.doses_of(noise) == [0.5, 1.0]  # no negative noise
    assert cfg.models == 3 + 3 + 1 + 2


def recipe(model, texts, **change):
    """A self-training of minutes at most, with an arm of `texts` and one of noise; dotted keys change it."""
    data = {
        "name": "tiny",
        "model": {"id": str(model)},
        "sample": {"samples": 60, "min_tokens": 5, "max_new_tokens": 60, "batch_size": 60},
        "audit": {"benchmarks": ["lab:tracking"]},
        "subset": {"tokens": 1000, "count": 1},
        "train": {"epochs": 1, "batch_size": 4, "micro_batch_size": 4, "cutoff": 64},
        "evaluate": {"tasks": ["lab:agreement", "lab:tracking"], "limit": 10},
        "extract": {"texts": [str(texts)], "prefix": 8, "suffix": 8, "max_windows": 8, "confirm": 2},
        "controls": {"arms": [FRESH | {"texts": [str(texts)]}, NOISE], "doses": [1.0]},
    }
    for key, value in change.items():
        stage, _, name = key.partition("__")
        data[stage] = data[stage] | {name: value} if name else value
    return validate(Recipe, data, "test")


@pytest.fixture(scope="module")
def prose(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "prose.jsonl"
    documents = Path(artifacts.__file__).read_text().split("\n\n")
    file.write_text("".join(json.dumps({"text": d}) + "\n" for d in documents if d.strip()))
    return file


def arms_of(**options):
    return {"arms": [{"name": "x"} | options], "doses": [1.0]}


def test_arms_are_refused_before_anything_is_sampled(tiny_model_dir, prose, tmp_path):
    short, ids, small = tmp_path / "short.txt", tmp_path / "ids.npy", tmp_path / "small"
    short.write_text("a few words")
    np.save(ids, np.ones((3, 20), np.int32))
    shutil.copytree(tiny_model_dir, small)
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 32}))
    nowhere = str(tmp_path / "nowhere.txt")
    cases = [
        ({"controls": arms_of(kind="fresh", texts=[nowhere])}, "arm x: no text file"),
        (
            {"controls": arms_of(kind="fresh", texts=[str(short)])},
            r"arm x: its texts are \d+ tokens .* 1,000",
        ),
        ({"controls": arms_of(kind="fresh", texts=[str(ids)])}, "arm x: document 'ids:0' is token ids"),
        ({"controls": arms_of(kind="model", model={"id": nowhere})}, "arm x: .*nowhere"),
        (
            {"controls": arms_of(kind="model", model={"id": str(small)})},
            "arm x: a document takes 61 positions",
        ),
        ({"controls": arms_of(kind="noise") | {"held_out": [nowhere]}}, "no text file"),
        ({"controls": arms_of(kind="noise") | {"held_out": [str(ids)]}}, "'ids:0' is token ids"),
        ({"subset__bytes": 1000}, "arms get the tokens of self-training"),
        ({"extract": None}, "say what to extract"),
    ]
    for change, message in cases:
        with pytest.raises(UserError, match=message):
            pipeline.run(recipe(tiny_model_dir, prose, **change), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------ text of arms


@pytest.fixture(scope="module")
def student(tiny_model_dir):
    ref = models.resolve(ModelConfig(id=str(tiny_model_dir)))
    tokenizer = models.load_tokenizer(ref)
    return ref, tokenizer, models.start_tokens(ref, tokenizer)


TEXTS = [(f"document {i} " + "word " * (i % 7), i % 5 > 0) for i in range(40)] + [("", True)]


def collected(student, out, **options):
    options = {"max_tokens": 12, "seed": 0, "name": "x"} | options
    return controls.collect(TEXTS, {"fingerprint": "f"}, *student, out, **options)


def test_a_collected_corpus_is_of_whole_and_cut_documents(student, tmp_path):
    _, tokenizer, start = student
    a = collected(student, tmp_path)
    table = read_corpus(a).to_pylist()
    assert len(table) == 40 == a.counts["documents"]  # the empty one is left out
    ended = dict(TEXTS)
    for row in table:
        ids, text = row["token_ids"], row["text"]
        whole = row["finish_reason"] == "stop"
        assert len(ids) <= 12 and (ids[-1] in start.stop_ids) == whole
        if whole:
            assert ended[text]
        else:
            (source,) = [t for t, _ in TEXTS if t.startswith(text) and (len(ids) == 12 or not ended[t])][:1]
            assert tokenizer(source, add_special_tokens=False)["input_ids"][: len(ids)] == ids
    assert Counter(r["finish_reason"] for r in table).keys() == {"stop", "length"}
    assert a.counts["tokens"] == sum(len(r["token_ids"]) for r in table)


def test_the_order_is_of_the_seed_and_the_artifact_is_found_again(student, tmp_path):
    first, again, other = (collected(student, tmp_path, seed=s) for s in (0, 0, 1))
    texts = [read_corpus(a, ["text"])["text"].to_pylist() for a in (first, other)]
    assert again.path == first.path != other.path
    assert texts[0] != texts[1] and sorted(texts[0]) == sorted(texts[1])
    assert texts[0] != sorted(texts[0])
    with pytest.raises(UserError, match="no text to collect"):
        controls.collect([("", True)], {"fingerprint": "g"}, *student, tmp_path,
                         max_tokens=9, seed=0, name="y")  # fmt: skip
    with pytest.raises(UserError, match="a collect artifact is not made again by itself"):
        replaying.replay(first.path, tmp_path / "replay")


def test_an_arm_reads_exactly_the_tokens_of_self_training(student, tmp_path):
    _, tokenizer, start = student
    a = collected(student, tmp_path)
    total = a.counts["tokens"] + 40  # a start token each
    drawn = subsets.subset(a, SubsetConfig(tokens=200, count=1), tmp_path)
    rows = read_parquet(drawn.file("subset-0.parquet"), ["input_ids"])["input_ids"].to_pylist()
    assert sum(map(len, rows)) == 200 and {r[0] for r in rows} == set(start.start_ids)
    with pytest.raises(UserError, match="larger than the corpus"):
        subsets.subset(a, SubsetConfig(tokens=total + 1, count=1), tmp_path)
    # whole documents: what is checked before is what is there afterwards
    whole = [(t, True) for t, _ in TEXTS if t]
    b = controls.collect(whole, {"fingerprint": "w"}, *student, tmp_path, max_tokens=12, seed=0, name="w")
    need, texts = b.counts["tokens"] + 40, [t for t, _ in whole]
    controls.check_tokens(texts, tokenizer, start, max_tokens=12, need=need)
    with pytest.raises(
        UserError, match=f"are {need} tokens of the student's; self-training reads {need + 1}"
    ):
        controls.check_tokens(texts, tokenizer, start, max_tokens=12, need=need + 1)


def threes(text):
    words = text.split()
    return set(zip(words, words[1:], words[2:], strict=False))


def test_unseen_lab_text_holds_nothing_planted_and_is_in_generation_order():
    known = world.make_world(0)
    # three words on end: a pseudo-word alone may be an English one by chance
    planted = {g for p in passages.make_passages(0, "a") for g in threes(p.text)}
    made = {split: corpora.unseen(known, "a", 400, split) for split in ("fresh", "test")}
    for split, texts in made.items():
        assert corpora.unseen(known, "a", 30, split) == texts[:30]
        assert not planted & {g for t in texts for g in threes(t)}
    assert len(set(made["fresh"]) & set(made["test"])) < 20  # few, by chance
    found = load_texts("lab:a/test")
    assert [d.text for d in found[:400]] == made["test"] and len(found) == 1000
    assert [d.doc_id for d in found] == sorted(d.doc_id for d in found)
    assert {d.stratum for d in found} == {"test"}
    for spec in ("lab:x/fresh", "lab:a/unread"):
        with pytest.raises(UserError, match="lab:a/fresh"):
            load_texts(spec)


# ------------------------------------------------------------------------------ held-out loss


def test_held_out_documents_are_cut_to_the_context_and_known_by_their_ids(student):
    ref, tokenizer, start = student
    texts = ["short", "word " * 2000]
    held = HeldOut.of(texts, tokenizer, start.start_ids, ref)
    assert [x[0] for x in held.ids] == [*start.start_ids] * 2
    assert len(held.ids[1]) == 512 and held.ids[0][1:] == tokenizer("short")["input_ids"]
    assert HeldOut.of(texts, tokenizer, start.start_ids, ref).fingerprint == held.fingerprint
    assert HeldOut.of(texts, tokenizer, (5,), ref).fingerprint != held.fingerprint
    assert HeldOut.of(texts[::-1], tokenizer, start.start_ids, ref).fingerprint != held.fingerprint


def test_what_cannot_be_matched_is_an_artifact_with_a_reason(student, tmp_path):
    ref, tokenizer, start = student
    noisy = controls.control_model(ref, other_model(ref, tmp_path), WeightsConfig(kind="line"), tmp_path)
    treated = models.resolve(ModelConfig(id=str(noisy.path)))
    held = HeldOut.of(["some words to predict", "and some more"], tokenizer, start.start_ids, ref)
    base = controls.loss(ref, held, tmp_path, device="cpu", batch=4, name="base").counts["loss"]

    def matched(target):
        cfg, options = WeightsConfig(kind="noise", seed=1), {"device": "cpu", "batch": 4, "name": "m"}
        return controls.matched(ref, treated, cfg, held, target, tmp_path, **options)

    below, at = matched(base - 1).counts, matched(base).counts
    assert below["scale"] is None and "below the loss" in below["reason"]
    assert at["scale"] is None and "nothing to match" in at["reason"]
    above = matched(base + 0.05)
    assert above.counts["scale"] > 0 and above.counts["loss"] == pytest.approx(base + 0.05, abs=0.005)
    cfg = WeightsConfig(kind="noise", seed=1, scale=above.counts["scale"])
    made = models.resolve(ModelConfig(id=str(controls.control_model(ref, treated, cfg, tmp_path).path)))
    found = controls.loss(made, held, tmp_path, device="cpu", batch=4, name="made").counts["loss"]
    assert found == pytest.approx(above.counts["loss"], abs=1e-4)
    assert matched(base + 0.05).path == above.path


def other_model(ref, folder):
    """The tiny model with every weight moved at random."""
    import torch

    model = models.load_model(ref, "float32", "cpu")
    torch.manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    model.save_pretrained(folder / "other")
    models.load_tokenizer(ref).save_pretrained(folder / "other")
    return models.resolve(ModelConfig(id=str(folder / "other")))


def test_an_arm_that_leaves_no_weights_is_skipped_with_the_reason(monkeypatch):
    cfg = Controls(arms=[{"name": "small", "kind": "shrink"}])
    x = SimpleNamespace(recipe=SimpleNamespace(controls=cfg))

    def gone(*_):
        raise controls.BeyondZero("to zero or beyond")

    monkeypatch.setattr(attribution, "_weights", gone)
    rows = attribution._path(x, cfg.arms[0], None)
    assert rows == [{"arm": "small", "kind": "shrink", "skipped": "to zero or beyond"}]


# ------------------------------------------------------------------------------ a whole run


@pytest.fixture(scope="module")
def lab_recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    for name, texts in (
        ("fresh", load_texts("lab:a/test")[:300]),
        ("held", load_texts("lab:a/test")[300:320]),
    ):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": d.text}) + "\n" for d in texts))
    arms = [FRESH | {"texts": [str(folder / "fresh.jsonl")]}, {"name": "noise-l2", "kind": "noise"}]
    return recipe(
        "lab:a-small",
        folder / "fresh.jsonl",
        sample={"tokens": 5000, "min_tokens": 8, "max_new_tokens": 100, "batch_size": 128},
        subset__tokens=4000,
        train__learning_rate=1e-3,
        train__cutoff=128,
        extract={
            "texts": ["lab:a"], "prefix": 8, "suffix": 8, "start": "bos", "max_windows_per_stratum": 12,
            "confirm": 2,
        },
        controls={"arms": arms, "doses": [1.0], "held_out": [str(folder / "held.jsonl")], "margins": [5.0]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(lab_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    return pipeline.run(lab_recipe, out), out


def test_a_run_measures_every_arm_at_every_dose(run):
    summary, out = run
    found = summary["controls"]
    assert [(p["arm"], p["dose"]) for p in found["points"]] == [("self", 1), ("fresh", 1), ("noise-l2", 1)]
    own, fresh, noise = found["points"]
    assert noise["l2_distance"] == pytest.approx(own["l2_distance"], rel=1e-3)
    assert fresh["l2_distance"] != pytest.approx(own["l2_distance"], rel=1e-3)
    assert all(p["loss"] > 0 and p["extraction"]["all"]["before"] > 0 for p in found["points"])
    (margin,) = found["margins"]
    assert margin["arms"].keys() == {"fresh", "noise-l2"} and found["skipped"] == {}
    # the same tokens, by what training read
    read = {
        p.parent.name.rsplit("-", 1)[0]: artifacts.load(p.parent) for p in out.glob("train/*/manifest.json")
    }
    assert read.keys() == {"subset0", "fresh"}
    assert read["subset0"].config == read["fresh"].config
    drawn = [artifacts.load(p.parent).counts["tokens"] for p in out.glob("subset/*/manifest.json")]
    assert drawn == [4000, 4000]
    # self-training is what the run itself measured, and measured once
    (last,) = [m for m in summary["models"] if m["epoch"] == 1]
    assert own["overall"]["change"] == pytest.approx(last["overall"]["change"])
    assert own["extraction"]["all"]["after"] == last["extraction"]["against_base"]["after"]
    for stage in ("evaluate", "extract"):
        prints = [artifacts.load(p.parent).fingerprint for p in out.glob(f"{stage}/*/manifest.json")]
        assert len(prints) == len(set(prints)) == 4  # base, self, fresh, noise


def test_a_run_tells_of_its_arms(run):
    summary, out = run
    text = (out / "report.md").read_text()
    assert "## Control arms" in text and "![extraction against capability, arm by arm](controls.svg)" in text
    assert (out / "controls.svg").read_bytes().count(b"self-training") == 1
    assert report.lines(summary["controls"])[0] in run_lines(summary)
    # numbers in JSON say the same
    again = json.loads((out / "summary.json").read_text())["controls"]
    assert report.lines(again) == report.lines(summary["controls"])


def test_the_same_command_finds_everything_again_and_prints_it(run, capsys):
    summary, out = run
    before = {p: p.stat().st_mtime_ns for p in out.glob("*/*/manifest.json")}
    assert cli.main(["run", "--recipe", str(out / "recipe.yaml"), "--out", str(out)]) == 0
    assert {p: p.stat().st_mtime_ns for p in out.glob("*/*/manifest.json")} == before
    said = capsys.readouterr().out
    assert "Control arms" in said and "Removed where at most 5 points may be lost (primary)" in said
    for line in report.lines(summary["controls"]):
        assert said.count(line) == 1


def test_without_a_score_or_a_hit_arms_are_not_compared(run, lab_recipe, monkeypatch):
    _, out = run
    done = pipeline.running.self_train(lab_recipe, out, pipeline.stages.Stages(out, aloud=False))
    monkeypatch.setattr(seeds, "headline_items", lambda scores: {})
    found = seeds.arms(done.measured[0], [done.arms], lab_recipe.controls)
    assert found["margins"] is None and "no task has an item" in found["reason"]
    assert report.lines(found) == [f"Control arms cannot be compared: {found['reason']}."]


def test_points_of_one_seed_are_one_job(monkeypatch, tiny_model_dir, prose, tmp_path):
    """They have arms in common, which two processes must not build at the same time."""
    # the function `sweep` hides the module of that name as an attribute of the package
    sweeping = sys.modules["resurface.pipeline.sweep"]
    file = tmp_path / "recipe.yaml"
    jobs = {}
    monkeypatch.setattr(sweeping, "_preflight", lambda *_: None)
    monkeypatch.setattr(sweeping, "Stages", lambda root: lambda label, make: None)
    monkeypatch.setattr(sweeping, "run_jobs", lambda label, work, workers: jobs.update({label: work}))
    monkeypatch.setattr(sweeping, "_point", lambda *_: (_ for _ in ()).throw(KeyError("enough")))
    for change, sizes in (({}, [2, 2]), ({"controls": None}, [1, 1, 1, 1])):
        made = recipe(tiny_model_dir, prose, **change)
        file.write_text(json.dumps(made.model_dump(mode="json")))
        cfg = Sweep(name="s", recipe=str(file), vary={"train.epochs": [1, 2]}, seeds=[0, 1])
        with pytest.raises(KeyError, match="enough"):
            sweeping.sweep(cfg, tmp_path / "out", workers=2)
        work = [job.args[0] for job in jobs["self-training"]]
        assert [len(w) for w in work] == sizes
        assert all(len({r.sample.seed for r in w}) == 1 for w in work)


# ------------------------------------------------------------------------------ words


def compared_row(difference, low, high, p=0.5, holm_p=None):
    row = {"reach": 0.9, "low": 0.8, "high": 0.97, "difference": difference, "p": p}
    row |= {"difference_low": low, "difference_high": high, "p_holm": p if holm_p is None else holm_p}
    return row


def told(arms, each=None, skipped=None):
    """A hand-made `controls` of two seeds; each: change per seed of an arm's two doses."""
    each = {"self": [[-0.01, -0.01], [-0.05, -0.04]]} | (each or {})
    drop = {"before": 60, "after": 3.0, "relative_drop": 0.95, "low": 0.88, "high": 0.98}
    points = [
        {
            "arm": name, "kind": "self" if name == "self" else "fresh", "dose": dose, "l2_distance": 1.5,
            "loss": None, "extraction": {"all": drop, "held_out": None},
            "overall": {"change": sum(of) / 2, "low": -0.1, "high": 0.1, "each": of},
        }
        for name in ("self", *arms)
        for dose, of in zip((0.5, 1.0), each.get(name, each["self"]), strict=True)
    ]  # fmt: skip
    own = {"reach": 0.95, "low": 0.88, "high": 0.98}
    margins = [{"margin": m, "self": own, "arms": arms} for m in (1.0, 5.0)]
    return {"points": points, "margins": margins, "skipped": skipped or {}}


def test_more_is_said_where_it_is_shown_and_only_there():
    found = told({
        "a": compared_row(0.3, 0.1, 0.5, p=0.001, holm_p=0.004),
        "b": compared_row(0.05, -0.03, 0.12, p=0.12, holm_p=0.24),
        "c": compared_row(-0.2, -0.3, -0.1, p=0.999, holm_p=1.0),
        "d": compared_row(0.1, 0.01, 0.2, p=0.02, holm_p=0.06),
    })  # fmt: skip
    answer, a, b, c, d, rules = report.lines(found)
    assert answer == (
        "Where at most 1 point may be lost, self-training removes 95% [88%, 98%] of what was recited: "
        "shown to remove more than a; shown to remove less than c; not told apart from b, d."
    )
    assert a == (
        "a (fresh real text) removes 90% [80%, 97%]; self-training minus this arm +30% [+10%, +50%]: "
        "self-training is shown to remove more, p after Holm 0.004."
    )
    assert b.endswith("+5% [-3%, +12%]: neither more nor less is shown.")
    assert c.endswith("-20% [-30%, -10%]: self-training is shown to remove less.")
    assert d.endswith("+10% [+1%, +20%]: not shown to be more, as p after Holm is 0.060.")
    assert "margin of 1 point is the primary one" in rules and "Holm over 4 arms" in rules


def test_a_missing_interval_claims_nothing_and_says_why():
    row = compared_row(0.3, None, None) | {"p": None, "p_holm": None, "difference_reason": "one seed"}
    answer, line, *_ = report.lines(told({"a": row}))
    assert answer.endswith("of what was recited: no interval against a.")
    assert line.endswith("+30% (no interval: one seed): nothing is shown.")
    _, rows = report.margin_cells(told({"a": row})["margins"][0])
    assert rows[1] == ["a", "90% [80%, 97%]", "+30% (no interval: one seed)", "n/a"]


def test_paths_that_do_not_come_to_the_margin_and_arms_left_out_are_named():
    row = compared_row(0.3, 0.1, 0.5, p=0.001)
    inside, half = [[0.0, 0.01], [-0.01, 0.0]], [[0.0, 0.0], [-0.03, 0.0]]
    found = told({"a": row, "b": row}, {"a": inside, "b": half}, {"loud": "no scale was found"})
    said = report.lines(found)
    assert "so they are compared at these doses: a, b (1 of 2 seeds)." in said[3]
    assert said[4] == "loud is left out: no scale was found."
    assert not [x for x in report.lines(told({"a": row})) if "At no dose" in x]
    lonely = report.lines(told({}, skipped={"loud": "no scale was found"}))
    assert lonely[0].endswith("no arm is there to compare it with.")
    assert lonely[-1] == "loud is left out: no scale was found."


def test_a_sweep_has_a_section_per_point(tmp_path):
    point = {"extraction": None, "tasks": {}, "overall": {"change": None}, "on_frontier": False}
    arms = told({"a": compared_row(0.3, 0.1, 0.5, p=0.001)})
    made = {"machine": {"cpu": "c", "cores": 1}, "code": {"commit": "0", "dirty": False}}
    points = [point | {"settings": {"train.epochs": n}, "controls": arms} for n in (1, 2)]
    found = {"sweep": {"name": "s", "seeds": [0], "vary": {"train.epochs": [1, 2]}}, "provenance": made}
    write(found | {"points": points}, tmp_path)
    text = (tmp_path / "report.md").read_text()
    for i, n in enumerate((1, 2)):
        assert f"## Control arms: epochs {n}" in text and f"(controls-{i}.svg)" in text
        assert f"- epochs {n}: {report.lines(arms)[0]}" in text and (tmp_path / f"controls-{i}.svg").is_file()
    write(found | {"points": [points[0] | {"settings": {}}]}, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert f"- {report.lines(arms)[0]}" in text and "(controls.svg)" in text


def test_tables_and_figure_have_every_arm(tmp_path):
    found = told({"a": compared_row(0.3, 0.1, 0.5, p=0.0001), "b": compared_row(0.0, -0.1, 0.1)})
    header, rows = report.cells(found)
    assert len(header) == len(rows[0]) and len(rows) == 6
    assert rows[0] == ["self", "0.5", "1.5", "n/a", "-1.0 [-10.0, +10.0]", "60 -> 3.0, 95% [88%, 98%]", "n/a"]
    titles = [title for title, *_ in report.margin_tables(found)]
    assert titles == ["Removed where at most 1 point may be lost (primary)",
                      "Removed where at most 5 points may be lost"]  # fmt: skip
    assert [r[3] for r in report.margin_cells(found["margins"][0])[1]] == ["", "< 0.001", "0.500"]
    text = "\n".join(report.section(found, tmp_path / "c.svg"))
    svg = (tmp_path / "c.svg").read_bytes()
    assert text.endswith("(c.svg)") and b">self-training<" in svg and b">a<" in svg and b">b<" in svg
    report.figure(found, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == svg
