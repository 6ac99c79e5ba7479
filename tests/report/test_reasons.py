"""Reasons as codes in JSON, and as words in reports."""

from __future__ import annotations

import pytest

from resurface.report.reasons import WORDS, said
from resurface.stats.reasons import Reason


def test_every_reason_has_words() -> None:
    assert set(WORDS) == set(Reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_no_code_is_shown(reason: Reason) -> None:
    for written in (str(reason), reason.about("llama")):
        assert reason.value not in said(written) or " " in WORDS[reason]
        assert "{}" not in said(written)
    assert said(reason.about("llama")).count("llama") == 1


def test_a_sentence_of_an_older_result_stays() -> None:
    assert said("no baseline hits: there is nothing that could drop") == WORDS[Reason.NO_BASELINE_HITS]
    assert said("one day: the sea") == "one day: the sea"
