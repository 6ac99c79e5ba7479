"""The audit: documents that are cut, n-grams that are common, a corpus that is streamed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from audited import CLEAN, ITEM, grams, item_file, make_corpus
from resurface import artifacts
from resurface.artifacts.parquet import CORPUS_SCHEMA, read_corpus, write_parquet
from resurface.errors import UserError
from resurface.models.tokenizing import decode_documents, decode_text, encode_text, vocabulary_of
from resurface.results import AuditCounts
from resurface.stages import auditing
from resurface.stages.auditing import AuditConfig


@pytest.fixture
def benchmark(tmp_path: Path) -> str:
    return item_file(tmp_path)


def sampled(out: Path, model: Path, texts: list[str], ended: bool = True) -> artifacts.Artifact:
    """A corpus as `model` would have sampled it."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = [encode_text(tokenizer, [t])[0] + [0] * ended for t in texts]
    found = decode_documents(tokenizer, ids, [ended] * len(ids))
    assert found.text == texts
    rows = [
        {
            "sample_id": i, "token_ids": x, "text": t, "logprobs": [-float(j) for j in range(len(x))],
            "logprobs_tau": None, "finish_reason": "stop" if ended else "length", "seed": 0,
            "without_token": 0, "control_inside": 0, "text_tokens": n,
        }
        for i, (x, t, n) in enumerate(zip(ids, texts, found.text_tokens, strict=True))
    ]  # fmt: skip
    start = {"start_ids": [0], "stop_ids": [0], "vocabulary": vocabulary_of(tokenizer)}
    inputs = {"model": {"fingerprint": "x", "path": str(model)}}
    with artifacts.build(
        out, "sample", "cut", version=1, config={"n": texts, "start_tokens": start}, inputs=inputs
    ) as b:
        write_parquet(pa.Table.from_pylist(rows, schema=CORPUS_SCHEMA), b.path / "corpus-00000.parquet")
        return b.finish({})


def test_a_document_is_cut_at_tokens_until_nothing_is_shared(
    tmp_path: Path, benchmark: str, tiny_model_dir: Path
) -> None:
    half = len(ITEM) // 2
    texts = [
        CLEAN,
        f"Été “naïve” 日本 {ITEM} 🙂 {CLEAN}",
        ITEM,  # nothing is left
        f"{CLEAN} {ITEM[:half]}{ITEM} {CLEAN} {ITEM}{ITEM[half:]} end",
        f"Before it all. {ITEM[:35]} {ITEM} {ITEM[35:-7]}. After it all.",  # what is left of it meets
    ]
    corpus = sampled(tmp_path, tiny_model_dir, texts)
    cfg = AuditConfig(benchmarks=(benchmark,), action="cut")
    a = auditing.audit(corpus, cfg, tmp_path, name="c")
    kept = read_corpus(a).to_pylist()
    assert [r["sample_id"] for r in kept] == [0, 1, 3, 4] and kept[0]["text"] == CLEAN
    assert pq.read_table(a.file("rejects.parquet")).select(["sample_id", "text"]).to_pylist() == [
        {"sample_id": 2, "text": ITEM}
    ]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    theirs = set(grams(ITEM, 8))
    before = {r["sample_id"]: r for r in read_corpus(corpus).to_pylist()}
    for r in kept:
        assert not theirs & set(grams(r["text"], 8))
        assert decode_text(tokenizer, r["token_ids"]) == r["text"]
        assert r["token_ids"][-1] == 0  # it still ends by itself
        assert r["text_tokens"] == len(encode_text(tokenizer, [r["text"].strip()])[0])
        places = [-int(x) for x in r["logprobs"]]
        assert [before[r["sample_id"]]["token_ids"][i] for i in places] == r["token_ids"]
    assert kept[1]["text"].startswith("Été “naïve” 日本") and kept[1]["text"].endswith(f"🙂 {CLEAN}")
    assert kept[3]["text"].startswith("Before it all.") and kept[3]["text"].endswith("After it all.")
    passages = pq.read_table(a.file("passages.parquet")).to_pylist()
    assert {p["sample_id"] for p in passages} == {1, 2, 3, 4} and {p["round"] for p in passages} == {0, 1}
    for p in passages:
        assert set(grams(p["text"], 8)) <= theirs or (p["round"] == 0 and p["sample_id"] in (3, 4))
        if p["round"] == 0:
            assert texts[p["sample_id"]][p["start"] : p["end"]] == p["text"]
        assert (p["benchmark"], p["split"], p["row"]) == (benchmark, "bench.jsonl", "0")
    assert passages[0]["text"] == ITEM
    counts = a.counts
    assert (counts["kept"], counts["rejected"], counts["cut"]) == (4, 1, 3)
    assert counts["kept_tokens"] + counts["rejected_tokens"] + counts["cut_tokens"] == counts["tokens"]
    assert AuditCounts.from_json(counts).cut == 3
    assert auditing.matches(a, 1)[0].text == ITEM


