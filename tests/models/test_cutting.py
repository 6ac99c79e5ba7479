"""Passages cut out of documents, for tokenizers of several kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import small_tokenizers
from resurface.models.cutting import Cutter
from resurface.models.tokenizing import decode_text, encode_text

KINDS = [small_tokenizers.neox, small_tokenizers.qwen, small_tokenizers.llama]
MADE = {make: make() for make in KINDS}


near = st.text("ab é🙂 日x\n", max_size=8)


class Span(NamedTuple):
    first: int
    last: int


@pytest.mark.parametrize("kind", KINDS)
@given(
    before=st.text("ab é🙂 日x\n", max_size=8), behind=st.text("ab é🙂 日x\n", max_size=8), end=st.booleans()
)
def test_a_passage_goes_and_what_is_outside_stays(
    kind: Callable[[], Any], before: str, behind: str, end: bool
) -> None:
    tokenizer = MADE[kind]
    stop = tokenizer.eos_token_id
    ids = encode_text(tokenizer, [f"{before}XÉ🙂X{behind}"])[0] + [stop] * end
    text = decode_text(tokenizer, ids)
    document = {
        "sample_id": 0, "token_ids": ids, "text": text, "logprobs": [float(i) for i in range(len(ids))],
        "logprobs_tau": None, "finish_reason": "stop" if end else "length",
    }  # fmt: skip

    def find(t: str) -> list[Span]:
        at = t.find("XÉ🙂X")
        return [Span(at, at + 4)] if at >= 0 else []

    cut, taken = Cutter(tokenizer, [stop]).cut(document, find)
    assert [t for *_, t in taken] == ["XÉ🙂X"] and "XÉ🙂X" not in cut["text"]
    assert cut["text"] == decode_text(tokenizer, cut["token_ids"])
    assert [ids[int(i)] for i in cut["logprobs"]] == cut["token_ids"] and cut["logprobs_tau"] is None
    assert not end or cut["token_ids"][-1] == stop
    at = text.index("XÉ🙂X")
    # at most the tokens that reach over its edges go with it
    longest = max(len(decode_text(tokenizer, [i])) for i in ids) + 1
    assert len(cut["text"]) >= len(text) - 4 - 2 * longest
    assert cut["text"].startswith(text[: max(0, at - longest)])
