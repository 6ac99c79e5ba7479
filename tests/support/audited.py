"""For tests of the audit: texts that are hard to normalise, n-grams the slow way, a corpus, a benchmark."""

from __future__ import annotations

import string
from pathlib import Path

import pyarrow as pa
from hypothesis import strategies as st

from resurface import artifacts
from resurface.artifacts.parquet import CORPUS_SCHEMA, write_parquet
from resurface.data.words import normalise

# what acts on its neighbours, grows, shrinks, vanishes or parts words; and characters that are none of these
NASTY = (
    "aZ09 é É e\u0301\u0301\u0327 ﬁ ŉ İ I\u0307 ı Σ ς σ Α ß ẞ K Å ½ ㌔ Ａｚ！ ｶﾞ \u1112\u1161\u11ab 각 "
    "가\u11a8 \u0958 \u0915\u093c \u09c7\u09be \u0344 \u00a0\u00a8\u00b4\u1680\u2003\u2028\u2029\u202f "
    "\u3000\ufdfa \x00\x07\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x7f\x85\u00ad\u200b\u200d\u2060\ufeff\ufe0f "
    "“”‘’—…'-_$<=>\u0338 "
    "中文。日本 ไทย 🙂👩\u200d🚀 𝚺𝐀 \ud800 \U00016d67\U00016d67 \U000e0001\U0010ffff"
)
nasty = st.text(st.sampled_from(NASTY) | st.sampled_from(string.printable) | st.characters(), max_size=30)


def grams(text: str, n: int) -> list[tuple[str, ...]]:
    """The slow way."""
    found = normalise(text)
    return [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]


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


def item_file(folder: Path) -> str:
    """A benchmark that has ITEM."""
    file = folder / "bench.jsonl"
    file.write_text(f'{{"q": "{ITEM}", "a": "short one"}}\n{{"q": "nothing of this kind", "a": "x"}}\n')
    return f"file:{file}"