def test_what_cannot_be_cut_is_said(tmp_path: Path, benchmark: str, tiny_model_dir: Path) -> None:
    cfg = AuditConfig(benchmarks=(benchmark,), action="cut")
    with pytest.raises(UserError, match="whose tokens"):
        auditing.audit(make_corpus(tmp_path, [ITEM]), cfg, tmp_path, name="c")
    corpus = sampled(tmp_path, tiny_model_dir, [f"{CLEAN} {ITEM}"])
    other = read_corpus(corpus).set_column(2, "text", pa.array([f"{CLEAN}, {ITEM}"]))
    start, inputs = (
        corpus.config["start_tokens"],
        {"model": {"fingerprint": "x", "path": str(tiny_model_dir)}},
    )
    for name, config in (("text", start), ("vocabulary", start | {"vocabulary": "0"})):
        with artifacts.build(
            tmp_path, "sample", name, version=1, config={"start_tokens": config}, inputs=inputs
        ) as b:
            write_parquet(other, b.path / "corpus-00000.parquet")
            changed = b.finish({})
        with pytest.raises(UserError, match="decode to" if name == "text" else "another vocabulary"):
            auditing.audit(changed, cfg, tmp_path, name="c")


def test_common_ngrams_are_no_match(tmp_path: Path, benchmark: str) -> None:
    """A saying that clean text has as well is not evidence; the rest of the item is."""
    clean = tmp_path / "clean.jsonl"
    saying = "the quick brown fox jumps over the lazy dog"
    rows = [f"{i} they say that {saying}" if i < 3 else f"{i} {CLEAN}" for i in range(30)]
    clean.write_text("".join(json.dumps({"text": r}) + "\n" for r in rows))
    corpus = make_corpus(tmp_path, [f"So {saying}!", f"He said: {ITEM}", CLEAN])
    for share, rejected, common in ((0.05, [1], 2), (0.1, [0, 1], 0)):
        cfg = AuditConfig(benchmarks=(benchmark,), common=str(clean), max_document_frequency=share)
        auditing.check_benchmarks(cfg)
        a = auditing.audit(corpus, cfg, tmp_path, name="c")
        assert pq.read_table(a.file("rejects.parquet"))["sample_id"].to_pylist() == rejected
        assert a.counts["common_ngrams"] == common
        assert a.inputs["common texts"].spec == str(clean)
    with pytest.raises(UserError, match="no text file"):
        auditing.check_benchmarks(AuditConfig(benchmarks=(benchmark,), common=str(tmp_path / "gone")))


def test_an_option_that_is_not_used_changes_no_fingerprint() -> None:
    names = {"benchmarks", "ngram", "allow_missing"}
    assert AuditConfig(benchmarks=("x",)).model_dump(mode="json").keys() == names
    assert AuditConfig(benchmarks=("x",), max_document_frequency=0.5).model_dump().keys() == names
    used = AuditConfig(benchmarks=("x",), action="cut", common="lab:a/fresh")
    assert AuditConfig.model_validate(used.model_dump(mode="json")) == used


def test_a_streamed_corpus_is_the_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and written a few documents at a time: the same tables, in more groups of rows."""
    texts = [f"{CLEAN} {i}" if i % 3 else f"{ITEM} {i}" for i in range(50)]
    file = tmp_path / "item.txt"
    file.write_text(ITEM)
    corpus, cfg = make_corpus(tmp_path, texts), AuditConfig(benchmarks=(f"file:{file}",))
    whole = auditing.audit(corpus, cfg, tmp_path / "whole", name="c")
    monkeypatch.setattr("resurface.artifacts.parquet._AT_ONCE", 700)
    monkeypatch.setattr("resurface.artifacts.parquet._ROW_GROUP", 2000)
    monkeypatch.setattr("resurface.data.words._BATCH", 200)
    pieces = auditing.audit(corpus, cfg, tmp_path / "pieces", name="c")
    for name in ("corpus.parquet", "rejects.parquet", "benchmarks.parquet"):
        assert pq.read_table(whole.file(name)).equals(pq.read_table(pieces.file(name)))
    assert pq.ParquetFile(pieces.file("corpus.parquet")).num_row_groups > 1
    assert pq.ParquetFile(whole.file("corpus.parquet")).num_row_groups == 1
    assert whole.counts == pieces.counts and whole.counts["rejected"] == 17
